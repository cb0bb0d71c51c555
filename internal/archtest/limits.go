// Package archtest tests the shape of the repository: which package imports
// which, what the core module requires, where SQL is, how large the API is, how
// names and comments are written, and that every rule has a test. This file
// has all limits.
//
// .golangci.yaml repeats the import rules. Change both.
package archtest

import "regexp"

const (
	// maxExportedNames limits the root package's exported types, functions,
	// methods and variables. Constants, which are mostly enumerations, are not
	// counted.
	maxExportedNames = 76

	// maxRootEntries limits the visible files and folders of the repository's
	// root, go.work and go.work.sum included.
	maxRootEntries = 39

	// maxCommentWidth limits a comment's line, including its indentation, where
	// a tab is tabWidth columns wide.
	maxCommentWidth = 80
	tabWidth        = 4

	// maxTestName limits the name of a test, fuzz test or benchmark.
	maxTestName = 50

	// goVersion is the oldest Go version that hosts may use.
	goVersion = "1.25.0"

	// maxFindings limits how many violations a test lists.
	maxFindings = 50
)

// articles may not be words of a test's name.
var articles = []string{"a", "an", "the"}

// layers lists the packages that hosts compile, and the examples, lowest layer
// first. A package imports only packages of lower layers. Tests may import
// more.
var layers = [][]string{
	{"internal/zoneinfo"},
	{"cron", "internal/storage", "internal/timing", "internal/parallel"},
	{"internal/lookahead"},
	{"internal/text"},
	{"."},
	{"store", "admin"},
	{"examples"},
}

// helpers lists the folders of the core module that only tests and contributors
// use. No package in layers imports them.
var helpers = []string{
	"internal/archtest", "internal/dbtest", "internal/leaktest", "internal/simulation", "internal/testclock",
}

// external lists what a package may import from other modules. The host brings
// the database driver, so the library imports none.
var external = map[string][]string{
	"cron":               {"github.com/adhocore/gronx"}, // allowed nowhere else
	"internal/zoneinfo":  {},
	"internal/storage":   {},
	"internal/timing":    {},
	"internal/parallel":  {},
	"internal/lookahead": {},
	"internal/text":      {},
	".":                  {"gorm.io/gorm"},
	"store":              {"gorm.io/gorm"},
	"admin":              {},
}

// deniedStandard lists packages of the standard library that a package may not
// import, and neither what is below them.
var deniedStandard = map[string][]string{
	"cron":               {"database/sql", "net/http"}, // a pure function of expression and zone
	"internal/zoneinfo":  {"database/sql", "net/http"},
	"internal/storage":   {"database/sql", "net/http"},
	"internal/timing":    {"database/sql", "net/http"},
	"internal/parallel":  {"database/sql", "net/http"},
	"internal/lookahead": {"database/sql", "net/http"},
	".":                  {"net/http"}, // package admin serves HTTP
	"store":              {"net/http"},
	"admin":              {"database/sql"}, // uses a Scheduler
}

// requirements lists the direct requirements of the core module, with the
// reason for each. A host's build list includes them all.
var requirements = map[string]string{
	"github.com/adhocore/gronx":   "reads the fields of cron expressions",
	"gorm.io/gorm":                "the host's database handle",
	"gorm.io/driver/postgres":     "tests",
	"github.com/stretchr/testify": "tests",
}

// hostVersions is the build list of a host that requires gorm 1.26.1 and
// gorm.io/driver/postgres 1.5.11. Importing hourbell upgrades no module in it.
var hostVersions = map[string]string{
	"github.com/davecgh/go-spew":     "v1.1.1",
	"github.com/jackc/pgpassfile":    "v1.0.0",
	"github.com/jackc/pgservicefile": "v0.0.0-20221227161230-091c0ba34f0a",
	"github.com/jackc/pgx/v5":        "v5.5.5",
	"github.com/jackc/puddle/v2":     "v2.2.1",
	"github.com/jinzhu/inflection":   "v1.0.0",
	"github.com/jinzhu/now":          "v1.1.5",
	"github.com/pmezard/go-difflib":  "v1.0.0",
	"github.com/stretchr/testify":    "v1.8.1",
	"golang.org/x/crypto":            "v0.17.0",
	"golang.org/x/sync":              "v0.1.0",
	"golang.org/x/text":              "v0.20.0",
	"gopkg.in/yaml.v3":               "v3.0.1",
	"gorm.io/driver/postgres":        "v1.5.11",
	"gorm.io/gorm":                   "v1.26.1",
}

// compiledModules lists the modules that a host compiles because it imports
// hourbell. SECURITY.md describes each.
var compiledModules = []string{
	"github.com/adhocore/gronx",
	"github.com/jinzhu/inflection",
	"github.com/jinzhu/now",
	"golang.org/x/text",
	"gorm.io/gorm",
}

