package archtest

import (
	"encoding/json"
	"os/exec"
	"testing"

	"github.com/stretchr/testify/require"
)

// allowed are the core's direct requirements. A host takes on each of them,
// so another one is a decision, made here, and not a side effect.
var allowed = []string{
	"github.com/adhocore/gronx",
	"gorm.io/gorm",
	"gorm.io/driver/postgres",       // tests and the demo
	"github.com/glebarez/sqlite",    // tests and the demo: gorm on SQLite without cgo
	"github.com/glebarez/go-sqlite", // the driver beneath, newer than the one sqlite asks for
	"modernc.org/sqlite",            // SQLite itself, for the same reason
	"github.com/stretchr/testify",   // tests
}

func TestTheCoreRequiresNoMoreThanItSays(t *testing.T) {
	cmd := exec.Command("go", "mod", "edit", "-json")
	cmd.Dir = root
	out, err := cmd.Output()
	require.NoError(t, err)
	var mod struct {
		Go, Toolchain    string
		Replace, Exclude []any
		Require          []struct {
			Path     string
			Indirect bool
		}
	}
	require.NoError(t, json.Unmarshal(out, &mod))
	for _, r := range mod.Require {
		if !r.Indirect {
			require.Contains(t, allowed, r.Path, "go.mod requires it directly")
		}
	}
	require.Equal(t, "1.25.0", mod.Go, "a higher floor is forced on every host")
	require.Empty(t, mod.Toolchain)
	require.Empty(t, mod.Replace, "hosts do not see replace lines")
	require.Empty(t, mod.Exclude, "hosts do not see exclude lines")
}
