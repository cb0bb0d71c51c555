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

var documentFile = filepath.Join("..", "..", "..", "admin", "openapi.json")

// document is the OpenAPI document of the source tree. A test compares it with
// the served document.
var document, router = loadDocument()

func loadDocument() (*openapi3.T, routers.Router) {
	text, err := os.ReadFile(documentFile)
	if err != nil {
		panic(err)
	}
	doc, err := openapi3.NewLoader().LoadFromData(text)
	if err != nil {
		panic(err)
	}
	doc.Servers = nil // validateExchange removes the prefix from paths
	router, err := gorillamux.NewRouter(doc)
	if err != nil {
		panic(err)
	}
	return doc, router
}

// tested records the operation and status of each exchange.
var tested = struct {
	sync.Mutex
	statuses map[string]bool
}{statuses: map[string]bool{}}

// validateExchange validates an exchange against the document. It does not
// validate requests that the handler refused as malformed.
func validateExchange(t testing.TB, sent *http.Request, body string, res response) {
	t.Helper()
	path := strings.TrimPrefix(sent.URL.EscapedPath(), prefix)
	req := httptest.NewRequest(sent.Method, "http://host"+path+"?"+sent.URL.RawQuery, strings.NewReader(body))
	req.Header = sent.Header
	if req.Method == http.MethodHead {
		req.Method = http.MethodGet
	}
	route, parameters, err := router.FindRoute(req)
	if res.isUnrouted() {
		require.Error(t, err, "%s %s is in the document", sent.Method, path)
		validateProblem(t, res)
		return
	}
	require.NoError(t, err, "%s %s", sent.Method, path)
	input := &openapi3filter.RequestValidationInput{
		Request: req, PathParams: parameters, Route: route,
		Options: &openapi3filter.Options{IncludeResponseStatus: true, MultiError: true},
	}
	malformed := []int{http.StatusBadRequest, http.StatusUnsupportedMediaType, http.StatusRequestEntityTooLarge}
	if !slices.Contains(malformed, res.StatusCode) {
		require.NoError(t, openapi3filter.ValidateRequest(t.Context(), input), "%s %s", sent.Method, path)
	}
	tested.Lock()
	tested.statuses[fmt.Sprintf("%s %d", route.Operation.OperationID, res.StatusCode)] = true
	tested.Unlock()
	if sent.Method == http.MethodHead || res.StatusCode == http.StatusNotModified {
		require.Empty(t, res.body)
		return
	}
	require.NoError(t, openapi3filter.ValidateResponse(t.Context(), &openapi3filter.ResponseValidationInput{
		RequestValidationInput: input, Status: res.StatusCode, Header: res.Header, Body: io.NopCloser(strings.NewReader(res.body)),
		Options: input.Options,
	}), "%s %s: %s", sent.Method, path, res.body)
}

// isUnrouted reports whether the response belongs to no operation.
func (r response) isUnrouted() bool {
	var problem struct{ Code string }
	if r.StatusCode >= http.StatusBadRequest && r.body != "" {
		_ = json.Unmarshal([]byte(r.body), &problem)
	}
	return r.StatusCode == http.StatusMethodNotAllowed || slices.Contains([]string{"unknown-path", "bad-path"}, problem.Code)
}

// validateProblem validates the problem document of an unrouted response.
func validateProblem(t testing.TB, res response) {
	t.Helper()
	require.Equal(t, "application/problem+json", res.Header.Get("Content-Type"))
	if res.Request.Method == http.MethodHead {
		return
	}
	var problem any
	require.NoError(t, json.Unmarshal([]byte(res.body), &problem))
	require.NoError(t, document.Components.Schemas["Problem"].Value.VisitJSON(problem, openapi3.EnableJSONSchema2020()))
}

// TestMain fails if the tests leak goroutines. If all tests ran, it also fails
// if the document has a response that no test received. Responses that clients
// cannot cause are exempt: internal errors and database errors.
func TestMain(m *testing.M) {
	code := leaktest.Run(m)
	if code == 0 && flag.Lookup("test.run").Value.String() == "" && flag.Lookup("test.fuzz").Value.String() == "" {
		var untested []string
		for _, item := range document.Paths.Map() {
			for _, operation := range item.Operations() {
				for status := range operation.Responses.Map() {
					if name := operation.OperationID + " " + status; !tested.statuses[name] && status != "500" && status != "503" && status != "405" {
						untested = append(untested, name)
					}
				}
			}
		}
		if len(untested) > 0 {
			sort.Strings(untested)
			fmt.Println("no test received these responses of the document:", untested)
			code = 1
		}
	}
	os.Exit(code)
}

func TestDocumentIsValidAndServed(t *testing.T) {
	require.NoError(t, document.Validate(t.Context()))
	h := newHost(t, dbtest.SQLite(t), setup{})
	res := h.send(request{method: "GET", path: "/api/openapi.json"})
	require.Equal(t, "application/json", res.Header.Get("Content-Type"))
	text, err := os.ReadFile(documentFile)
	require.NoError(t, err)
	var compact bytes.Buffer
	require.NoError(t, json.Compact(&compact, text))
	require.JSONEq(t, compact.String(), res.body)
}

// Each path of the document accepts the documented methods and no others.
func TestDocumentedPathsExist(t *testing.T) {
	h := newHost(t, dbtest.SQLite(t), setup{})
	params := strings.NewReplacer("{id}", "1", "{group}", "feed", "{job}", "import")
	for path, item := range document.Paths.Map() {
		for _, method := range []string{"GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"} {
			res := h.send(request{method: method, path: params.Replace(path)})
			if item.GetOperation(method) == nil {
				require.Equal(t, http.StatusMethodNotAllowed, res.StatusCode, "%s %s", method, path)
				for _, allowed := range strings.Split(res.Header.Get("Allow"), ", ") {
					require.True(t, allowed == "HEAD" || item.GetOperation(allowed) != nil, "%s %s", allowed, path)
				}
				continue
			}
			require.False(t, res.isUnrouted(), "%s %s", method, path)
		}
	}
}
