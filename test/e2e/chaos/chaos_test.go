package main

import _ "github.com/hourbell/hourbell/test/sqlite" // registers the SQLite driver

import (
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hourbell/hourbell/internal/dbtest"
	"github.com/hourbell/hourbell/internal/dbtest/cluster"
	"github.com/hourbell/hourbell/internal/leaktest"
)

// timeEnv is how long TestChaos makes trouble.
const timeEnv = "HOURBELL_CHAOS_TIME"

// The hosts are this test binary again.
func TestMain(m *testing.M) {
	if role := os.Getenv(roleEnv); role != "" {
		os.Exit(hostMain(role))
	}
	leaktest.Main(m)
}

// The whole contract (D3, T2, L1 to L6, M1, M2, M4, M5, E2, E4, E6, E7, O1 to O6) under fire: processes are killed,
// stopped and paused, their network is cut, slow and silent, the database crashes, people click. Afterwards the tables
// account for every slot once, every run was executed, and everything that people were told is so.
func TestChaos(t *testing.T) {
	needServer(t)
	length := 15 * time.Second
	if text := os.Getenv(timeEnv); text != "" {
		var err error
		length, err = time.ParseDuration(text)
		require.NoError(t, err, timeEnv)
	}
	var said strings.Builder
	err := chaos(t.Context(), options{Time: length, Hosts: 5, Schedules: 90}, io.MultiWriter(&said, testWriter{t}))
	require.NoError(t, err, "the same plan again: go run ./chaos -seed … -time %v -schedules 90", length)
	require.Contains(t, said.String(), "nothing")
}

// needServer skips a test where there are no binaries of a server, which these tests start and stop themselves.
func needServer(t *testing.T) {
	t.Helper()
	_, err := cluster.Binaries()
	if errors.Is(err, cluster.ErrNoServer) {
		dbtest.Shout("hourbell tests: CHAOS SKIPPED: " + err.Error() + "; 'make setup' installs them")
		t.Skip(err)
	}
	require.NoError(t, err)
}

// testWriter writes to a test's log.
type testWriter struct{ testing.TB }

func (w testWriter) Write(p []byte) (int, error) {
	w.Log(strings.TrimRight(string(p), "\n"))
	return len(p), nil
}

// A seed means one plan, and even a short plan has every kind of fault.
func TestAPlanFollowsFromItsSeed(t *testing.T) {
	require.Equal(t, newPlan(7, time.Minute, 5), newPlan(7, time.Minute, 5))
	require.NotEqual(t, newPlan(7, time.Minute, 5), newPlan(8, time.Minute, 5))
	for seed := range uint64(50) {
		kinds := map[string]bool{}
		for _, f := range newPlan(seed, 20*time.Second, 5) {
			kinds[f.what] = true
		}
		require.Len(t, kinds, len(kindsOfFault), "seed %d", seed)
	}
}

// A host may be told to stop when it has hardly begun.
func TestAHostIsStoppedAtOnce(t *testing.T) {
	for range 5 {
		h, err := newHost("host", tableHost, "postgres://nobody@127.0.0.1:1/none", t.TempDir(), 1, rand.New(rand.NewPCG(1, 2)))
		require.NoError(t, err)
		t.Cleanup(h.close)
		require.NoError(t, h.start())
		_, err = h.stop()
		require.NoError(t, err)
	}
}
