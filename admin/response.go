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

// response is an HTTP response before it is written.
type response struct {
	status      int
	body        any    // encoded as JSON; a json.RawMessage is sent as it is
	text        []byte // sent as it is, in place of body
	contentType string // Defaults to application/json.
	header      http.Header
}

func okResponse(body any) (*response, error) {
	return &response{status: http.StatusOK, body: body}, nil
}

// write sends the response. A successful GET has an entity tag, so that a
// client that polls receives a 304 until something changes.
func (res *response) write(w http.ResponseWriter, r *http.Request) {
	text := res.text
	if res.body != nil {
		var err error
		if text, err = json.Marshal(res.body); err != nil {
			panic(err) // impossible: the types of this package can be encoded
		}
	}
	header := w.Header()
	hostCompresses := isCompressed(header)
	compress := !hostCompresses && len(text) > minCompressSize && acceptsGzip(r.Header.Values("Accept-Encoding"))
	if !variesByEncoding(header) {
		header.Add("Vary", "Accept-Encoding")
	}
	header.Set("Cache-Control", "private, no-cache")
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
	for name, values := range res.header {
		header[name] = values
	}
	if res.status == http.StatusOK && (r.Method == http.MethodGet || r.Method == http.MethodHead) {
		sum := sha256.Sum256(text)
		tag := `"` + base64.RawURLEncoding.EncodeToString(sum[:12]) + `"`
		if compress || hostCompresses {
			tag = "W/" + tag // same content, different bytes
		}
		header.Set("ETag", tag)
		if matchesTag(r.Header.Values("If-None-Match"), tag) {
			w.WriteHeader(http.StatusNotModified)
			return
		}
	}
	if res.contentType == "" {
		res.contentType = "application/json"
	}
	header.Set("Content-Type", res.contentType)
	if compress {
		text = gzipped(text)
		header.Set("Content-Encoding", "gzip")
	}
	header.Set("Content-Length", strconv.Itoa(len(text)))
	w.WriteHeader(res.status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(text) // fails only if the client is gone
	}
}

// isCompressed reports whether a middleware of the host compresses the
// response. It shows in the header that the middleware sets before it calls the
// handler.
func isCompressed(header http.Header) bool {
	return header.Get("Content-Encoding") != "" || variesByEncoding(header)
}

// variesByEncoding reports whether the Vary header names Accept-Encoding.
func variesByEncoding(header http.Header) bool {
	for _, line := range header.Values("Vary") {
		for name := range strings.SplitSeq(line, ",") {
			if strings.EqualFold(strings.TrimSpace(name), "Accept-Encoding") {
				return true
			}
		}
	}
	return false
}

// minCompressSize is the size in bytes above which a response is compressed.
// A smaller one fits into a single packet.
const minCompressSize = 1400

// acceptsGzip reports whether the Accept-Encoding header allows gzip.
func acceptsGzip(acceptEncoding []string) bool {
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

func gzipped(text []byte) []byte {
	var compressed bytes.Buffer
	writer := gzip.NewWriter(&compressed)
	_, _ = writer.Write(text) // writing to memory cannot fail
	_ = writer.Close()
	return compressed.Bytes()
}

// matchesTag reports whether the If-None-Match header lists the tag.
func matchesTag(ifNoneMatch []string, tag string) bool {
	for _, line := range ifNoneMatch {
		for candidate := range strings.SplitSeq(line, ",") {
			candidate = strings.TrimSpace(candidate)
			if candidate == "*" || strings.TrimPrefix(candidate, "W/") == strings.TrimPrefix(tag, "W/") {
				return true
			}
		}
	}
	return false
}