// ruleCounts lists the number of rules per letter in docs/guarantees.md.
var ruleCounts = []struct {
	letter string
	count  int
}{{"D", 8}, {"T", 5}, {"L", 6}, {"M", 5}, {"E", 7}, {"O", 6}}

// furtherRules are rules whose number does not follow the ones before it.
var furtherRules = []string{"D10"}

// term is a word or phrase that the project's language has replaced.
type term struct {
	words   []string       // in lower case, as words of identifiers or prose
	pattern *regexp.Regexp // matches part of a text; nil without one
	instead string
}

func word(instead string, words ...string) term { return term{words: words, instead: instead} }

func pattern(instead, expression string) term {
	return term{pattern: regexp.MustCompile("(?i)" + expression), instead: instead}
}

// forbiddenTerms may appear in no identifier, comment, string, document, SQL,
// JSON, template, script or file name. Words that also have an ordinary meaning
// here are not listed.
var forbiddenTerms = []term{
	// The two ways to fire.
	word("path", "road", "roads"),
	word("connection, strip", "lane", "lanes"),
	pattern("deleted with the fleet lock", `\b(stands?|stood|standing) by\b`),

	// Locks, claims and failures.
	word("unfinished claim", "debt", "debts", "owe", "owes", "owed", "owing"),
	word("abandoned", "lapse", "lapses", "lapsed", "lapsing"),
	word("the worker that takes over", "heir", "heirs"),
	word("take over", "inherit", "inherits", "inherited", "inheriting"),
	word("hand-off", "handover", "handovers"),
	word("yield", "courtesy"),
	word("otherBuildActive", "rival", "rivals"),
	word("noneInCommon", "stranger", "strangers"),
	word("newerBuild", "outrank", "outranks", "outranked"),
	word("mismatched", "unfireable"),
	word("in progress", "underway"),
	word("leastRecentFirst", "fairly"),
	word("alreadySettled", "overtaken"),
	pattern("release", `g[ia]ven?([ -]|_)?back|giv(es|ing) back|give\w* (it|its \w+|them) back`),
	pattern("back off, retry_at", `held_?until|held back`),
	pattern("settled_through", `settled_?until`),
	pattern("version", `lock([ -]|_)?token`),
	pattern("exclude", `\bexcepted\b`),
	pattern("JobSpec", `fire_?job\b`),

	// Columns, JSON names and options.
	pattern("idempotency key", `request([ -]|_)?key`),
	word("etag", "fingerprint", "fingerprints"),
	pattern("ChangeOptions", `hourbell\.By\b`),
	pattern("*gorm.DB", `hourbell\.Tx\b`),
	pattern("ErrUnknownTarget", `ErrUnknown(Job|Group)\b`),
	pattern("Worker.Active", `\bAlive\(`),

	// Time, users and operators.
	pattern("timing.Now", `wall_?clock`),
	word("time", "instant", "instants"),
	word("decide", "judge", "judges", "judged"),
	word("lookahead.Table", "timetable", "timetables"),
	word("users, operators", "people", "person"),
	word("return, report", "told", "tells", "answers", "answered"),
	word("be active, be in", "lives"),
	word("again", "anew"),
	pattern("drop the words", `\bat all\b|\bas ever\b`),
	pattern("the caller, a worker, an operator", `\b(whoever|whomever|whosoever|somebody|nobody)\b`),
	pattern("permanently", `\bfor ever\b`),
	pattern("is idle, is stalled", `\b(com(es?|ing)|came) to rest\b|\bstands? still\b`),
	pattern("another worker holds the row; left out", `\bpass(ed|es|ing)? by\b`),
	pattern("skipped, in a gap", `\bpassed over\b`),
	pattern("in an overlap", `\bshown twice\b`),
	pattern("fixed-time", `\bset-hours?\b`),
	pattern("retention", `\bits keep\b`),
	word("survive", "outlive", "outlives", "outlived", "outliving"),

	// Helpers.
	word("heartbeat", "beat", "beats"),
	pattern("SingleWriter", `one_?by_?one\b`),
	pattern("parallel.Run", `side_?by_?side`),
	pattern("insertOptimistic", `unless_?taken`),
	word("onTime", "punctual"),
	word("injectFault, fault", "befall", "befalls", "befell", "mishap", "mishaps"),
	word("child", "victim", "victims"),
	word("choices", "tape"),
}

// allowedTerm permits a term in a file.
type allowedTerm struct{ file, match, reason string }

// allowedTerms lists the uses of forbidden terms in their ordinary meaning.
var allowedTerms = []allowedTerm{
	{"admin/static/page.css", "inherit", "a value of CSS"},
	{"internal/dbtest/cluster/dir_unix.go", "nobody", "a user of the system"},
	{"test/e2e/chaos/chaos_test.go", "nobody", "a user of the system"},
	{"test/e2e/pooler/pgbouncer_test.go", "nobody", "a user of the system"},
	{"test/contract/proxy_test.go", "held back", "bytes that a proxy delays"},
	{"test/e2e/chaos/host.go", "inherited", "a process inherits a listener"},
}
