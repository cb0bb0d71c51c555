package admin

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/hourbell/hourbell"
)

// call is an authorized request for a known route.
type call struct {
	w          http.ResponseWriter
	r          *http.Request
	actor      string
	pathParams map[string]string
	query      url.Values
	body       requestBody
	views      map[string]error // the results of viewSchedule by schedule
}

// The limits of a request.
const (
	maxBody = 64 << 10
	maxNote = 2000 // characters
	maxPage = 200
	maxKey  = 200 // characters
)

// repeatableParam is the only parameter and form field that may occur more than
// once.
const repeatableParam = "id"

// parseQuery parses the query string. It may contain only the allowed
// parameters.
func parseQuery(r *http.Request, allowed []string) (url.Values, error) {
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, newProblem(http.StatusBadRequest, "bad-query", "invalid query: %v", err)
	}
	return query, checkValues(query, "parameter", allowed)
}

// checkValues rejects unknown names, repeated names and invalid UTF-8. kind
// describes the values in error messages.
func checkValues(given url.Values, kind string, allowed []string) error {
	for name, values := range given {
		switch {
		case !slices.Contains(allowed, name) && len(allowed) == 0:
			return badValue(name, "is an unknown %s; none is accepted here", kind)
		case !slices.Contains(allowed, name):
			return badValue(name, "is an unknown %s; use %s", kind, strings.Join(allowed, ", "))
		case len(values) > 1 && name != repeatableParam:
			return badValue(name, "is given %d times", len(values))
		case slices.ContainsFunc(values, func(value string) bool { return !utf8.ValidString(value) }):
			return badValue(name, "is not valid UTF-8")
		}
	}
	return nil
}

// intParam returns an integer parameter, or fallback if it is missing.
func (c *call) intParam(name string, least, most, fallback int) (int, error) {
	if !c.query.Has(name) {
		return fallback, nil
	}
	n, err := strconv.Atoi(c.query.Get(name))
	if err != nil || n < least || n > most {
		return 0, badValue(name, "%q is not in %d-%d", c.query.Get(name), least, most)
	}
	return n, nil
}

// boolParam returns a boolean parameter, or false if it is missing.
func (c *call) boolParam(name string) (bool, error) {
	if !c.query.Has(name) {
		return false, nil
	}
	value, err := strconv.ParseBool(c.query.Get(name))
	if err != nil {
		return false, badValue(name, "%q is neither 1 nor 0", c.query.Get(name))
	}
	return value, nil
}

// pageSize returns the number of rows of a page.
func (c *call) pageSize() (int, error) { return c.intParam("limit", 1, maxPage, 50) }

// cursor returns a cursor of a list that is ordered newest first: the id of the
// last row of the previous page, or 0 for the first page.
func (c *call) cursor(name string) (int64, error) {
	if c.query.Get(name) == "" {
		return 0, nil
	}
	id, err := strconv.ParseInt(c.query.Get(name), 10, 64)
	if err != nil || id < 1 {
		return 0, badValue(name, "%q is not a cursor that a page returned as next", c.query.Get(name))
	}
	return id, nil
}

// requestBody is the body of a write. Each field, and the body itself, is
// optional.
type requestBody struct {
	Note    string `json:"note"`    // recorded with the change
	IfMatch string `json:"ifMatch"` // see hourbell.ChangeOptions
	form    formFields
}

// changeOptions returns the options of a change: the actor, the note and the
// condition.
func (c *call) changeOptions() (hourbell.ChangeOptions, error) {
	if utf8.RuneCountInString(c.body.Note) > maxNote {
		return hourbell.ChangeOptions{}, badValue("note", "is longer than %d characters", maxNote)
	}
	for _, r := range c.body.Note {
		if unicode.IsControl(r) && r != '\n' && r != '\r' && r != '\t' {
			return hourbell.ChangeOptions{}, badValue("note", "contains the control character %U", r)
		}
	}
	return hourbell.ChangeOptions{Actor: c.actor, Note: c.body.Note, IfMatch: c.body.IfMatch}, nil
}

