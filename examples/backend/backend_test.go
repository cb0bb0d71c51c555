package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hourbell/hourbell/internal/dbtest"
)

// lockedBuffer collects the log of the backend.
type lockedBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// shop is a backend under test.
type shop struct {
	*testing.T
	url  string
	stop func() error
}

// openShop runs the backend as main does, in a temporary directory.
func openShop(t *testing.T, databaseURL string) *shop {
	t.Helper()
	t.Chdir(t.TempDir())
	for name, value := range map[string]string{"DATABASE_URL": databaseURL, "ADDR": "127.0.0.1:0", "ADA_PASSWORD": "a", "BOB_PASSWORD": "b"} {
		t.Setenv(name, value)
	}
	reader, writer, err := os.Pipe()
	require.NoError(t, err)
	stdout := os.Stdout
	os.Stdout = writer // run logs to it
	printed := &lockedBuffer{}
	copied := make(chan struct{})
	go func() { defer close(copied); _, _ = io.Copy(printed, reader) }()

	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- run(ctx) }()
	s := &shop{T: t, stop: sync.OnceValue(func() error { cancel(); return <-ended })}
	t.Cleanup(func() {
		_ = s.stop()
		os.Stdout = stdout
		_ = writer.Close()
		<-copied
		if t.Failed() {
			t.Log(printed.String())
		}
	})
	url := regexp.MustCompile(`msg=listening url=(\S+)`)
	s.await("the listening address", func() bool { return url.MatchString(printed.String()) })
	s.url = url.FindStringSubmatch(printed.String())[1]
	s.await("the start of the loop", func() bool { return strings.Contains(printed.String(), "hourbell: running") })
	return s
}

func (s *shop) await(what string, condition func() bool) {
	s.Helper()
	for deadline := time.Now().Add(20 * time.Second); !condition(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			require.FailNow(s, "timed out waiting for "+what)
		}
	}
}

// call sends a request, as user unless that is empty, and returns the body of
// the response.
func (s *shop) call(status int, user, method, path, body string) string {
	s.Helper()
	request, err := http.NewRequestWithContext(s.Context(), method, s.url+path, strings.NewReader(body))
	require.NoError(s, err)
	if name, password, ok := strings.Cut(user, ":"); ok {
		request.SetBasicAuth(name, password)
	}
	response, err := http.DefaultClient.Do(request)
	require.NoError(s, err)
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	require.NoError(s, err)
	require.Equal(s, status, response.StatusCode, string(text))
	return string(text)
}

const (
	ada = "ada:a"
	bob = "bob:b"
)

func (s *shop) invoices() (list []Invoice) {
	s.Helper()
	require.NoError(s, json.Unmarshal([]byte(s.call(http.StatusOK, ada, "GET", "/invoices", "")), &list))
	return list
}

// E3: a stored order has its invoice enqueued once. An order that is refused
// after the enqueueing has none.
func TestInvoiceIsEnqueuedOnlyWithItsOrder(t *testing.T) {
	onBothDatabases(t, func(t *testing.T, s *shop) {
		const runs = "/admin/schedules/api/runs"
		s.call(http.StatusConflict, ada, "POST", "/orders", `{"customer": 2, "amount": 120}`)
		s.call(http.StatusNotFound, ada, "POST", "/orders", `{"customer": 9, "amount": 120}`)
		s.call(http.StatusBadRequest, ada, "POST", "/orders", `{"customer": 1, "amount": -1}`)
		require.Contains(t, s.call(http.StatusOK, ada, "GET", runs, ""), `"runs":[]`)

		s.call(http.StatusCreated, ada, "POST", "/orders", `{"customer": 1, "amount": 120}`)
		s.await("the invoice", func() bool { return len(s.invoices()) == 1 })
		require.Equal(t, 120, s.invoices()[0].Amount)
		s.await("the end of the run", func() bool {
			return strings.Contains(s.call(http.StatusOK, ada, "GET", runs, ""), `"status":"SUCCEEDED"`)
		})
		require.Equal(t, 1, strings.Count(s.call(http.StatusOK, ada, "GET", runs, ""), `"actor":"ada"`))
		require.NoError(t, s.stop())
	})
}

