package docs_test

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/hourbell/hourbell"
	"github.com/hourbell/hourbell/admin"
	"github.com/hourbell/hourbell/internal/dbtest"
	"github.com/hourbell/hourbell/store"
)

// Every API path in a document exists.
func TestAPIPathsInDocumentsExist(t *testing.T) {
	scheduler, err := hourbell.New(store.New(dbtest.SQLite(t).DB), hourbell.Config{})
	require.NoError(t, err)
	handler, err := admin.New(scheduler, admin.Config{Authorize: admin.AllowAll, Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	paths := regexp.MustCompile(`/api/[A-Za-z0-9/._{}?=-]+`)
	for _, file := range documents(t) {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		for _, path := range paths.FindAllString(string(text), -1) {
			path = strings.TrimRight(path, ".")
			status := http.StatusNotFound
			var body string
			for _, method := range []string{http.MethodGet, http.MethodPost} {
				w := httptest.NewRecorder()
				handler.ServeHTTP(w, httptest.NewRequest(method, path, nil))
				if !strings.Contains(w.Body.String(), "unknown-path") {
					status, body = w.Code, w.Body.String()
				}
			}
			require.NotEmpty(t, body, "%s: there is no route %s", file, path)
			require.NotEqual(t, http.StatusBadRequest, status, "%s: %s: %s", file, path, body)
		}
	}
}

// The source has every log message, problem code and skip reason that
// operations.md lists.
func TestDocumentedMessagesExist(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(root, "docs/operations.md"))
	require.NoError(t, err)
	source := sourceText(t)
	names := regexp.MustCompile("`(hourbell: [^`]+)`").FindAllStringSubmatch(string(text), -1)
	for _, cell := range regexp.MustCompile("(?m)^\\| (`[A-Z_`, ]+) \\|").FindAllString(string(text), -1) {
		names = append(names, regexp.MustCompile("`([A-Z_]+)`").FindAllStringSubmatch(cell, -1)...)
	}
	require.Greater(t, len(names), 15)
	for _, name := range names {
		require.True(t, strings.Contains(source, `"`+name[1]+`"`), name[1])
	}
}

// sourceText returns the Go source of the root package and of package admin.
func sourceText(t *testing.T) string {
	t.Helper()
	var all strings.Builder
	for _, pattern := range []string{"*.go", "admin/*.go"} {
		files, err := filepath.Glob(filepath.Join(root, pattern))
		require.NoError(t, err)
		for _, file := range files {
			text, err := os.ReadFile(file)
			require.NoError(t, err)
			all.Write(text)
		}
	}
	return all.String()
}

// Every link to a file or a heading has a target.
func TestLinkTargetsExist(t *testing.T) {
	links := regexp.MustCompile(`\]\(([^)\s]+)\)`)
	for _, file := range documents(t) {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		for _, link := range links.FindAllStringSubmatch(string(text), -1) {
			target, heading, _ := strings.Cut(link[1], "#")
			if strings.Contains(target, "://") {
				continue
			}
			path := file
			if target != "" {
				path = filepath.Join(filepath.Dir(file), target)
				_, err := os.Stat(path)
				require.NoError(t, err, "a link in %s", file)
			}
			if heading != "" {
				require.Contains(t, headings(t, path), heading, "a link in %s", file)
			}
		}
	}
}

// headings returns the anchors of a document's headings, as GitHub makes them.
func headings(t *testing.T, file string) (list []string) {
	t.Helper()
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	for _, heading := range regexp.MustCompile(`(?m)^#+ (.*)$`).FindAllStringSubmatch(string(text), -1) {
		plain := regexp.MustCompile(`[^a-z0-9 -]`).ReplaceAllString(strings.ToLower(heading[1]), "")
		list = append(list, strings.ReplaceAll(plain, " ", "-"))
	}
	return list
}
