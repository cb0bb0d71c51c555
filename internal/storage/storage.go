// Package storage holds the requests and results of hourbell's database
// interface that use no type of the root package. Hosts never see it.
//
// All times are UTC and by the database clock. The zero time means none.
package storage

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"strconv"
	"strings"
	"time"
)

// Schedule is a schedule's row. The root package documents the fields, which
// hourbell.Schedule has too.
type Schedule struct {
	Namespace, ID, Name, Description string
	Cron, TimeZone                   string
	ZoneRules                        string // a hash of the time zone's rules; empty if unknown
	Manual                           bool
	TargetKind                       string // ALL_JOBS, GROUP or JOBS
	Target                           string // empty, the group, or a JSON array of job names
	Grace                            time.Duration
	DefinitionHash                   string
	FormerID                         string
	Enabled                          bool
	EnabledNote                      string
	NextRunAt                        time.Time
	LastRunAt                        time.Time
	LastScheduledFor                 time.Time
	SettledThrough                   time.Time
	LockedAt                         time.Time
	LockedBy                         string
	Version                          int64
	UnfinishedSince                  time.Time
	ConsecutiveFailures              int
	LastError                        string
	RetryAt                          time.Time
	RemovedAt                        time.Time
	CreatedAt                        time.Time
	UpdatedAt                        time.Time
	ReadAt                           time.Time // the database time of the read; not stored
}

// Digest returns a hash of the ID and the columns that code owns, as the column
// definition_digest has it.
func (s *Schedule) Digest() int64 {
	sum := sha256.Sum256([]byte(strings.Join([]string{
		s.ID, s.DefinitionHash, s.Name, s.Description, s.Cron, s.TimeZone, s.ZoneRules, strconv.FormatBool(s.Manual),
		s.TargetKind, s.Target, strconv.FormatInt(s.Grace.Microseconds(), 10),
	}, "\x1f")))
	return int64(binary.BigEndian.Uint64(sum[:8])) //nolint:gosec // the bits of the hash
}

// Stored identifies a set of schedules, in any order.
type Stored struct {
	Count  int
	Digest int64 // the digests of the schedules, combined with XOR
}

// Add adds a schedule to the set.
func (s *Stored) Add(row *Schedule) {
	s.Count++
	s.Digest ^= row.Digest()
}

// ScheduleUpdate is a schedule to insert, or new values for a stored one.
//
// A stored row is updated only if its version and definition hash are still
// those that were read.
type ScheduleUpdate struct {
	Schedule        // the values to write; Version is the version that was read
	ReadHash string // the definition hash that was read; unused for an insert
	// Settles also writes the columns that operators and the loop own: it
	// clears lock, retry state and unfinished claim, and increments the
	// version. Without it, only the columns that code owns are written. The
	// version then increments if the definition hash stays the same.
	Settles bool
	// Until is when the values become stale: the row is written only while the
	// database clock has not reached it. Zero means no such condition.
	Until time.Time
}

// SchedulePage is one page of schedules.
type SchedulePage struct {
	At        time.Time // the database time at which the states hold
	Schedules []Schedule
	Total     int            // schedules that IDs and Search select
	Counts    map[string]int // how many of them meet the condition of each state
	Next      string         // cursor of the next page; empty on the last page
}

// ClaimRequest asks for due schedules.
type ClaimRequest struct {
	Worker     string        // the ID of the worker that claims
	Limit      int           // how many schedules to claim at most
	LockTTL    time.Duration // an older lock is expired
	MaxBackoff time.Duration // a retry time further ahead than this is expired
	// DeadAfter is the age beyond which a heartbeat means that its worker is
	// dead. With zero, only workers that have stopped lose their locks early.
	DeadAfter time.Duration
	// ExcludeOwnSince leaves out rows that this worker has locked since then:
	// another connection of the same tick is processing them. With zero, every
	// row that the worker still holds can be claimed again.
	ExcludeOwnSince time.Time
	Exclude         []string // rows that this process cannot fire, each as "id hash"
	// LeastRecentFirst claims the schedules that have not fired for the longest
	// time, instead of the earliest slots.
	LeastRecentFirst bool
}

