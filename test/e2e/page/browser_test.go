// Package page_test is the test-suite of the admin page, in a real browser.
package page_test

import _ "github.com/hourbell/hourbell/test/sqlite" // registers the SQLite driver

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/input"
	browserlog "github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/stretchr/testify/require"

	"github.com/hourbell/hourbell/internal/dbtest"
	"github.com/hourbell/hourbell/internal/leaktest"
)

const (
	requireEnv = "HOURBELL_REQUIRE_BROWSER" // set to 1, makes a missing browser a failure
	shotsEnv   = "HOURBELL_SHOTS"           // a folder for pictures of each state
	checker    = "testdata/node_modules/axe-core/axe.min.js"
)

// browser is the one that all tests share, each in a profile of its own.
var browser struct {
	once    sync.Once
	ctx     context.Context
	err     error
	close   func()
	checker string // the accessibility checker's source
}

func TestMain(m *testing.M) {
	leaktest.Main(m, func() {
		if browser.close != nil {
			browser.close()
		}
	})
}

// program finds Chromium.
func program() (string, error) {
	if named := os.Getenv("CHROMIUM"); named != "" {
		return named, nil
	}
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "google-chrome-stable"} {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", errors.New("no Chromium is in PATH, and CHROMIUM names none")
}

func startBrowser() {
	var path string
	if path, browser.err = program(); browser.err != nil {
		return
	}
	source, err := os.ReadFile(checker)
	if browser.err = err; err != nil {
		return
	}
	browser.checker = string(source)
	options := []chromedp.ExecAllocatorOption{chromedp.ExecPath(path), chromedp.Headless, chromedp.NoSandbox, chromedp.DisableGPU, chromedp.NoFirstRun}
	for _, flag := range []string{
		"disable-quic", "disable-background-networking", "disable-component-update", "disable-sync", "disable-dev-shm-usage", "hide-scrollbars",
	} {
		options = append(options, chromedp.Flag(flag, true))
	}
	ctx, stop := chromedp.NewExecAllocator(context.Background(), options...)
	ctx, cancel := chromedp.NewContext(ctx)
	browser.ctx = ctx
	browser.close = func() {
		_ = chromedp.Cancel(ctx) // waits until it has gone
		cancel()
		stop()
	}
	browser.err = chromedp.Do(ctx)
}

// tab is a page of the browser, with no cookies or cache of another test's.
type tab struct {
	testing.TB
	ctx  context.Context
	base string

	mu       sync.Mutex
	faults   []string // what the browser complained of
	expected []string // parts of complaints that are part of the test
	bare     bool     // JavaScript is turned off
}

// open opens a tab on a path below a host's handler. When the test ends, the browser must have had nothing to
// complain of: no error in the console, and nothing that the content security policy refused.
func (h *host) open(t testing.TB, path string) *tab {
	t.Helper()
	tb := h.tab(t)
	tb.visit(path)
	return tb
}

// tab makes a tab that shows nothing yet.
func (h *host) tab(t testing.TB) *tab {
	t.Helper()
	browser.once.Do(startBrowser)
	if browser.err != nil {
		if os.Getenv(requireEnv) == "1" {
			t.Fatalf("no browser: %v", browser.err)
		}
		dbtest.Shout("hourbell tests: ADMIN PAGE IN A BROWSER SKIPPED: " + browser.err.Error() + "; 'make test' installs what is missing and runs everything")
		t.Skip(browser.err)
	}
	ctx, cancel := chromedp.NewContext(browser.ctx, chromedp.WithNewBrowserContext())
	t.Cleanup(cancel)
	ctx, cancel = context.WithTimeout(ctx, 2*time.Minute)
	t.Cleanup(cancel)
	tb := &tab{TB: t, ctx: ctx, base: h.url}
	require.NoError(t, chromedp.Listen(ctx, tb.hear))
	command(tb, browserlog.Enable, cdp.Empty{})
	tb.size(1280, 900)
	t.Cleanup(func() {
		tb.mu.Lock()
		defer tb.mu.Unlock()
		require.Empty(t, tb.faults, "the browser's console")
	})
	return tb
}

