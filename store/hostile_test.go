package store_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hourbell/hourbell"
	"github.com/hourbell/hourbell/internal/dbtest"
)

// hostile are texts, and what is kept of each.
var hostile = map[string]string{
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

// kept is what is stored of a text: what Postgres cannot keep is replaced, on both databases.
func kept(text string) string {
	switch text {
	case hostile["NUL"]:
		return "a\uFFFDb"
	case hostile["invalid UTF-8"]:
		return "a\uFFFDb"
	case hostile["cut off"]:
		return "a\uFFFD"
	}
	return text
}

// Texts of people, of errors and of hosts are stored, whatever is in them.
func TestNoTextBreaksAStatement(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		for name, text := range hostile {
			t.Run(name, func(t *testing.T) {
				for _, table := range []string{"schedules", "job_runs", "events", "workers"} {
					require.NoError(t, db.Exec("DELETE FROM hourbell_"+table).Error)
				}
				s, c := bound(t, db.DB)
				want := kept(text)

				r := schedule("a")
				r.Name, r.Description, r.Target, r.TargetKind = text, text, text, "GROUP"
				insert(t, s, r)
				held := claimOne(t, s, "w1")
				require.NoError(t, second(s.Hold(t.Context(), "w1", []hourbell.Failure{{Claim: held, Error: text, For: time.Second}})))
				got := row(t, s, "a")
				require.Equal(t, []string{want, want, want, want}, []string{got.Name, got.Description, got.Target, got.LastError})
				got.EnabledNote = text
				require.True(t, revise(t, s, hourbell.Revision{Schedule: got, ReadHash: "h1", Settles: true}))
				require.Equal(t, want, row(t, s, "a").EnabledNote)

				run := asked("job", 0)
				run.Actor, run.Group = text, text
				enqueue(t, s, run)
				_, err := s.FinishRun(t.Context(), take(t, s, "h"), "FAILED", text)
				require.NoError(t, err)
				runs := list(t, s, hourbell.RunQuery{Group: text})
				require.Len(t, runs, 1)
				require.Equal(t, []string{want, want, want}, []string{runs[0].Actor, runs[0].Group, runs[0].Error})

				require.NoError(t, s.InsertEvents(t.Context(), []hourbell.Event{{Kind: "ENABLED", Actor: text, Note: text, Detail: text}}))
				events, err := s.Events(t.Context(), hourbell.EventQuery{Limit: 1})
				require.NoError(t, err)
				require.Len(t, events, 1)
				require.Equal(t, []string{want, want, want}, []string{events[0].Actor, events[0].Note, events[0].Detail})

				require.NoError(t, second(s.Heartbeat(t.Context(), hourbell.Worker{ID: "w", WorkerType: "schedule_daemon", Hostname: text, Version: text}, 30*time.Second)))
				require.Equal(t, []string{want, want}, []string{workers(t, s)[0].Hostname, workers(t, s)[0].Version})
				c.Advance(time.Hour)
				require.NoError(t, every(t.Context(), s))
			})
		}
	})
}

// What names a thing must come back as it went in, or be refused: a NUL or a broken character in a name is an error on
// Postgres, or is replaced on both.
func TestAHostileNameNeverNamesAnotherThing(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		for name, text := range hostile {
			if name == "long" {
				continue // an index has a limit; names have one of 200 characters
			}
			t.Run(name, func(t *testing.T) {
				for _, table := range []string{"schedules", "job_runs", "workers"} {
					require.NoError(t, db.Exec("DELETE FROM hourbell_"+table).Error)
				}
				s, _ := bound(t, db.DB)
				insert(t, s, schedule("victim"), schedule(text))
				r := request("w1")
				r.Except = []string{"victim h1", text + " h2"}
				claims, err := s.Claim(t.Context(), r)
				if err != nil {
					requireRefusesBroken(t, text, err)
				} else {
					require.Equal(t, []string{kept(text)}, claimIDs(claims))
					ids, err := s.Advance(t.Context(), "w1", []hourbell.Settlement{settled(claims.Rows[0])})
					require.NoError(t, err)
					require.Equal(t, []string{kept(text)}, ids)
				}
				for _, call := range []func() error{
					func() error { return second(s.Unlock(t.Context(), text)) },
					func() error { return s.StopWorker(t.Context(), text) },
					func() error { return second(s.RunsByKey(t.Context(), text)) },
					func() error {
						return second(s.TakeRuns(t.Context(), hourbell.TakeRequest{Worker: text, Limit: 1, Lease: time.Minute, Jobs: []string{text}}))
					},
				} {
					if err := call(); err != nil {
						requireRefusesBroken(t, text, err)
					}
				}
				require.Zero(t, row(t, s, "victim").LockToken)

				run := fire(text, noon, 0)
				run.Job, run.RequestKey = text, text
				got := enqueue(t, s, run, fire("victim", noon, 0))
				require.ElementsMatch(t, []string{text, "job-0"}, jobsOf(got), "each run comes back as itself")
				require.Len(t, list(t, s, hourbell.RunQuery{ScheduleID: text, Job: text}), 1)
			})
		}
	})
}

// requireRefusesBroken checks that an error is about a text that cannot be stored.
func requireRefusesBroken(t testing.TB, text string, err error) {
	t.Helper()
	require.NotEqual(t, text, kept(text), "refused: %v", err)
	require.ErrorContains(t, err, "invalid byte sequence")
}

func TestArgsThatAreNotJSONAreRefused(t *testing.T) {
	each(t, func(t *testing.T, _ *dbtest.DB, s hourbell.Store, _ *clock) {
		run := asked("a", 0)
		run.Args = json.RawMessage(`{"a": `)
		_, err := s.InsertRuns(t.Context(), []hourbell.JobRun{run})
		require.Error(t, err)
		require.Contains(t, strings.ToLower(err.Error()), "json")
		require.Empty(t, list(t, s, hourbell.RunQuery{}))
	})
}

func TestArgsAreStoredWhateverIsInThem(t *testing.T) {
	each(t, func(t *testing.T, _ *dbtest.DB, s hourbell.Store, _ *clock) {
		i := 0
		for name, text := range hostile {
			if name == "NUL" {
				continue // the core refuses it
			}
			args, err := json.Marshal(map[string]string{text: text})
			require.NoError(t, err)
			run := asked("a", i)
			run.Args = args
			enqueue(t, s, run)
			require.JSONEq(t, string(args), string(list(t, s, hourbell.RunQuery{Limit: 1})[0].Args), name)
			i++
		}
	})
}
