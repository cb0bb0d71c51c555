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

// call is a request whose route is found and which is allowed.
type call struct {
	w          http.ResponseWriter
	r          *http.Request
	actor      string
	parameters map[string]string // of the path
	query      url.Values
	form       form
}

// The limits of what a request may ask for.
const (
	maxBody = 64 << 10
	maxNote = 2000 // characters
	maxPage = 200
	maxKey  = 200 // characters
)

// several is the one parameter that may be given more than once.
const several = "id"

// parseQuery reads the query, which may have the parameters given, each once.
func parseQuery(r *http.Request, allowed []string) (url.Values, error) {
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, refuse(http.StatusBadRequest, "bad-query", "the query cannot be read: %v", err)
	}
	return query, known(query, "parameter", allowed)
}

// known refuses values that nobody asked for, and any that is given twice.
func known(given url.Values, kind string, allowed []string) error {
	for name, values := range given {
		switch {
		case !slices.Contains(allowed, name) && len(allowed) == 0:
			return wrong(name, "is no %s here; there are none", kind)
		case !slices.Contains(allowed, name):
			return wrong(name, "is no %s here; there are %s", kind, strings.Join(allowed, ", "))
		case len(values) > 1 && name != several:
			return wrong(name, "is given %d times", len(values))
		case slices.ContainsFunc(values, func(value string) bool { return !utf8.ValidString(value) }):
			return wrong(name, "is not valid UTF-8")
		}
	}
	return nil
}

// number reads a whole number, or returns the default where the parameter is missing.
func (c *call) number(name string, least, most, standard int) (int, error) {
	if !c.query.Has(name) {
		return standard, nil
	}
	n, err := strconv.Atoi(c.query.Get(name))
	if err != nil || n < least || n > most {
		return 0, wrong(name, "%q is not in %d-%d", c.query.Get(name), least, most)
	}
	return n, nil
}

// page reads the size of a page.
func (c *call) page() (int, error) { return c.number("limit", 1, maxPage, 50) }

// before reads a cursor that is the id of the last row of a page, newest first.
func (c *call) before() (int64, error) { return c.cursor("cursor") }

func (c *call) cursor(name string) (int64, error) {
	if c.query.Get(name) == "" {
		return 0, nil
	}
	id, err := strconv.ParseInt(c.query.Get(name), 10, 64)
	if err != nil || id < 1 {
		return 0, wrong(name, "%q is not the next of a page", c.query.Get(name))
	}
	return id, nil
}

// form is the body of every write. All of it may be left out.
type form struct {
	Note string `json:"note"` // why; recorded with what is changed
	Seen string `json:"seen"` // what the person saw: see hourbell.By
	page pageForm
}

// by says who asks for a change and why.
func (c *call) by() (hourbell.By, error) {
	if utf8.RuneCountInString(c.form.Note) > maxNote {
		return hourbell.By{}, wrong("note", "is longer than %d characters", maxNote)
	}
	for _, r := range c.form.Note {
		if unicode.IsControl(r) && r != '\n' && r != '\r' && r != '\t' {
			return hourbell.By{}, wrong("note", "has the control character %U", r)
		}
	}
	return hourbell.By{Actor: c.actor, Note: c.form.Note, Seen: c.form.Seen}, nil
}

// readForm reads the body, which is JSON, or what a page's form sends.
func (c *call) readForm(page bool) (f form, err error) {
	body, err := io.ReadAll(http.MaxBytesReader(c.w, c.r.Body, maxBody))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return f, refuse(http.StatusRequestEntityTooLarge, "body-too-large", "the body is larger than %d bytes", maxBody)
	case err != nil:
		return f, refuse(http.StatusBadRequest, "bad-body", "the body broke off: %v", err)
	case len(body) == 0:
		return f, nil
	}
	want, read := "application/json", decode
	if page {
		want, read = "application/x-www-form-urlencoded", decodePage
	}
	if kind, _, _ := mime.ParseMediaType(c.r.Header.Get("Content-Type")); kind != want {
		p := refuse(http.StatusUnsupportedMediaType, "unsupported-media-type", "the body is %q; send %s, or no body", c.r.Header.Get("Content-Type"), want)
		p.header = http.Header{"Accept": {want}}
		return f, p
	}
	return f, read(string(body), &f)
}

// decode reads one JSON object, and nothing that it does not know.
func decode(body string, into *form) error {
	decoder := json.NewDecoder(strings.NewReader(body))
	decoder.DisallowUnknownFields()
	err := decoder.Decode(into)
	if err == nil {
		if _, end := decoder.Token(); end != io.EOF {
			return refuse(http.StatusBadRequest, "bad-body", "the body goes on after its JSON object")
		}
		return exact(body)
	}
	var mistyped *json.UnmarshalTypeError
	if errors.As(err, &mistyped) && mistyped.Field != "" {
		return wrong(mistyped.Field, "is a %s; it must be a %s", mistyped.Value, mistyped.Type)
	}
	if name, unknown := strings.CutPrefix(err.Error(), `json: unknown field "`); unknown {
		return unknownField(strings.TrimSuffix(name, `"`))
	}
	return refuse(http.StatusBadRequest, "bad-body", "the body is not a JSON object: %s", strings.TrimPrefix(err.Error(), "json: "))
}

func unknownField(name string) error { return wrong(name, "is no field here; there are note and seen") }

// exact refuses what the decoder has let pass: a name in other letters, and a second value under one name. A guard in front
// of the handler may have read the body otherwise.
func exact(body string) error {
	decoder := json.NewDecoder(strings.NewReader(body))
	_, _ = decoder.Token() // the brace, or null; it was all read before, and the values are texts
	given := map[json.Token]bool{}
	for decoder.More() {
		name, err := decoder.Token()
		switch {
		case err != nil:
			return refuse(http.StatusBadRequest, "bad-body", "the body is not a JSON object: %v", err)
		case name != "note" && name != "seen":
			return unknownField(fmt.Sprint(name))
		case given[name]:
			return wrong(fmt.Sprint(name), "is given twice")
		}
		given[name] = true
		_, _ = decoder.Token()
	}
	return nil
}

// key is the request's idempotency key, "" for none. It may stand in quotes, as the header's draft standard has it.
func (c *call) key() (string, error) {
	values := c.r.Header.Values("Idempotency-Key")
	if c.form.page.key != "" {
		values = append(values, c.form.page.key)
	}
	if len(values) == 0 {
		return "", nil
	}
	key := strings.TrimSpace(values[0])
	if len(key) > 1 && strings.HasPrefix(key, `"`) && strings.HasSuffix(key, `"`) {
		key = key[1 : len(key)-1]
	}
	err := ""
	switch {
	case len(values) > 1:
		err = fmt.Sprintf("is given %d times", len(values))
	case key == "":
		err = "is empty"
	case !utf8.ValidString(key) || strings.ContainsFunc(key, func(r rune) bool { return !unicode.IsPrint(r) }):
		err = "has characters that cannot be printed"
	case utf8.RuneCountInString(key) > maxKey:
		err = fmt.Sprintf("is longer than %d characters", maxKey)
	default:
		return key, nil
	}
	return "", wrong("Idempotency-Key", "%s", err)
}
