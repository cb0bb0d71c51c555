package archtest

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The first table of SECURITY.md lists the modules that a backend compiles.
func TestSecurityListsCompiledModules(t *testing.T) {
	list := exec.Command("go", "list", "-deps", "-f", "{{with .Module}}{{.Path}}{{end}}", ".", "./cron", "./store", "./admin")
	list.Dir = root
	out, err := list.Output()
	require.NoError(t, err)
	found := map[string]bool{}
	for path := range strings.FieldsSeq(string(out)) {
		found[path] = true
	}
	delete(found, module)
	compiled := []string{}
	for path := range found {
		compiled = append(compiled, path)
	}
	require.ElementsMatch(t, compiledModules, compiled)
	table, _, both := strings.Cut(securityText(t), "`go.mod` requires more modules")
	require.True(t, both, "SECURITY.md has a second table")
	for _, path := range compiledModules {
		require.True(t, strings.Contains(table, "`"+path+"`"), "the first table lacks %s", path)
	}
}

// SECURITY.md lists direct and indirect requirements.
func TestSecurityListsEveryRequirement(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(root, "go.mod"))
	require.NoError(t, err)
	required := regexp.MustCompile(`(?m)^\t(\S+) v`).FindAllStringSubmatch(string(text), -1)
	require.NotEmpty(t, required)
	for _, match := range required {
		require.True(t, strings.Contains(securityText(t), "`"+match[1]+"`"), "SECURITY.md lacks %s", match[1])
	}
}

// securityText returns the text of SECURITY.md.
func securityText(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, ".github", "SECURITY.md"))
	require.NoError(t, err)
	return string(text)
}

// The admin page consists of embedded files and names no other host.
func TestPageLoadsOnlyOwnFiles(t *testing.T) {
	otherHost := regexp.MustCompile(`(?i)(https?:)?//[a-z0-9-]+\.[a-z]`)
	files := 0
	for _, f := range sources(t) {
		if !isBelow(f.name, "admin/static") && !isBelow(f.name, "admin/templates") {
			continue
		}
		files++
		text := strings.ReplaceAll(f.text, `xmlns="http://www.w3.org/2000/svg"`, "") // a name, not a link
		require.Empty(t, otherHost.FindString(text), f.name)
	}
	require.Greater(t, files, 5)
}