// The backend's own users and rights apply to the schedules.
func TestBackendUsersControlSchedules(t *testing.T) {
	onBothDatabases(t, func(t *testing.T, s *shop) {
		const remind = "/admin/schedules/api/schedules/remind"
		s.call(http.StatusUnauthorized, "", "GET", remind, "")
		s.call(http.StatusUnauthorized, "ada:wrong", "POST", "/orders", "")
		s.call(http.StatusOK, "", "GET", "/admin/schedules/api/health", "")
		require.Contains(t, s.call(http.StatusOK, bob, "GET", remind, ""), `"cronDescription":"Monday to Friday at 07:30"`)
		require.Contains(t, s.call(http.StatusForbidden, bob, "POST", remind+"/enable", ""), "bob may read schedules but not change them")
		s.call(http.StatusForbidden, bob, "POST", "/orders", "")

		require.Contains(t, s.call(http.StatusOK, bob, "GET", "/admin/schedules/", ""), "bob may read schedules but not change them")
		require.NotContains(t, s.call(http.StatusOK, ada, "GET", "/admin/schedules/", ""), "but not change them")
		require.Contains(t, s.call(http.StatusOK, ada, "POST", remind+"/enable", ""), `"enabled":true`)
		require.Contains(t, s.call(http.StatusOK, bob, "GET", remind+"/events?kind=ENABLED", ""), `"actor":"ada"`)
	})
}

// Run now executes the jobs of a disabled schedule at once.
func TestRunNowRemindsCustomers(t *testing.T) {
	db := dbtest.Postgres(t)
	s := openShop(t, db.DSN)
	s.call(http.StatusCreated, ada, "POST", "/orders", `{"customer": 1, "amount": 50}`)
	s.await("the invoice", func() bool { return len(s.invoices()) == 1 })
	require.NoError(t, db.Exec("UPDATE invoices SET due_at = due_at - interval '15 days'").Error)
	s.call(http.StatusCreated, ada, "POST", "/admin/schedules/api/schedules/remind/run", "")
	s.await("the reminder", func() bool { return s.invoices()[0].RemindedAt != nil })
}

func onBothDatabases(t *testing.T, test func(t *testing.T, s *shop)) {
	t.Helper()
	t.Run("sqlite", func(t *testing.T) { test(t, openShop(t, "")) })
	t.Run("postgres", func(t *testing.T) { test(t, openShop(t, dbtest.Postgres(t).DSN)) })
}

// The lines that hourbell needs in existing files are few and marked.
func TestAddedLinesAreMarked(t *testing.T) {
	added, all := 0, 0
	for _, name := range []string{"main.go", "models.go", "auth.go", "routes.go"} {
		text, err := os.ReadFile(filepath.Join(".", name))
		require.NoError(t, err)
		_, code, _ := strings.Cut(string(text), "\nfunc ")
		inBlock := false
		for line := range strings.Lines(code) {
			marked := strings.HasPrefix(strings.TrimSpace(line), "// hourbell:")
			inBlock = (inBlock || marked) && strings.TrimSpace(line) != ""
			if inBlock && !marked || strings.Contains(line, "; // hourbell:") {
				added++
			}
			all++
			if strings.Contains(line, "scheduler") || strings.Contains(line, "hourbell.") || strings.Contains(line, "admin.") {
				require.True(t, inBlock || strings.Contains(line, "// hourbell:"), "%s: not marked: %s", name, line)
			}
		}
	}
	require.Less(t, added, 45)
	require.Greater(t, all, 5*added)
	t.Logf("%d of %d lines are added", added, all)
}