// ClaimResult is the result of a claim.
type ClaimResult struct {
	At     time.Time // the database time in the claiming statement
	Claims []Claim
	// WakeAt is the earliest time at which another claim can find something: a
	// slot, a retry time or the end of a lock. It is set only if Claims is
	// empty.
	WakeAt time.Time
	// HeldByOthers reports that other workers hold due rows, which they may
	// release at any time. It is set only if Claims is empty.
	HeldByOthers bool
}

// Claim is a schedule that a worker has locked.
type Claim struct {
	ID, DefinitionHash string
	At                 time.Time // the database time in the claiming statement
	NextRunAt          time.Time // the first slot that is not settled
	SettledThrough     time.Time
	Version            int64 // after the claim, which increments it
	// UnfinishedSince is the time of the earlier claim that is unfinished, or
	// else of this one. Both count within grace or not.
	UnfinishedSince     time.Time
	ConsecutiveFailures int
	HeldBy              string // the holder before the claim; empty if the row was unlocked
	Abandoned           bool   // an earlier unfinished claim was abandoned
}

// FireRequest asks to fire slots that are on time without a separate claim.
type FireRequest struct {
	Fires []SlotFire // at least one
	// FindNext also asks whether a claim with the same Exclude would find
	// anything, and when to wake.
	FindNext bool
	Exclude  []string // as in ClaimRequest
}

// SlotFire is a slot to fire.
type SlotFire struct {
	ScheduleID, DefinitionHash string
	Slot, Next                 time.Time // the latest slot, and the first one after it
	Jobs                       []JobSpec // at least one
}

// JobSpec is a job to enqueue. Its fields are part of the definition hash.
type JobSpec struct {
	Name, Group string
	Args        json.RawMessage // nil for none
}

// FireResult is the result of a FireRequest.
type FireResult struct {
	At    time.Time // the database time in the statement
	Slots int       // slots that fired
	Names []string  // the ids of up to ten of their schedules
	Runs  int       // runs that were inserted
	// AlreadySettled reports that the first and the last slot had been settled
	// before. The statement then assumes the same of the others, and fires
	// none.
	AlreadySettled bool
	// Idle reports, if FindNext was set, that nothing else is due. WakeAt is
	// then the next slot of any schedule.
	Idle   bool
	WakeAt time.Time
}

// Advance settles one claimed schedule.
type Advance struct {
	Claim
	Fired   time.Time // the slot that fires; zero if none does
	Through time.Time // the last slot that is fired or recorded as skipped, or the time of the claim
	Next    time.Time // the new NextRunAt
}

// Failure records a failed attempt to fire one claimed schedule.
type Failure struct {
	Claim
	Error   string
	Backoff time.Duration // how long to wait before the next attempt
	Until   time.Time     // the next slot, which ends the wait earlier; zero for none
	// UnfinishedSince is the start that the unfinished claim gets. Zero keeps
	// that of the row.
	UnfinishedSince time.Time
}

// HeartbeatResult is the result of a heartbeat.
type HeartbeatResult struct {
	At               time.Time // the database time that was written
	OtherBuildActive bool      // an active worker has other definitions
}

// Retention says for how long rows of each kind are kept.
type Retention struct {
	Runs       time.Duration // after they have finished
	Events     time.Duration
	Removed    time.Duration // schedules, after they were removed
	Workers    time.Duration // after their last heartbeat
	Unfinished bool          // also delete unfinished runs, when Runs has passed since they were queued
}

// PurgeResult is the result of a purge.
type PurgeResult struct {
	Deleted int64 // rows that were deleted
	Refused int64 // rows past their retention that could not be deleted
}

// Health is the state of the loops and schedules of a namespace. The root
// package documents the fields, which hourbell.Health has too.
type Health struct {
	At          time.Time
	Workers     int       // active workers
	NewestTick  time.Time // their latest tick
	MaxSkew     time.Duration
	Overdue     int
	OldestDue   time.Time
	Late        []Schedule // the first 100 overdue schedules, oldest slot first
	ClockBehind time.Duration
}

// OutcomeQuery selects the newest outcomes of some schedules.
type OutcomeQuery struct {
	ScheduleIDs []string
	Since       time.Time // leaves out earlier outcomes; zero for none
	Limit       int       // for each schedule, and for each kind: fires, RunNow calls and skips
}
