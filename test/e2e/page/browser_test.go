// Package page_test tests the admin page in a browser.
package page_test

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
	_ "github.com/hourbell/hourbell/test/sqlite" // registers the SQLite driver
)

const (
	requireEnv     = "HOURBELL_REQUIRE_BROWSER" // 1: fail without a browser, instead of skipping
	screenshotsEnv = "HOURBELL_SHOTS"           // the folder for screenshots of each state
	checkerFile    = "testdata/node_modules/axe-core/axe.min.js"
)

// browser is shared by all tests. Each test has a profile of its own.
var browser struct {
	once    sync.Once
	ctx     context.Context
	err     error
	close   func()
	checker string // the accessibility checker's source
}

// TestMain closes the browser and fails if the tests leak goroutines.
func TestMain(m *testing.M) {
	leaktest.Main(m, func() {
		if browser.close != nil {
			browser.close()
		}
	})
}

// browserPath returns the path of Chromium.
func browserPath() (string, error) {
	if named := os.Getenv("CHROMIUM"); named != "" {
		return named, nil
	}
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "google-chrome-stable"} {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", errors.New("Chromium is not in PATH and CHROMIUM is not set")
}

func startBrowser() {
	var path string
	if path, browser.err = browserPath(); browser.err != nil {
		return
	}
	source, err := os.ReadFile(checkerFile)
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
		_ = chromedp.Cancel(ctx) // waits until the browser has exited
		cancel()
		stop()
	}
	browser.err = chromedp.Do(ctx)
}

// tab is a browser tab with cookies and a cache of its own.
type tab struct {
	testing.TB
	ctx  context.Context
	base string

	mu       sync.Mutex
	errors   []string // the errors that the browser reported
	expected []string // substrings of errors that the test expects
	noScript bool     // JavaScript is disabled
}

// open opens a tab on a path of the handler. The test fails if the browser
// reports an error, such as a violation of the content security policy.
func (h *host) open(t testing.TB, path string) *tab {
	t.Helper()
	tb := h.newTab(t)
	tb.visit(path)
	return tb
}

// newTab opens an empty tab.
func (h *host) newTab(t testing.TB) *tab {
	t.Helper()
	browser.once.Do(startBrowser)
	if browser.err != nil {
		if os.Getenv(requireEnv) == "1" {
			t.Fatalf("no browser: %v", browser.err)
		}
		dbtest.Announce("hourbell tests: ADMIN PAGE IN A BROWSER SKIPPED: " + browser.err.Error() + "; 'make test' installs what is missing and runs everything")
		t.Skip(browser.err)
	}
	ctx, cancel := chromedp.NewContext(browser.ctx, chromedp.WithNewBrowserContext())
	t.Cleanup(cancel)
	ctx, cancel = context.WithTimeout(ctx, 2*time.Minute)
	t.Cleanup(cancel)
	tb := &tab{TB: t, ctx: ctx, base: h.url}
	require.NoError(t, chromedp.Listen(ctx, tb.recordError))
	command(tb, browserlog.Enable, cdp.Empty{})
	tb.setSize(1280, 900)
	t.Cleanup(func() {
		tb.mu.Lock()
		defer tb.mu.Unlock()
		require.Empty(t, tb.errors, "errors in the browser")
	})
	return tb
}

// recordError records an error that the browser reports.
func (tb *tab) recordError(event any) {
	tb.mu.Lock()
	defer tb.mu.Unlock()
	var text string
	switch e := event.(type) {
	case *browserlog.EventEntryAdded:
		text = fmt.Sprintf("%s: %s %s", e.Entry.Source, e.Entry.Text, e.Entry.URL)
	case *runtime.EventExceptionThrown:
		text = "exception: " + e.ExceptionDetails.Text
		if e.ExceptionDetails.Exception != nil {
			text += e.ExceptionDetails.Exception.Description
		}
	case *runtime.EventConsoleAPICalled:
		text = fmt.Sprintf("console.%v", e.Type)
	}
	for _, part := range tb.expected {
		if strings.Contains(text, part) {
			text = ""
		}
	}
	if text != "" {
		tb.errors = append(tb.errors, text)
	}
}

// expectErrors makes the test expect errors that contain one of the substrings,
// such as the status of a refused request.
func (tb *tab) expectErrors(parts ...string) {
	tb.mu.Lock()
	defer tb.mu.Unlock()
	tb.expected = append(tb.expected, parts...)
}

// command sends a command of the browser protocol.
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

func (tb *tab) setSize(width, height int64) {
	tb.Helper()
	tb.do(chromedp.EmulateViewport(width, height))
}

// setDark selects the dark color scheme.
func (tb *tab) setDark() {
	tb.Helper()
	command(tb, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: "dark"}},
	})
}

