package contract_test

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"gorm.io/driver/postgres"
	"gorm.io/gorm"

	"github.com/hourbell/hourbell"
	"github.com/hourbell/hourbell/store"
)

// zoneEnv makes this test binary print what zoneReport returns. A process reads
// its time zone only once, so each case is a process.
const zoneEnv = "HOURBELL_TEST_ZONE"

func init() {
	if os.Getenv(zoneEnv) != "" {
		fmt.Println(zoneReport())
		os.Exit(0)
	}
}

// zoneReport returns the result of LocalZone, and the log of New for
// definitions with and without a time zone.
func zoneReport() string {
	name, err := hourbell.LocalZone()
	log := &logBuffer{}
	utc, manual := hourly("utc"), hourbell.Definition{ID: "manual", Manual: true, Target: hourbell.AllJobs()}
	utc.TimeZone = "UTC"
	db, openErr := gorm.Open(postgres.Open("host=database.invalid"), &gorm.Config{DisableAutomaticPing: true})
	if openErr != nil {
		return openErr.Error()
	}
	_, newErr := hourbell.New(store.New(db), hourbell.Config{
		Jobs: testJobs, Definitions: []hourbell.Definition{hourly("a"), utc, manual, hourly("b")}, Logger: log.logger(),
	})
	return fmt.Sprintf("zone %q, error %v\n%v\n%s", name, err, newErr, log)
}

// reportOf runs this test binary with a value of TZ; "unset" removes it.
func reportOf(t *testing.T, tz string) string {
	t.Helper()
	executable, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.CommandContext(t.Context(), executable)
	for _, variable := range os.Environ() {
		if !strings.HasPrefix(variable, "TZ=") {
			cmd.Env = append(cmd.Env, variable)
		}
	}
	cmd.Env = append(cmd.Env, zoneEnv+"=1")
	if tz != "unset" {
		cmd.Env = append(cmd.Env, "TZ="+tz)
	}
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	return string(out)
}

// T4: LocalZone returns the name of the zone in which the process runs, or an
// error that says what to set.
func TestLocalZoneNamesZoneOfProcess(t *testing.T) {
	for tz, want := range map[string]string{
		"":                                  `zone "UTC", error <nil>`,
		"UTC":                               `zone "UTC", error <nil>`,
		"Europe/Berlin":                     `zone "Europe/Berlin", error <nil>`,
		":Europe/Berlin":                    `zone "Europe/Berlin", error <nil>`,
		"/usr/share/zoneinfo/Europe/Berlin": `zone "Europe/Berlin", error <nil>`,
		"Mars/Olympus":                      "unknown time zone Mars/Olympus: set the environment variable TZ",
		"CET-1CEST,M3.5.0,M10.5.0/3":        "unknown time zone CET-1CEST,M3.5.0,M10.5.0/3: set the environment variable TZ",
		"/nowhere/Berlin":                   "/nowhere/Berlin: no such file or directory: set the environment variable TZ",
	} {
		t.Run(tz, func(t *testing.T) {
			if _, err := os.Stat("/usr/share/zoneinfo/Europe/Berlin"); err != nil && strings.HasPrefix(tz, "/usr") {
				t.Skip("this machine has no zone files")
			}
			require.Contains(t, reportOf(t, tz), want)
		})
	}
	t.Run("unset", func(t *testing.T) {
		require.NotContains(t, reportOf(t, "unset"), `zone "Local"`)
	})
}

// T4: New warns once of definitions without a time zone if the process does not
// run in UTC.
func TestNewWarnsOfEmptyTimeZone(t *testing.T) {
	const warning = `level=WARN msg="hourbell: definitions without TimeZone use UTC" process_zone=Asia/Tokyo count=2 schedules="[a b]"`
	require.Equal(t, 1, strings.Count(reportOf(t, "Asia/Tokyo"), warning))
	for _, tz := range []string{"UTC", "", "Etc/UTC", "Africa/Abidjan"} {
		require.NotContains(t, reportOf(t, tz), "without TimeZone", tz)
	}
}