// hear takes note of what the browser reports.
func (tb *tab) hear(event any) {
	tb.mu.Lock()
	defer tb.mu.Unlock()
	var fault string
	switch e := event.(type) {
	case *browserlog.EventEntryAdded:
		fault = fmt.Sprintf("%s: %s %s", e.Entry.Source, e.Entry.Text, e.Entry.URL)
	case *runtime.EventExceptionThrown:
		fault = "exception: " + e.ExceptionDetails.Text
		if e.ExceptionDetails.Exception != nil {
			fault += e.ExceptionDetails.Exception.Description
		}
	case *runtime.EventConsoleAPICalled:
		fault = fmt.Sprintf("console.%v", e.Type)
	}
	for _, part := range tb.expected {
		if strings.Contains(fault, part) {
			fault = ""
		}
	}
	if fault != "" {
		tb.faults = append(tb.faults, fault)
	}
}

// expects names a complaint of the browser's that is part of the test, such as of an answer that is no success.
func (tb *tab) expects(parts ...string) {
	tb.mu.Lock()
	defer tb.mu.Unlock()
	tb.expected = append(tb.expected, parts...)
}

// command sends a command of the browser's protocol.
func command[P, R any](tb *tab, c cdp.Command[P, R], params P) {
	tb.Helper()
	_, err := chromedp.Call(tb.ctx, c, params)
	require.NoError(tb, err)
}

func (tb *tab) do(steps ...chromedp.Action[chromedp.Void]) {
	tb.Helper()
	require.NoError(tb, chromedp.Do(tb.ctx, steps...))
}

func (tb *tab) visit(path string) {
	tb.Helper()
	tb.do(chromedp.Navigate(tb.base + path))
}

func (tb *tab) size(width, height int64) {
	tb.Helper()
	tb.do(chromedp.EmulateViewport(width, height))
}

// dark asks for dark colours.
func (tb *tab) dark() {
	tb.Helper()
	command(tb, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: "dark"}},
	})
}

// zone sets the reader's time zone.
func (tb *tab) zone(name string) {
	tb.Helper()
	command(tb, emulation.SetTimezoneOverride, emulation.SetTimezoneOverrideParams{TimezoneID: name})
}

// withoutScript turns JavaScript off.
func (tb *tab) withoutScript() {
	tb.Helper()
	tb.bare = true
	command(tb, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true})
}

// js evaluates an expression in the page.
func js[T any](tb *tab, expression string, args ...any) T {
	tb.Helper()
	value, err := chromedp.Run(tb.ctx, chromedp.Evaluate[T](fill(expression, args), chromedp.EvalAwaitPromise))
	require.NoError(tb, err, "%s", fill(expression, args))
	return value
}

// fill puts values into an expression, as JSON, where it says %s.
func fill(expression string, args []any) string {
	for i, arg := range args {
		text, err := json.Marshal(arg)
		if err != nil {
			panic(err)
		}
		args[i] = string(text)
	}
	return fmt.Sprintf(expression, args...)
}

// await waits until an expression is true.
func (tb *tab) await(expression string, args ...any) {
	tb.Helper()
	full := fill(expression, args)
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		is, err := chromedp.Run(tb.ctx, chromedp.Evaluate[bool]("Boolean("+full+")"))
		if err == nil && is {
			return
		}
		if time.Now().After(deadline) {
			tb.shot("failed")
			tb.Fatalf("still not: %s (%v)\n%s", full, err, tb.text("main"))
		}
	}
}

// awaitText waits until an element says something, and can be seen to: a dialog that is closed still has its text.
func (tb *tab) awaitText(selector, part string) {
	tb.Helper()
	tb.await(`document.querySelector(%s)?.checkVisibility() && document.querySelector(%s).innerText.includes(%s)`, selector, selector, part)
}

