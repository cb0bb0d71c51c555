package archtest

import (
	"encoding/json"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// modFile is a go.mod, as `go mod edit -json` prints it.
type modFile struct {
	Go, Toolchain    string
	Replace, Exclude []any
	Require          []struct {
		Path, Version string
		Indirect      bool
	}
}

// readModFile reads a go.mod, named relative to the root.
func readModFile(t *testing.T, name string) (mod modFile) {
	t.Helper()
	out, err := exec.Command("go", "mod", "edit", "-json", filepath.Join(root, name)).Output()
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(out, &mod))
	require.NotEmpty(t, mod.Require)
	return mod
}

// versions returns the required version of each module.
func (m modFile) versions() map[string]string {
	versions := map[string]string{}
	for _, r := range m.Require {
		versions[r.Path] = r.Version
	}
	return versions
}

func TestCoreModuleRequirementsAreListed(t *testing.T) {
	mod := readModFile(t, "go.mod")
	direct := []string{}
	for _, r := range mod.Require {
		if !r.Indirect {
			direct = append(direct, r.Path)
		}
	}
	require.ElementsMatch(t, slices.Collect(maps.Keys(requirements)), direct, "direct requirements in go.mod")
	require.Equal(t, goVersion, mod.Go, "hosts must not need a newer Go")
	require.Empty(t, mod.Toolchain)
	require.Empty(t, mod.Replace, "hosts ignore replace directives")
	require.Empty(t, mod.Exclude, "hosts ignore exclude directives")
}

// The core module requires the oldest versions that work. So importing it does
// not upgrade the modules of a host.
func TestImportUpgradesNothingInHost(t *testing.T) {
	for path, version := range readModFile(t, "go.mod").versions() {
		if path == "github.com/adhocore/gronx" {
			continue // older versions compute wrong slots
		}
		host, known := hostVersions[path]
		require.True(t, known, "%s is not in hostVersions", path)
		require.False(t, isNewer(version, host), "go.mod requires %s %s, and a host has %s", path, version, host)
	}
}

// test/oldest.mod selects the versions in go.mod and old versions of SQLite.
// test/go.mod selects newer ones.
func TestOldestModMatchesCoreModule(t *testing.T) {
	oldest := readModFile(t, "test/oldest.mod").versions()
	for path, version := range readModFile(t, "go.mod").versions() {
		require.Equal(t, version, oldest[path], "version of %s in test/oldest.mod", path)
	}
	newest := readModFile(t, "test/go.mod").versions()
	for _, path := range []string{"gorm.io/gorm", "gorm.io/driver/postgres", "github.com/jackc/pgx/v5", "modernc.org/sqlite"} {
		require.True(t, isNewer(newest[path], oldest[path]), path)
	}
}

func TestWorkspaceAndMakefileListModules(t *testing.T) {
	out, err := exec.Command("go", "work", "edit", "-json", filepath.Join(root, "go.work")).Output()
	require.NoError(t, err)
	var work struct {
		Go      string
		Use     []struct{ DiskPath string }
		Replace []any
	}
	require.NoError(t, json.Unmarshal(out, &work))
	require.Equal(t, goVersion, work.Go)
	require.Empty(t, work.Replace)
	var folders []string
	for _, use := range work.Use {
		folders = append(folders, use.DiskPath)
	}
	require.Equal(t, []string{".", "./examples", "./test"}, folders)

	makefile, err := os.ReadFile(filepath.Join(root, "Makefile"))
	require.NoError(t, err)
	_, line, _ := strings.Cut(string(makefile), "\nMODULES := ")
	line, _, _ = strings.Cut(line, "\n")
	inMakefile := strings.Fields(line)
	modules := []string{}
	for _, f := range sources(t) {
		if path.Base(f.name) == "go.mod" {
			modules = append(modules, strings.TrimSuffix("./"+f.folder, "/."))
		}
	}
	require.ElementsMatch(t, modules, inMakefile)
	require.Subset(t, inMakefile, folders)
}

// isNewer reports whether version a is newer than b. It compares releases, and
// pseudo-versions by their times.
func isNewer(a, b string) bool {
	x, y := versionNumbers(a), versionNumbers(b)
	for i := range min(len(x), len(y)) {
		if x[i] != y[i] {
			return x[i] > y[i]
		}
	}
	return len(x) > len(y)
}

// versionNumbers returns the numbers of a version, with the time of a
// pseudo-version but without its commit.
func versionNumbers(version string) (numbers []int) {
	for part := range strings.FieldsFuncSeq(version, func(r rune) bool { return strings.ContainsRune("v.-", r) }) {
		if n, err := strconv.Atoi(part); err == nil && len(numbers) < 4 {
			numbers = append(numbers, n)
		}
	}
	return numbers
}

func TestIsNewer(t *testing.T) {
	require.True(t, isNewer("v1.10.0", "v1.9.9"))
	require.True(t, isNewer("v0.0.0-20240606120523-5a60cdf6a761", "v0.0.0-20221227161230-091c0ba34f0a"))
	require.False(t, isNewer("v1.9.0", "v1.9.0"))
	require.False(t, isNewer("v1.9.0", "v2.0.0"))
}
