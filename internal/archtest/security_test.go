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

func readSecurity(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, ".github", "SECURITY.md"))
	require.NoError(t, err)
	return string(text)
}

func TestHostCompilesListedModules(t *testing.T) {
	list := exec.Command("go", "list", "-deps", "-f", "{{with .Module}}{{.Path}}{{end}}", ".", "./cron", "./store", "./admin")
	list.Dir = root
	out, err := list.Output()
	require.NoError(t, err)
	found := map[string]bool{}
	for path := range strings.FieldsSeq(string(out)) {
		found[path] = true
	}
	delete(found, module)
	paths := []string{}
	for path := range found {
		paths = append(paths, path)
	}
	require.ElementsMatch(t, compiledModules, paths)
	compiledTable, _, _ := strings.Cut(readSecurity(t), "`go.mod` requires more")
	for _, path := range compiledModules {
		require.Contains(t, compiledTable, "`"+path+"`")
	}
}

// Each requirement, direct or indirect, is reviewed in SECURITY.md.
func TestSecurityListsEveryRequirement(t *testing.T) {
	text := readSecurity(t)
	for path := range readModFile(t, "go.mod").versions() {
		require.Contains(t, text, "`"+path+"`", "go.mod requires it")
	}
}

func TestAdminPageLoadsNoOtherHost(t *testing.T) {
	otherHost := regexp.MustCompile(`(?i)(https?:)?//[a-z0-9-]+\.[a-z]`)
	files := 0
	for _, f := range sources(t) {
		if f.folder == "admin/static" || f.folder == "admin/templates" {
			files++
			text := strings.ReplaceAll(f.text, `xmlns="http://www.w3.org/2000/svg"`, "") // a name that no browser loads
			require.Empty(t, otherHost.FindString(text), f.name)
		}
	}
	require.Greater(t, files, 5)
}
