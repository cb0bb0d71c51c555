package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/hourbell/hourbell/internal/dbtest"
)

// The demo on SQLite executes runs within seconds and continues after a
// restart.
// O3: on SIGTERM it exits with code 0 and its worker is marked stopped.
// D3: the restart writes no definitions.
func TestDemoOnSQLiteExecutesAndRestarts(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()

	plan := start(t, "demo", dir, "", "-plan")
	require.Equal(t, 0, plan.exit(t))
	require.Equal(t, len(schedules), strings.Count(plan.stdout.String(), "DEFINED"))
	demo := start(t, "demo", dir, "")
	demo.awaitOutput(t, "msg=executed job=check-queues")
	require.Equal(t, 0, demo.stop(t))
	require.Contains(t, demo.stdout.String(), dir+"/"+sqliteFile)
	require.Contains(t, demo.stdout.String(), `"hourbell: definitions synced" written=4`)
	require.Empty(t, demo.stderr.String())

	enable := start(t, "demo", dir, "", "-enable", "feed-refresh")
	require.Equal(t, 0, enable.exit(t))

	demo = start(t, "demo", dir, "")
	demo.awaitOutput(t, "msg=executed job=check-queues")
	require.Equal(t, 0, demo.stop(t))
	require.NotContains(t, demo.stdout.String(), "definitions synced")
	require.Regexp(t, `id=feed-refresh .* enabled=true`, demo.stdout.String())

	db := (&dbtest.DB{Dialect: "sqlite", DSN: dir + "/" + sqliteFile + sqliteSettings}).Open(t, nil)
	var workers, stopped int
	require.NoError(t, db.Raw("SELECT count(*), count(stopped_at) FROM hourbell_workers").Row().Scan(&workers, &stopped))
	require.Equal(t, []int{2, 2}, []int{workers, stopped})
}

// D2: the demo declares three schedules of a typical backend, in UTC. They stay
// disabled until an operator enables them. Only the pulse fires after a start.
func TestDemoKeepsTypicalSchedulesDisabled(t *testing.T) {
	t.Parallel()
	demo := start(t, "demo", t.TempDir(), "")
	demo.awaitOutput(t, "trigger=CRON")
	require.Equal(t, 0, demo.stop(t))
	db := (&dbtest.DB{Dialect: "sqlite", DSN: demo.Dir + "/" + sqliteFile + sqliteSettings}).Open(t, nil)
	var stored []struct {
		Name, Cron, TimeZone string
		Enabled              bool
	}
	require.NoError(t, db.Raw("SELECT name, cron, time_zone, enabled FROM hourbell_schedules WHERE id <> 'pulse' ORDER BY name").Scan(&stored).Error)
	require.Equal(t, "[{Daily Full Sync 0 2 * * * UTC false} {Feed Refresh */15 * * * * UTC false} {Hourly Matching 0 * * * * UTC false}]", fmt.Sprint(stored))
	for _, d := range schedules {
		require.Equal(t, "UTC", d.TimeZone, "the zone of %s is explicit", d.ID)
	}
	var others int
	require.NoError(t, db.Raw("SELECT count(*) FROM hourbell_job_runs WHERE schedule_id <> 'pulse'").Row().Scan(&others))
	require.Zero(t, others)
}

// Two demos on one database share the work.
// O3: both are marked stopped after SIGTERM.
func TestDemosOnOnePostgresShareWork(t *testing.T) {
	t.Parallel()
	db := dbtest.Postgres(t)
	dir := t.TempDir()
	demos := []*process{start(t, "demo", dir, db.DSN), start(t, "demo", dir, db.DSN)}
	for _, demo := range demos {
		demo.awaitOutput(t, "hourbell: running")
	}

	runNow := start(t, "demo", dir, db.DSN, "-run", "daily-full-sync")
	require.Equal(t, 0, runNow.exit(t))
	require.Equal(t, len(jobs), strings.Count(runNow.stdout.String(), "enqueued "))

	var done, workers int
	await(t, "all runs succeed", func() bool {
		row := db.Raw("SELECT count(*), count(DISTINCT leased_by) FROM hourbell_job_runs WHERE trigger = 'MANUAL' AND status = 'SUCCEEDED'").Row()
		require.NoError(t, row.Scan(&done, &workers))
		return done == len(jobs)
	})
	require.Equal(t, 2, workers)

	for _, demo := range demos {
		require.Equal(t, 0, demo.stop(t))
	}
	var stopped int
	require.NoError(t, db.Raw("SELECT count(stopped_at) FROM hourbell_workers").Row().Scan(&stopped))
	require.Equal(t, 2, stopped)
}

