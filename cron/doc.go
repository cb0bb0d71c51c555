// Package cron turns a cron expression and an IANA time zone into slots: the instants at which a schedule is due.
//
// It is pure. It knows no clock, keeps nothing between calls and never writes after Parse, so a Schedule may be
// shared by goroutines. Instants go in with any location and come out in UTC, at whole seconds.
//
//	s, err := cron.Parse("30 2 * * *", "America/New_York")
//	slot, err := s.Next(now) // first slot strictly after now
//
// # Expressions
//
// Five fields separated by spaces or tabs, or six with the seconds in front; there is no year field:
//
//	second        0-59   (0 when left out)
//	minute        0-59
//	hour          0-23
//	day-of-month  1-31   also L (the last day) and 15W (the weekday nearest to the 15th, within its month)
//	month         1-12   or JAN-DEC
//	day-of-week   0-7    or SUN-SAT; 0 and 7 are Sunday; also 2#3 (third Tuesday) and 5L (last Friday)
//
// A field is a list of items: *, 5, 1-5, */15, 10-50/20, or 10/20, which runs from 10 to the end of the field
// (in day-of-week to Saturday). A step larger than its range leaves the first value. A lone ? means *. Letters may
// be in either case. Ranges do not wrap around: FRI-MON is written FRI-SAT,SUN-MON.
// The macros are @yearly, @annually, @monthly, @weekly, @daily, @midnight and @hourly.
//
// # Rules
//
// A reading is what the clock on the wall shows: a local date and time. An expression matches readings; the rules
// say at which instants they are due. A schedule is "every-hour" when its hour field allows all 24 hours, however
// that is spelled, and "set-hours" otherwise.
//
//   - R1. A reading that the clock shows once is due at that instant.
//   - R2. Where the clock is put back and shows a reading twice, a set-hours schedule is due the first time only,
//     and an every-hour schedule both times.
//   - R3. Where the clock is put forward by less than 24 hours, the readings passed over are due for a set-hours
//     schedule at the first instant after the change. All of them, and a reading that matches that instant
//     itself, are one slot. For an every-hour schedule they are not due at all.
//   - R4. Where the clock is put forward by 24 hours or more, a calendar day is missing, and nothing is due for it.
//   - R5. Next is strictly after and Prev strictly before its argument; slots ascend strictly, and which instants
//     are slots does not depend on where a search started.
//   - R6. When day-of-month and day-of-week are both restricted, a day that matches either of them matches.
//     Only a field that is a lone * or ? is unrestricted.
//   - R7. Where there is no slot the answer is ErrNever, never a zero time and never the argument. Parse refuses an
//     expression that names no date of any year, such as 30 February. The horizon is the end of the year 9999.
//   - R8. Five or six fields, seconds first, no year, the seven macros above; every item is checked.
//
// Where New York went from 01:59:59 to 03:00 on 8 March 2026 and from 01:59:59 back to 01:00 on 1 November 2026:
//
//	30 2 * * *     8 March at 03:00 (02:30 did not exist), 9 March at 02:30
//	*/30 * * * *   8 March at 01:30, 03:00, 03:30: the hour that did not exist is left out
//	30 1 * * *     1 November at the first 01:30, not at the second
//	*/30 * * * *   1 November at 01:00 and 01:30, and again at the second 01:00 and 01:30
//
// # Differences to Vixie cron
//
//   - Vixie cron tells jobs that run at set times from others by an asterisk at the start of the minute or hour
//     field, so */15 2 * * * is not a set time to it. Here the hours that are allowed decide: it is set-hours.
//   - Vixie cron takes a change of more than three hours for a correction of the clock. Here any change in the
//     zone's data is a clock change, and one of a whole day has a rule of its own (R4).
//   - In Vixie cron a day field that starts with an asterisk counts as unrestricted, so 0 0 */2 * 1 means the
//     Mondays among the odd days. Here it means every odd day and every Monday (R6).
//   - L, W, # and leading seconds are additions; @reboot does not exist, since there is nothing to boot.
//
// # Zones
//
// A zone comes from the host's zone files where there are any, and from the copy that this package links in where
// there are none, so that a program in an empty container knows the same zones. Replicas whose zone files differ
// in age may disagree about clock changes that were decreed in between.
package cron
