package admin

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
)

// reply is an answer before it is written.
type reply struct {
	status      int
	body        any    // as JSON; a json.RawMessage as it is
	text        []byte // instead of the body, as it is
	contentType string // Defaults to application/json.
	header      http.Header
}

func ok(body any) (*reply, error) { return &reply{status: http.StatusOK, body: body}, nil }

// write sends the reply. What was read successfully has an entity tag, so that who asks again and again is told in a
// few bytes that nothing has changed.
func (a *reply) write(w http.ResponseWriter, r *http.Request) {
	text := a.text
	if a.body != nil {
		var err error
		if text, err = json.Marshal(a.body); err != nil {
			panic(err) // our own types
		}
	}
	zip := len(text) > worthZipping && zips(r.Header.Values("Accept-Encoding"))
	header := w.Header()
	header.Add("Vary", "Accept-Encoding")
	header.Set("Cache-Control", "private, no-cache")
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
	for name, values := range a.header {
		header[name] = values
	}
	if a.status == http.StatusOK && (r.Method == http.MethodGet || r.Method == http.MethodHead) {
		sum := sha256.Sum256(text)
		tag := `"` + base64.RawURLEncoding.EncodeToString(sum[:12]) + `"`
		if zip {
			tag = "W/" + tag // other bytes, the same meaning
		}
		header.Set("ETag", tag)
		if tagged(r.Header.Values("If-None-Match"), tag) {
			w.WriteHeader(http.StatusNotModified)
			return
		}
	}
	if a.contentType == "" {
		a.contentType = "application/json"
	}
	header.Set("Content-Type", a.contentType)
	if zip {
		text = zipped(text)
		header.Set("Content-Encoding", "gzip")
	}
	header.Set("Content-Length", strconv.Itoa(len(text)))
	w.WriteHeader(a.status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(text) // to whom it may still concern
	}
}

// worthZipping is the size, in bytes, from which on an answer is compressed: it then fits into fewer packets.
const worthZipping = 1400

// zips says whether a client understands gzip.
func zips(acceptEncoding []string) bool {
	for _, line := range acceptEncoding {
		for coding := range strings.SplitSeq(line, ",") {
			name, quality, _ := strings.Cut(strings.TrimSpace(coding), ";")
			if strings.EqualFold(strings.TrimSpace(name), "gzip") {
				q, err := strconv.ParseFloat(strings.TrimPrefix(strings.TrimSpace(quality), "q="), 64)
				return err != nil || q > 0
			}
		}
	}
	return false
}

func zipped(text []byte) []byte {
	var compressed bytes.Buffer
	writer := gzip.NewWriter(&compressed)
	_, _ = writer.Write(text) // into memory
	_ = writer.Close()
	return compressed.Bytes()
}

// tagged says whether a client has what a tag names.
func tagged(ifNoneMatch []string, tag string) bool {
	for _, line := range ifNoneMatch {
		for have := range strings.SplitSeq(line, ",") {
			have = strings.TrimSpace(have)
			if have == "*" || strings.TrimPrefix(have, "W/") == strings.TrimPrefix(tag, "W/") {
				return true
			}
		}
	}
	return false
}
