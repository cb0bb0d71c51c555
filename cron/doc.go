// Package cron computes the times at which a cron expression is due in an IANA
// time zone. Each of these times is a slot.
//
// No function reads a clock, and nothing is stored between calls. A Schedule is
// immutable, so goroutines may share it. Arguments may be in any location.
// Slots are in UTC, on whole seconds.
//
//	s, err := cron.Parse("30 2 * * *", "America/New_York")
//	slot, err := s.Next(now) // the first slot strictly after now
//
// # Expressions
//
// An expression has five fields, or six with the seconds first, separated by
// spaces or tabs. There is no year field. White space and line breaks around
// the expression do not count.
//
//	second        0-59  defaults to 0
//	minute        0-59
//	hour          0-23
//	day-of-month  1-31  also L (the last day of the month), L-3 (the third day
//	                    before the last one), LW (the last of Monday to Friday
//	                    in the month) and 15W (the one of Monday to Friday that
//	                    is nearest to the 15th, in the same month)
//	month         1-12  or JAN-DEC
//	day-of-week   0-7   or SUN-SAT; 0 and 7 are Sunday; also 2#3 (the third
//	                    Tuesday) and 5L (the last Friday of the month)
//
// A field is a list of items, separated by commas. An item is *, a value such
// as 5, a range such as 1-5, or one of these with a step, such as */15 or
// 10-50/20. The item 10/20 runs from 10 to the end of the field, which is
// Saturday in day-of-week. Names, L, W and macros may be in upper or lower
// case.
//
// A step is at most the number of values of its field: */60 in minute is minute
// 0 only, and */90 is an error. A lone ? means * in the two day fields, and is
// an error in the others. Ranges do not wrap around, except that SUN is day 7
// at the end of a range: FRI-SUN is three days, and FRI-MON is an error.
//
// The macros are @yearly, @annually, @monthly, @weekly, @daily, @midnight and
// @hourly.
//
// An expression cannot contain a year, a time zone, a user, a command, H, or a
// long name such as MONDAY. Other macros, such as @every and @reboot, are
// errors too. Each error says what to write instead.
//
// # Rules
//
// A local time is a date and time of day in the schedule's zone. An expression
// matches local times. The rules determine which UTC times are slots.
//
// When a zone's clock moves forward, the local times in between do not occur:
// they are in a gap. When the clock moves back, some local times occur twice:
// they are in an overlap. A schedule is every-hour if its hour field allows all
// 24 hours, in any spelling. All other schedules are fixed-time.
//
//   - R1. A local time that occurs once is due at the UTC time it maps to.
//   - R2. In an overlap, a fixed-time schedule is due at the first occurrence
//     of a local time only. An every-hour schedule is due at both occurrences.
//   - R3. In a gap shorter than 24 hours, the local times that a fixed-time
//     schedule matches are due at the first time after the gap. All of them,
//     and a match of that first time itself, are one slot. For an every-hour
//     schedule, local times in a gap are not due.
//   - R4. A gap of 24 hours or more omits a calendar day. No schedule is due
//     for the local times in it.
//   - R5. Next returns a slot strictly after its argument, Prev a slot strictly
//     before it. Slots are in strictly ascending order and do not depend on
//     where a search starts.
//   - R6. If day-of-month and day-of-week are both restricted, a day matches if
//     it matches either field. Only a lone * or ? is unrestricted.
//   - R7. If there is no slot, Next and Prev return an error that wraps
//     ErrNever. With a nil error, the result is always a slot. Parse rejects an
//     expression that matches no date of any year, such as 30 February. Slots
//     lie in the years 1 to 9999.
//   - R8. An expression has five or six fields, seconds first and no year, or
//     is one of the seven macros. Parse checks every item.
//
// For example, the clock in New York moved from 02:00 to 03:00 on 8 March 2026,
// and from 02:00 back to 01:00 on 1 November 2026:
//
//	30 2 * * *    8 March at 03:00, because 02:30 is in the gap;
//	              9 March at 02:30
//	*/30 * * * *  8 March at 01:30, 03:00 and 03:30, and nothing for the gap
//	30 1 * * *    1 November at the first 01:30 only
//	*/30 * * * *  1 November at the first 01:00 and 01:30, then at the second
//	              01:00 and 01:30
//
// # Differences from Vixie cron
//
//   - Vixie cron applies the rules for fixed times unless the minute or hour
//     field starts with an asterisk, so it does not apply them to */15 2 * * *.
//     Here the allowed hours decide, so that schedule is fixed-time.
//   - Vixie cron treats a change of more than three hours as a correction of
//     the system clock. Here every change in the zone's data counts, and one of
//     a whole day follows R4.
//   - In Vixie cron, a day field that starts with an asterisk is unrestricted:
//     0 0 */2 * 1 means each Monday with an odd date. Here it means every odd
//     date and every Monday (R6).
//   - L, W, # and leading seconds are additions. @reboot is not supported.
//
// Quartz and the schedulers of some clouds number the weekdays from 1 for
// Sunday. Here, as in Vixie cron, 1 is Monday. Names of weekdays mean the same
// in all of them.
//
// # Time zones
//
// Parse loads a zone from the zone files of the host. If the host has none,
// Parse uses the copy that this package embeds, so zones also load in an empty
// container. Replicas with zone files of different versions can compute
// different slots for a zone whose rules changed between those versions.
// ZoneRules identifies the rules of a zone.
//
// Parse refuses names that load on some hosts and are not zones, or that differ
// between hosts: Local, localtime, posixrules, Factory, paths such as ./UTC,
// and names in the folders posix and right.
package cron
