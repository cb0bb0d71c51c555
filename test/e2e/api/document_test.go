package api_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"sync"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"
	"github.com/stretchr/testify/require"

	"github.com/hourbell/hourbell/internal/dbtest"
	"github.com/hourbell/hourbell/internal/leaktest"
)

// The document as it lies in the tree; a test compares it with what is served.
var document, router = load()

func load() (*openapi3.T, routers.Router) {
	text, err := os.ReadFile(filepath.Join("..", "..", "admin", "openapi.json"))
	if err != nil {
		panic(err)
	}
	doc, err := openapi3.NewLoader().LoadFromData(text)
	if err != nil {
		panic(err)
	}
	doc.Servers = nil // the paths of the tests' requests are cut to those of the document
	find, err := gorillamux.NewRouter(doc)
	if err != nil {
		panic(err)
	}
	return doc, find
}

// seen are the operations and statuses of all exchanges of the tests.
var seen = struct {
	sync.Mutex
	statuses map[string]bool
}{statuses: map[string]bool{}}

// checkExchange fails the test unless the document has the exchange: the answer in any case, and the request too
// unless it was refused for its form.
func checkExchange(t testing.TB, sent *http.Request, body string, a answer) {
	t.Helper()
	path := strings.TrimPrefix(sent.URL.EscapedPath(), prefix)
	asked := httptest.NewRequest(sent.Method, "http://host"+path+"?"+sent.URL.RawQuery, strings.NewReader(body))
	asked.Header = sent.Header
	if asked.Method == http.MethodHead {
		asked.Method = http.MethodGet
	}
	route, parameters, err := router.FindRoute(asked)
	if a.unrouted() {
		require.Error(t, err, "%s %s is in the document", sent.Method, path)
		checkProblem(t, a)
		return
	}
	require.NoError(t, err, "%s %s", sent.Method, path)
	input := &openapi3filter.RequestValidationInput{
		Request: asked, PathParams: parameters, Route: route,
		Options: &openapi3filter.Options{IncludeResponseStatus: true, MultiError: true},
	}
	malformed := []int{http.StatusBadRequest, http.StatusUnsupportedMediaType, http.StatusRequestEntityTooLarge}
	if !slices.Contains(malformed, a.StatusCode) {
		require.NoError(t, openapi3filter.ValidateRequest(t.Context(), input), "%s %s", sent.Method, path)
	}
	seen.Lock()
	seen.statuses[fmt.Sprintf("%s %d", route.Operation.OperationID, a.StatusCode)] = true
	seen.Unlock()
	if sent.Method == http.MethodHead || a.StatusCode == http.StatusNotModified {
		require.Empty(t, a.body)
		return
	}
	require.NoError(t, openapi3filter.ValidateResponse(t.Context(), &openapi3filter.ResponseValidationInput{
		RequestValidationInput: input, Status: a.StatusCode, Header: a.Header, Body: io.NopCloser(strings.NewReader(a.body)),
		Options: input.Options,
	}), "%s %s: %s", sent.Method, path, a.body)
}

// unrouted says that the answer is of no operation.
func (a answer) unrouted() bool {
	var problem struct{ Code string }
	if a.StatusCode >= http.StatusBadRequest && a.body != "" {
		_ = json.Unmarshal([]byte(a.body), &problem)
	}
	return a.StatusCode == http.StatusMethodNotAllowed || slices.Contains([]string{"unknown-path", "bad-path"}, problem.Code)
}

// checkProblem holds an answer against the form of problems where no operation says what it is.
func checkProblem(t testing.TB, a answer) {
	t.Helper()
	require.Equal(t, "application/problem+json", a.Header.Get("Content-Type"))
	if a.Request.Method == http.MethodHead {
		return
	}
	var problem any
	require.NoError(t, json.Unmarshal([]byte(a.body), &problem))
	require.NoError(t, document.Components.Schemas["Problem"].Value.VisitJSON(problem, openapi3.EnableJSONSchema2020()))
}

// TestMain asserts at the end, where all tests ran, that they have seen each answer which the document promises. What
// no client can bring about is left out: faults of our own, and of the database on each single operation.
func TestMain(m *testing.M) {
	code := leaktest.Run(m)
	if code == 0 && flag.Lookup("test.run").Value.String() == "" && flag.Lookup("test.fuzz").Value.String() == "" {
		var missing []string
		for _, item := range document.Paths.Map() {
			for _, operation := range item.Operations() {
				for status := range operation.Responses.Map() {
					if at := operation.OperationID + " " + status; !seen.statuses[at] && status != "500" && status != "503" && status != "405" {
						missing = append(missing, at)
					}
				}
			}
		}
		if len(missing) > 0 {
			sort.Strings(missing)
			fmt.Println("no test has seen these answers of the document:", missing)
			code = 1
		}
	}
	os.Exit(code)
}

func TestTheDocumentIsValidAndServed(t *testing.T) {
	require.NoError(t, document.Validate(t.Context()))
	h := newHost(t, dbtest.SQLite(t), setup{})
	a := h.send(request{method: "GET", path: "/api/openapi.json"})
	require.Equal(t, "application/json", a.Header.Get("Content-Type"))
	text, err := os.ReadFile(filepath.Join("..", "..", "admin", "openapi.json"))
	require.NoError(t, err)
	var compact bytes.Buffer
	require.NoError(t, json.Compact(&compact, text))
	require.JSONEq(t, compact.String(), a.body)
}

// Whoever follows the document finds each operation, by each method that it names and by no other.
func TestEveryPathOfTheDocumentIsThere(t *testing.T) {
	h := newHost(t, dbtest.SQLite(t), setup{})
	fill := strings.NewReplacer("{id}", "1", "{group}", "feed", "{job}", "import")
	for path, item := range document.Paths.Map() {
		for _, method := range []string{"GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"} {
			a := h.send(request{method: method, path: fill.Replace(path)})
			if item.GetOperation(method) == nil {
				require.Equal(t, http.StatusMethodNotAllowed, a.StatusCode, "%s %s", method, path)
				for _, allowed := range strings.Split(a.Header.Get("Allow"), ", ") {
					require.True(t, allowed == "HEAD" || item.GetOperation(allowed) != nil, "%s %s", allowed, path)
				}
				continue
			}
			require.False(t, a.unrouted(), "%s %s", method, path)
		}
	}
}
