package store_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/hourbell/hourbell"
	"github.com/hourbell/hourbell/internal/dbtest"
	"github.com/hourbell/hourbell/internal/storage"
)

// Multi-row operations send a fixed number of statements.
func TestStatementCountDoesNotGrowWithRows(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		one, many := countStatements(t, db, "one", 1), countStatements(t, db, "many", 500)
		require.Equal(t, one, many)
		for name, n := range one {
			require.LessOrEqual(t, n, 4, "%s: BEGIN, limits, the statement, COMMIT", name)
			require.Positive(t, n, name)
		}
	})
}

// countStatements returns how many statements each operation sends for n rows.
func countStatements(t *testing.T, db *dbtest.DB, namespace string, n int) map[string]int {
	handle, pool := openRecorded(t, db, gorm.Config{})
	c := newClock(noon)
	s := bindStore(t, handle, namespace, c.Now)
	counts := map[string]int{}
	count := func(name string, fn func()) { counts[name] = len(pool.during(fn)) }

	var rows []storage.ScheduleUpdate
	var runs []hourbell.JobRun
	var events []hourbell.Event
	for i := range n {
		rows = append(rows, storage.ScheduleUpdate{Schedule: dueSchedule(numberedID(i)), ReadHash: "h1"})
		runs = append(runs, cronRun(numberedID(i), noon, 0))
		events = append(events, hourbell.Event{Kind: hourbell.EventSkipped, ScheduleID: numberedID(i)})
	}
	count("insert", func() { require.NoError(t, errOf(s.InsertSchedules(t.Context(), rows))) })
	count("update", func() { require.NoError(t, errOf(s.UpdateSchedules(t.Context(), rows))) })
	var claims []storage.Claim
	count("claim", func() { claims = claimAll(t, s, "w1").Claims })
	require.Len(t, claims, n)
	count("release", func() { require.NoError(t, s.Release(t.Context(), "w1", claims)) })
	claims = claimAll(t, s, "w1").Claims
	var failures []storage.Failure
	for _, held := range claims {
		failures = append(failures, storage.Failure{Claim: held, Backoff: time.Second})
	}
	count("record failures", func() { require.NoError(t, errOf(s.RecordFailures(t.Context(), "w1", failures))) })
	c.Advance(time.Second)
	var advances []storage.Advance
	for _, held := range claimAll(t, s, "w1").Claims {
		advances = append(advances, firedAdvance(held))
	}
	require.Len(t, advances, n)
	count("advance", func() {
		ids, err := s.Advance(t.Context(), "w1", advances)
		require.NoError(t, err)
		require.Len(t, ids, n)
	})
	count("empty claim", func() { require.Empty(t, claimAll(t, s, "w1").Claims) })
	count("insert runs", func() { insertRuns(t, s, runs...) })
	count("insert events", func() { require.NoError(t, s.InsertEvents(t.Context(), events)) })
	count("take runs", func() {
		taken, err := s.TakeRuns(t.Context(), hourbell.TakeRequest{LeasedBy: "h", Limit: n, Lease: time.Minute})
		require.NoError(t, err)
		require.Len(t, taken, n)
	})
	count("schedules", func() { require.NoError(t, errOf(s.Schedules(t.Context()))) })
	count("list", func() {
		require.NoError(t, errOf(s.ListSchedules(t.Context(), hourbell.ScheduleQuery{Sort: "id", Limit: n})))
	})
	ids := make([]string, n)
	for i := range ids {
		ids[i] = advances[i].ID
	}
	count("outcomes", func() {
		require.NoError(t, errOf(s.Outcomes(t.Context(), storage.OutcomeQuery{ScheduleIDs: ids, Limit: 20})))
	})
	count("health", func() { require.NoError(t, errOf(s.Health(t.Context(), deadAfter))) })
	return counts
}