// text is what an element says, as a person sees it.
func (tb *tab) text(selector string) string {
	tb.Helper()
	return js[string](tb, `document.querySelector(%s)?.innerText ?? "(missing)"`, selector)
}

// click clicks with the mouse.
func (tb *tab) click(selector string) {
	tb.Helper()
	tb.await(`document.querySelector(%s)`, selector)
	for deadline := time.Now().Add(10 * time.Second); ; {
		err := chromedp.Do(tb.ctx, chromedp.Click(chromedp.CSS(selector), chromedp.NodeVisible))
		if err == nil {
			return
		}
		if time.Now().After(deadline) { // the page was changed just when it was to be clicked on
			require.NoError(tb, err)
		}
	}
}

// hover moves the pointer onto an element.
func (tb *tab) hover(selector string) {
	tb.Helper()
	at := js[[]float64](tb, `(() => { const e = document.querySelector(%s); e.scrollIntoView({block: "nearest"}); const r = e.getBoundingClientRect(); return [r.left + r.width / 2, r.top + r.height / 2]; })()`, selector)
	tb.do(chromedp.MouseEvent(input.DispatchMouseEventTypeMouseMoved, at[0], at[1]))
}

// follow clicks on something that leads to another page, and waits for it.
func (tb *tab) follow(selector string) {
	tb.Helper()
	_, err := chromedp.RunResponse(tb.ctx, chromedp.Click(chromedp.CSS(selector), chromedp.NodeVisible))
	require.NoError(tb, err)
}

// keys presses keys, as a keyboard does: of a stroke that was handled as the key went down, nothing else is heard.
func (tb *tab) keys(keys string) {
	tb.Helper()
	tb.do(chromedp.KeyEvent(keys, func(event *input.DispatchKeyEventParams) {
		if event.Type == kb.KeyDown {
			event.Type = kb.KeyRawDown
		}
	}))
}

// typeInto types into a field.
func (tb *tab) typeInto(selector, text string) {
	tb.Helper()
	tb.do(chromedp.SendKeys(chromedp.CSS(selector), text, chromedp.NodeVisible))
}

// accessible fails the test where the checker finds a violation of WCAG 2.2 AA, or of good practice.
func (tb *tab) accessible(state string) {
	tb.Helper()
	tb.do(chromedp.Evaluate[chromedp.Void](browser.checker))
	found := js[string](tb, `axe.run(document, {resultTypes: ["violations"], runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]})
		.then((result) => result.violations.map((v) => v.id + ": " + v.help + "\n" + v.nodes.map((n) => "  " + n.html + "\n  " + n.failureSummary).join("\n")).join("\n"))`)
	require.Empty(tb, found, state)
}

// fits fails the test where something is wider than the window.
func (tb *tab) fits(state string) {
	tb.Helper()
	wide := js[string](tb, `(() => {
		const width = document.documentElement.clientWidth;
		if (document.documentElement.scrollWidth <= width) return "";
		return [...document.querySelectorAll("body *")].filter((e) => e.getBoundingClientRect().right > width + 1).slice(0, 5).map((e) => e.outerHTML.slice(0, 200)).join("\n") || "something";
	})()`)
	require.Empty(tb, wide, state)
}

// shot makes a picture of the whole page, where pictures are wanted.
func (tb *tab) shot(name string) {
	tb.Helper()
	folder := os.Getenv(shotsEnv)
	if folder == "" {
		return
	}
	picture, err := chromedp.Run(tb.ctx, chromedp.FullScreenshot(100))
	require.NoError(tb, err)
	require.NoError(tb, os.MkdirAll(folder, 0o755))
	require.NoError(tb, os.WriteFile(filepath.Join(folder, name+".png"), picture, 0o644))
}

// state checks a state of a page: it can be read by everybody, fits, and has its picture taken.
func (tb *tab) state(name string) {
	tb.Helper()
	if !tb.bare { // the checker is a script
		tb.accessible(name)
	}
	tb.fits(name)
	tb.shot(name)
}
