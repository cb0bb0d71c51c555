package archtest

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// compiled are the modules of others that a backend compiles when it imports hourbell. SECURITY.md says why each is there.
var compiled = []string{
	"github.com/adhocore/gronx",
	"github.com/jinzhu/inflection",
	"github.com/jinzhu/now",
	"golang.org/x/text",
	"gorm.io/gorm",
}

// What a backend compiles of others is what SECURITY.md says, and no more.
func TestABackendCompilesNoMoreThanSECURITYSays(t *testing.T) {
	list := exec.Command("go", "list", "-deps", "-f", "{{with .Module}}{{.Path}}{{end}}", ".", "./cron", "./store", "./admin")
	list.Dir = root
	out, err := list.Output()
	require.NoError(t, err)
	found := map[string]bool{}
	for path := range strings.FieldsSeq(string(out)) {
		found[path] = true
	}
	delete(found, module)
	names := []string{}
	for path := range found {
		names = append(names, path)
	}
	require.ElementsMatch(t, compiled, names)
	first, _, _ := strings.Cut(security(t), "`go.mod` requires more")
	for _, path := range compiled {
		require.Contains(t, first, "`"+path+"`")
	}
}

// Each requirement of go.mod, direct or not, is reviewed there.
func TestSECURITYNamesEveryRequirement(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(root, "go.mod"))
	require.NoError(t, err)
	required := regexp.MustCompile(`(?m)^\t(\S+) v`).FindAllStringSubmatch(string(text), -1)
	require.NotEmpty(t, required)
	for _, match := range required {
		require.Contains(t, security(t), "`"+match[1]+"`", "go.mod requires it")
	}
}

func security(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, "SECURITY.md"))
	require.NoError(t, err)
	return string(text)
}

// The page is made of files of our own, and names no other host.
func TestThePageLoadsNothingOfOthers(t *testing.T) {
	elsewhere := regexp.MustCompile(`(?i)(https?:)?//[a-z0-9-]+\.[a-z]`)
	files := 0
	for _, folder := range []string{"static", "templates"} {
		require.NoError(t, filepath.WalkDir(filepath.Join(root, "admin", folder), func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() {
				return err
			}
			files++
			text, err := os.ReadFile(path)
			own := strings.ReplaceAll(string(text), `xmlns="http://www.w3.org/2000/svg"`, "") // a name, which nothing fetches
			require.Empty(t, elsewhere.FindString(own), path)
			return err
		}))
	}
	require.Greater(t, files, 5)
}