// readBody reads the body: a form if it is sent to the page, else JSON. A
// middleware may have parsed the form, which consumes the body. hostField is
// the name of the host's form field, or "".
func (c *call) readBody(isPage bool, hostField string) (body requestBody, err error) {
	text, err := io.ReadAll(http.MaxBytesReader(c.w, c.r.Body, maxBody))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return body, newProblem(http.StatusRequestEntityTooLarge, "body-too-large", "the body is larger than %d bytes", maxBody)
	case err != nil:
		return body, newProblem(http.StatusBadRequest, "bad-body", "the body is incomplete: %v", err)
	case len(text) == 0 && isPage && len(c.r.PostForm) > 0:
		if len(c.r.PostForm.Encode()) > maxBody {
			return body, newProblem(http.StatusRequestEntityTooLarge, "body-too-large", "the form is larger than %d bytes", maxBody)
		}
		return body, checkForm(c.r.PostForm, hostField, &body)
	case len(text) == 0:
		return body, nil
	}
	want, decode := "application/json", decodeJSON
	if isPage {
		want = "application/x-www-form-urlencoded"
		decode = func(text string, into *requestBody) error { return decodeForm(text, hostField, into) }
	}
	if contentType, _, _ := mime.ParseMediaType(c.r.Header.Get("Content-Type")); contentType != want {
		p := newProblem(http.StatusUnsupportedMediaType, "unsupported-media-type", "the content type is %q; send %s, or no body", c.r.Header.Get("Content-Type"), want)
		p.header = http.Header{"Accept": {want}}
		return body, p
	}
	return body, decode(string(text), &body)
}

// decodeJSON decodes one JSON object that has only known fields.
func decodeJSON(text string, into *requestBody) error {
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.DisallowUnknownFields()
	err := decoder.Decode(into)
	if err == nil {
		if _, end := decoder.Token(); end != io.EOF {
			return newProblem(http.StatusBadRequest, "bad-body", "the body continues after its JSON object")
		}
		return checkFieldNames(text)
	}
	var mistyped *json.UnmarshalTypeError
	if errors.As(err, &mistyped) && mistyped.Field != "" {
		return badValue(mistyped.Field, "is a %s; it must be a %s", mistyped.Value, mistyped.Type)
	}
	if name, unknown := strings.CutPrefix(err.Error(), `json: unknown field "`); unknown {
		return unknownField(strings.TrimSuffix(name, `"`))
	}
	return newProblem(http.StatusBadRequest, "bad-body", "the body is not a JSON object: %s", strings.TrimPrefix(err.Error(), "json: "))
}

func unknownField(name string) error {
	return badValue(name, "is an unknown field; use note, ifMatch")
}

// checkFieldNames rejects what encoding/json accepts: names in another case,
// and repeated names. A proxy in front of the handler might interpret such a
// body differently.
func checkFieldNames(text string) error {
	decoder := json.NewDecoder(strings.NewReader(text))
	_, _ = decoder.Token() // the brace or null; decodeJSON has parsed the text before
	given := map[json.Token]bool{}
	for decoder.More() {
		name, err := decoder.Token()
		switch {
		case err != nil:
			return newProblem(http.StatusBadRequest, "bad-body", "the body is not a JSON object: %v", err)
		case name != "note" && name != "ifMatch":
			return unknownField(fmt.Sprint(name))
		case given[name]:
			return badValue(fmt.Sprint(name), "is given twice")
		}
		given[name] = true
		_, _ = decoder.Token() // the value, a string or null
	}
	return nil
}

// idempotencyKey returns the idempotency key of the request, or "". The
// header's value may be quoted, as its draft standard requires.
func (c *call) idempotencyKey() (string, error) {
	values := c.r.Header.Values("Idempotency-Key")
	if c.body.form.idempotencyKey != "" {
		values = append(values, c.body.form.idempotencyKey)
	}
	if len(values) == 0 {
		return "", nil
	}
	key := strings.TrimSpace(values[0])
	if len(key) > 1 && strings.HasPrefix(key, `"`) && strings.HasSuffix(key, `"`) {
		key = key[1 : len(key)-1]
	}
	fault := ""
	switch {
	case len(values) > 1:
		fault = fmt.Sprintf("is given %d times", len(values))
	case key == "":
		fault = "is empty"
	case !utf8.ValidString(key) || strings.ContainsFunc(key, func(r rune) bool { return !unicode.IsPrint(r) }):
		fault = "contains unprintable characters"
	case utf8.RuneCountInString(key) > maxKey:
		fault = fmt.Sprintf("is longer than %d characters", maxKey)
	default:
		return key, nil
	}
	return "", badValue("Idempotency-Key", "%s", fault)
}
