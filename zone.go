package hourbell

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/hourbell/hourbell/cron"
	"github.com/hourbell/hourbell/internal/zoneinfo"
)

// LocalZone returns the IANA name of the process's time zone, for example for
// [Definition].TimeZone. The environment variable TZ gives the name. If it is
// not set, the name comes from the link /etc/localtime. If that is a copied
// file, it comes from /etc/timezone. If /etc/localtime does not exist, the zone
// is UTC. Windows does not state the name.
//
// LocalZone returns an error if it finds no name, or if the zone of that name
// does not have the rules of [time.Local].
func LocalZone() (string, error) {
	name, err := localZoneName()
	if err == nil {
		err = checkIsLocal(name)
	}
	if err != nil {
		return "", fmt.Errorf("hourbell: the IANA name of the process's time zone is unknown: %w: "+
			"set the environment variable TZ to the name, such as Europe/Berlin", err)
	}
	return name, nil
}

// checkIsLocal returns an error unless a zone has the rules of time.Local. The
// time package uses UTC if it cannot read the zone that TZ names.
func checkIsLocal(name string) error {
	location, err := zoneinfo.Load(name)
	switch {
	case err != nil:
		return err
	case cron.ZoneRules(location) != cron.ZoneRules(time.Local):
		return fmt.Errorf("the zone %s does not have the rules of the process's zone", name)
	}
	_, err = cron.Parse("@daily", name) // refuses names that differ between hosts, such as posixrules
	return err
}

// localZoneName returns the name of the process's zone as the system states it.
func localZoneName() (string, error) {
	tz, isSet := os.LookupEnv("TZ")
	tz = strings.TrimPrefix(tz, ":")
	switch {
	case isSet && tz == "":
		return "UTC", nil
	case isSet && filepath.IsAbs(tz):
		return zoneOfFile(tz)
	case isSet:
		return tz, nil
	case runtime.GOOS == "windows":
		return "", errors.New("the operating system does not state it")
	}
	name, err := zoneOfFile("/etc/localtime")
	if errors.Is(err, fs.ErrNotExist) {
		return "UTC", nil // as the time package does
	}
	if err != nil {
		if content, readErr := os.ReadFile("/etc/timezone"); readErr == nil {
			return strings.TrimSpace(string(content)), nil
		}
	}
	return name, err
}

// zoneOfFile returns the name of the zone whose file a path denotes or links
// to.
func zoneOfFile(path string) (string, error) {
	for range 10 { // ends at a cycle of links
		if _, name, ok := strings.Cut(filepath.ToSlash(path), "/zoneinfo/"); ok {
			return name, nil
		}
		target, err := os.Readlink(path)
		if errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
		if err != nil {
			break // not a link
		}
		if !filepath.IsAbs(target) {
			target = filepath.Join(filepath.Dir(path), target)
		}
		path = target
	}
	return "", fmt.Errorf("%s does not link to the file of a zone", path)
}

// warnOfDefaultZone logs once which definitions use UTC because they have no
// TimeZone, if the process runs in another zone.
func (s *Scheduler) warnOfDefaultZone(definitions []Definition) {
	if cron.ZoneRules(time.Local) == cron.ZoneRules(time.UTC) {
		return
	}
	var ids []string
	for _, d := range definitions {
		if d.TimeZone == "" && !d.Manual {
			ids = append(ids, d.ID)
		}
	}
	if len(ids) > 0 {
		zone, err := LocalZone()
		if err != nil {
			zone = time.Local.String()
		}
		s.log.Warn("hourbell: definitions without TimeZone use UTC", "process_zone", zone, "count", len(ids), "schedules", firstNames(ids))
	}
}