// hostileTexts are texts that could break a statement, by kind.
var hostileTexts = map[string]string{
	"quotes":        `'; DROP TABLE hourbell_schedules; --"` + "`$$",
	"placeholders":  `@now :now $1 ? ?? {now} {list @ids} %s %00 \`,
	"array":         `{"a",NULL,b}`,
	"json":          `{"a": [1, "\u0000"]}` + "\n\t\r",
	"null":          "NULL",
	"number":        "007",
	"control":       "\x01\x1f\x7f",
	"unicode":       "ü€😀\u202e\u0301",
	"long":          strings.Repeat("x", 1<<16),
	"NUL":           "a\x00b",
	"invalid UTF-8": "a\xff\xfeb",
	"cut off":       "a\xf0\x9f\x98",
}

// sanitized returns what both databases store of a text: what Postgres cannot
// store is replaced.
func sanitized(text string) string {
	switch text {
	case hostileTexts["NUL"]:
		return "a\uFFFDb"
	case hostileTexts["invalid UTF-8"]:
		return "a\uFFFDb"
	case hostileTexts["cut off"]:
		return "a\uFFFD"
	}
	return text
}

// Any text from operators, errors or hosts can be stored.
func TestHostileTextIsStored(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		for name, text := range hostileTexts {
			t.Run(name, func(t *testing.T) {
				for _, table := range []string{"schedules", "job_runs", "events", "workers"} {
					require.NoError(t, db.Exec("DELETE FROM hourbell_"+table).Error)
				}
				s, c := newStore(t, db.DB)
				want := sanitized(text)

				r := dueSchedule("a")
				r.Name, r.Description, r.Target, r.TargetKind = text, text, text, "GROUP"
				insertSchedules(t, s, r)
				held := claimOne(t, s, "w1")
				require.NoError(t, errOf(s.RecordFailures(t.Context(), "w1", []storage.Failure{{Claim: held, Error: text, Backoff: time.Second}})))
				got := readSchedule(t, s, "a")
				require.Equal(t, []string{want, want, want, want}, []string{got.Name, got.Description, got.Target, got.LastError})
				got.EnabledNote = text
				require.True(t, updateOne(t, s, storage.ScheduleUpdate{Schedule: got, ReadHash: "h1", Settles: true}))
				require.Equal(t, want, readSchedule(t, s, "a").EnabledNote)

				run := apiRun("job", 0)
				run.Actor, run.Group = text, text
				insertRuns(t, s, run)
				_, err := s.FinishRun(t.Context(), takeRun(t, s, "h"), hourbell.RunFailed, text)
				require.NoError(t, err)
				runs := listRuns(t, s, hourbell.RunQuery{Group: text})
				require.Len(t, runs, 1)
				require.Equal(t, []string{want, want, want}, []string{runs[0].Actor, runs[0].Group, runs[0].Error})

				require.NoError(t, s.InsertEvents(t.Context(), []hourbell.Event{{Kind: hourbell.EventEnabled, Actor: text, Note: text, Detail: text}}))
				events, err := s.Events(t.Context(), hourbell.EventQuery{Limit: 1})
				require.NoError(t, err)
				require.Len(t, events, 1)
				require.Equal(t, []string{want, want, want}, []string{events[0].Actor, events[0].Note, events[0].Detail})

				require.NoError(t, errOf(s.Heartbeat(t.Context(), hourbell.Worker{ID: "w", WorkerType: "schedule_daemon", Hostname: text, Version: text}, deadAfter)))
				require.Equal(t, []string{want, want}, []string{listWorkers(t, s)[0].Hostname, listWorkers(t, s)[0].Version})
				c.Advance(time.Hour)
				require.NoError(t, callAll(t.Context(), s))
			})
		}
	})
}

// A name matches only itself. Postgres refuses a NUL or an invalid character in
// a name, or both databases replace it.
func TestHostileNamesMatchOnlyThemselves(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		for name, text := range hostileTexts {
			if name == "long" {
				continue // index entries are limited; names have at most 200 characters
			}
			t.Run(name, func(t *testing.T) {
				for _, table := range []string{"schedules", "job_runs", "workers"} {
					require.NoError(t, db.Exec("DELETE FROM hourbell_"+table).Error)
				}
				s, _ := newStore(t, db.DB)
				insertSchedules(t, s, dueSchedule("other"), dueSchedule(text))
				r := claimRequest("w1")
				r.Exclude = []string{"other h1", text + " h2"}
				result, err := s.Claim(t.Context(), r)
				if err != nil {
					requireEncodingError(t, text, err)
				} else {
					require.Equal(t, []string{sanitized(text)}, claimedIDs(result))
					ids, err := s.Advance(t.Context(), "w1", []storage.Advance{firedAdvance(result.Claims[0])})
					require.NoError(t, err)
					require.Equal(t, []string{sanitized(text)}, ids)
				}
				for _, call := range []func() error{
					func() error { return errOf(s.Unlock(t.Context(), text)) },
					func() error { return s.StopWorker(t.Context(), text) },
					func() error { return errOf(s.RunsByIdempotencyKey(t.Context(), text)) },
					func() error {
						return errOf(s.TakeRuns(t.Context(), hourbell.TakeRequest{LeasedBy: text, Limit: 1, Lease: time.Minute, Jobs: []string{text}}))
					},
				} {
					if err := call(); err != nil {
						requireEncodingError(t, text, err)
					}
				}
				require.Zero(t, readSchedule(t, s, "other").Version)

				run := cronRun(text, noon, 0)
				run.Job, run.IdempotencyKey = text, text
				got := insertRuns(t, s, run, cronRun("other", noon, 0))
				require.ElementsMatch(t, []string{text, "job-0"}, jobNames(got), "the returned runs keep their jobs")
				require.Len(t, listRuns(t, s, hourbell.RunQuery{ScheduleID: text, Job: text}), 1)
			})
		}
	})
}

// requireEncodingError checks that an error is about a text that cannot be
// stored.
func requireEncodingError(t testing.TB, text string, err error) {
	t.Helper()
	require.NotEqual(t, text, sanitized(text), "refused: %v", err)
	require.ErrorContains(t, err, "invalid byte sequence")
}

func TestInvalidJSONArgsAreRefused(t *testing.T) {
	eachDatabase(t, func(t *testing.T, _ *dbtest.DB, s hourbell.Store, _ *testClock) {
		run := apiRun("a", 0)
		run.Args = json.RawMessage(`{"a": `)
		_, err := s.InsertRuns(t.Context(), []hourbell.JobRun{run})
		require.Error(t, err)
		require.Contains(t, strings.ToLower(err.Error()), "json")
		require.Empty(t, listRuns(t, s, hourbell.RunQuery{}))
	})
}

func TestHostileArgsRoundTrip(t *testing.T) {
	eachDatabase(t, func(t *testing.T, _ *dbtest.DB, s hourbell.Store, _ *testClock) {
		i := 0
		for name, text := range hostileTexts {
			if name == "NUL" {
				continue // package hourbell refuses such args
			}
			args, err := json.Marshal(map[string]string{text: text})
			require.NoError(t, err)
			run := apiRun("a", i)
			run.Args = args
			insertRuns(t, s, run)
			require.JSONEq(t, string(args), string(listRuns(t, s, hourbell.RunQuery{Limit: 1})[0].Args), name)
			i++
		}
	})
}
