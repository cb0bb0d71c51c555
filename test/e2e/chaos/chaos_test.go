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

// timeEnv sets how long TestChaos injects faults.
const timeEnv = "HOURBELL_CHAOS_TIME"

// TestMain runs this binary as a host if the driver asks for it.
func TestMain(m *testing.M) {
	if role := os.Getenv(roleEnv); role != "" {
		os.Exit(hostMain(role))
	}
	leaktest.Main(m)
}

// D3, T1, T2, L1 to L6, M1, M2, M4, M5, E2, E4, E6, E7, O1 to O6: faults hit
// processes, networks and the database while operators act. Afterwards the
// tables account for every slot once, every run was executed, and the tables
// agree with every response that an operator received.
func TestChaos(t *testing.T) {
	needServer(t)
	length := 15 * time.Second
	if text := os.Getenv(timeEnv); text != "" {
		var err error
		length, err = time.ParseDuration(text)
		require.NoError(t, err, timeEnv)
	}
	var output strings.Builder
	err := chaos(t.Context(), options{Time: length, Hosts: 5, Schedules: 90}, io.MultiWriter(&output, testWriter{t}))
	require.NoError(t, err, "to repeat the plan: go run ./chaos -seed … -time %v -schedules 90", length)
	require.Regexp(t, `violations +none`, output.String())
}

// needServer skips a test if there are no server binaries, because these tests
// start and stop a server of their own.
func needServer(t *testing.T) {
	t.Helper()
	_, err := cluster.Binaries()
	if errors.Is(err, cluster.ErrNoServer) {
		dbtest.Shout("hourbell tests: CHAOS SKIPPED: " + err.Error() + "; 'make setup' installs them")
		t.Skip(err)
	}
	require.NoError(t, err)
}

// testWriter writes to the log of a test.
type testWriter struct{ testing.TB }

func (w testWriter) Write(p []byte) (int, error) {
	w.Log(strings.TrimRight(string(p), "\n"))
	return len(p), nil
}

// A seed determines the plan, and even a short plan has every kind of fault.
func TestSeedDeterminesPlan(t *testing.T) {
	require.Equal(t, newPlan(7, time.Minute, 5), newPlan(7, time.Minute, 5))
	require.NotEqual(t, newPlan(7, time.Minute, 5), newPlan(8, time.Minute, 5))
	for seed := range uint64(50) {
		kinds := map[faultKind]bool{}
		for _, f := range newPlan(seed, 20*time.Second, 5) {
			kinds[f.kind] = true
		}
		require.Len(t, kinds, len(faultKinds), "seed %d", seed)
	}
}

// A host can be stopped right after its start.
func TestHostStopsDuringStart(t *testing.T) {
	for range 5 {
		h, err := newHost("host", tableHost, "postgres://nobody@127.0.0.1:1/none", t.TempDir(), 1, rand.New(rand.NewPCG(1, 2)))
		require.NoError(t, err)
		t.Cleanup(h.close)
		require.NoError(t, h.start())
		_, err = h.stop()
		require.NoError(t, err)
	}
}