// setZone sets the browser's time zone.
func (tb *tab) setZone(name string) {
	tb.Helper()
	command(tb, emulation.SetTimezoneOverride, emulation.SetTimezoneOverrideParams{TimezoneID: name})
}

// disableScript disables JavaScript.
func (tb *tab) disableScript() {
	tb.Helper()
	tb.noScript = true
	command(tb, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true})
}

// js evaluates an expression in the page. See format for args.
func js[T any](tb *tab, expression string, args ...any) T {
	tb.Helper()
	value, err := chromedp.Run(tb.ctx, chromedp.Evaluate[T](format(expression, args), chromedp.EvalAwaitPromise))
	require.NoError(tb, err, "%s", format(expression, args))
	return value
}

// format replaces each %s of an expression with an argument as JSON.
func format(expression string, args []any) string {
	for i, arg := range args {
		text, err := json.Marshal(arg)
		if err != nil {
			panic(err)
		}
		args[i] = string(text)
	}
	return fmt.Sprintf(expression, args...)
}

// waitFor waits until an expression is true.
func (tb *tab) waitFor(expression string, args ...any) {
	tb.Helper()
	full := format(expression, args)
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		done, err := chromedp.Run(tb.ctx, chromedp.Evaluate[bool]("Boolean("+full+")"))
		if err == nil && done {
			return
		}
		if time.Now().After(deadline) {
			tb.screenshot("failed")
			tb.Fatalf("timed out waiting for %s (%v)\n%s", full, err, tb.text("main"))
		}
	}
}

// waitForText waits until a visible element contains a text. A closed dialog
// keeps its text, but is not visible.
func (tb *tab) waitForText(selector, part string) {
	tb.Helper()
	tb.waitFor(`document.querySelector(%s)?.checkVisibility() && document.querySelector(%s).innerText.includes(%s)`, selector, selector, part)
}

// text returns the visible text of an element.
func (tb *tab) text(selector string) string {
	tb.Helper()
	return js[string](tb, `document.querySelector(%s)?.innerText ?? "(missing)"`, selector)
}

// click clicks with the mouse.
func (tb *tab) click(selector string) {
	tb.Helper()
	tb.waitFor(`document.querySelector(%s)`, selector)
	for deadline := time.Now().Add(10 * time.Second); ; {
		err := chromedp.Do(tb.ctx, chromedp.Click(chromedp.CSS(selector), chromedp.NodeVisible))
		if err == nil {
			return
		}
		if time.Now().After(deadline) { // retried before, because the page may change during a click
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

// follow clicks on a link or button that opens another page, and waits for the
// page.
func (tb *tab) follow(selector string) {
	tb.Helper()
	_, err := chromedp.RunResponse(tb.ctx, chromedp.Click(chromedp.CSS(selector), chromedp.NodeVisible))
	require.NoError(tb, err)
}

// press presses keys like a keyboard: if the page handles the key-down event,
// the browser sends no key-press event.
func (tb *tab) press(keys string) {
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

// requireAccessible fails the test if the checker finds a violation of WCAG 2.2
// AA or of its best practices.
func (tb *tab) requireAccessible(state string) {
	tb.Helper()
	tb.do(chromedp.Evaluate[chromedp.Void](browser.checker))
	found := js[string](tb, `axe.run(document, {resultTypes: ["violations"], runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]})
		.then((result) => result.violations.map((v) => v.id + ": " + v.help + "\n" + v.nodes.map((n) => "  " + n.html + "\n  " + n.failureSummary).join("\n")).join("\n"))`)
	require.Empty(tb, found, state)
}

// requireFits fails the test if an element is wider than the window.
func (tb *tab) requireFits(state string) {
	tb.Helper()
	wide := js[string](tb, `(() => {
		const width = document.documentElement.clientWidth;
		if (document.documentElement.scrollWidth <= width) return "";
		return [...document.querySelectorAll("body *")].filter((e) => e.getBoundingClientRect().right > width + 1).slice(0, 5).map((e) => e.outerHTML.slice(0, 200)).join("\n") || "something";
	})()`)
	require.Empty(tb, wide, state)
}

// screenshot takes a screenshot of the whole page if screenshotsEnv is set.
func (tb *tab) screenshot(name string) {
	tb.Helper()
	folder := os.Getenv(screenshotsEnv)
	if folder == "" {
		return
	}
	picture, err := chromedp.Run(tb.ctx, chromedp.FullScreenshot(100))
	require.NoError(tb, err)
	require.NoError(tb, os.MkdirAll(folder, 0o755))
	require.NoError(tb, os.WriteFile(filepath.Join(folder, name+".png"), picture, 0o644))
}

// checkState checks that a page is accessible and fits the window, and takes a
// screenshot.
func (tb *tab) checkState(name string) {
	tb.Helper()
	if !tb.noScript { // the checker is a script
		tb.requireAccessible(name)
	}
	tb.requireFits(name)
	tb.screenshot(name)
}