// The curl commands of the README work against the demo.
func TestDemoServesREADMECommands(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("curl"); err != nil {
		t.Skip("curl is not installed")
	}
	demo := start(t, "demo", t.TempDir(), "")
	demo.awaitOutput(t, "admin page")
	host := regexp.MustCompile(`url=http://(\S+?)/`).FindStringSubmatch(demo.stdout.String())[1]
	demo.awaitOutput(t, "hourbell: running")

	readme, err := os.ReadFile("../../README.md")
	require.NoError(t, err)
	commands := regexp.MustCompile(`(?m)^curl (?:.*\\\n)*.*$`).FindAllString(string(readme), -1)
	require.Len(t, commands, 3)
	for i, want := range []string{`"id":"feed-refresh"`, `"enabled":true`, `"trigger":"MANUAL"`} {
		command := strings.ReplaceAll(commands[i], "curl ", "curl -sS --fail-with-body --noproxy '*' ")
		out, err := exec.CommandContext(t.Context(), "sh", "-c", strings.ReplaceAll(command, "localhost:8080", host)).CombinedOutput()
		require.NoError(t, err, string(out))
		require.Contains(t, string(out), want)
	}
	demo.awaitOutput(t, "msg=executed job=publish-offers trigger=MANUAL")
	require.Equal(t, 0, demo.stop(t))
	require.Empty(t, demo.stderr.String())
}

// If the default address is in use, listen takes a free port. An address set
// in ADDR must be available.
func TestListenFallsBackToFreePort(t *testing.T) {
	taken, err := net.Listen("tcp", defaultAddress)
	if err == nil { // otherwise another process has the address, which serves the test as well
		defer taken.Close()
	}
	t.Setenv("ADDR", "")
	other, err := listen(t.Context())
	require.NoError(t, err)
	defer other.Close()
	require.NotEqual(t, defaultAddress, other.Addr().String())
	require.True(t, other.Addr().(*net.TCPAddr).IP.IsLoopback())

	t.Setenv("ADDR", other.Addr().String())
	_, err = listen(t.Context())
	require.ErrorContains(t, err, "ADDR: listen tcp "+other.Addr().String())
}

// An error at the start is one line without the password, and the exit code is
// 1.
func TestDemoReportsStartErrorInOneLine(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, url, args, want string }{
		{"unreachable database", "postgres://demo:sesame@127.0.0.1:1/demo", "", "the database is unavailable"},
		{"bad scheme", "mysql://demo:sesame@127.0.0.1/demo", "", "begins with mysql://"},
		{"no URL", "host=127.0.0.1 password=sesame", "", "must be a URL such as postgres://"},
		{"malformed URL", "postgres://demo:sesame%zz@127.0.0.1/demo", "", "cannot parse"},
		{"unknown schedule", "", "-enable=sesam-street", `unknown schedule: "sesam-street"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			demo := start(t, "demo", t.TempDir(), c.url, strings.Fields(c.args)...)
			require.Equal(t, 1, demo.exit(t))
			require.Contains(t, demo.stderr.String(), c.want)
			require.Equal(t, 1, strings.Count(demo.stderr.String(), "\n"), demo.stderr.String())
			require.NotContains(t, demo.stdout.String()+demo.stderr.String(), "sesame")
		})
	}
}
