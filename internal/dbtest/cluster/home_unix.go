//go:build unix

package cluster

import (
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
)

// home makes the directory the server lives in, and says as whom it runs.
//
// Postgres refuses to run as root, so there it runs as the user its package
// has made, or as nobody.
func home() (string, *syscall.SysProcAttr, error) {
	// A session of its own: a Ctrl-C at the terminal is for the tests. They
	// end, and then the watchdog cleans up in its own time.
	attr := &syscall.SysProcAttr{Setsid: true}
	base := os.TempDir()
	if os.Geteuid() == 0 {
		credential, err := unprivileged()
		if err != nil {
			return "", nil, err
		}
		attr.Credential = credential
		if info, err := os.Stat(base); err != nil || info.Mode().Perm()&0o007 != 0o007 {
			base = "/tmp" // root's own TMPDIR is closed to other users
		}
	}
	dir, err := os.MkdirTemp(base, "hourbell-pg-")
	return dir, attr, err
}

// own hands a directory and files in it to the user the server runs as.
func own(attr *syscall.SysProcAttr, dir string, files ...string) error {
	if attr.Credential == nil {
		return nil
	}
	uid, gid := int(attr.Credential.Uid), int(attr.Credential.Gid)
	for _, file := range files {
		if err := os.Chown(filepath.Join(dir, file), uid, gid); err != nil {
			return err
		}
	}
	return os.Chown(dir, uid, gid)
}

func unprivileged() (*syscall.Credential, error) {
	for _, name := range []string{"postgres", "nobody"} {
		account, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err := strconv.ParseUint(account.Uid, 10, 32)
		if err != nil {
			return nil, err
		}
		gid, err := strconv.ParseUint(account.Gid, 10, 32)
		if err != nil {
			return nil, err
		}
		return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
	}
	return nil, fmt.Errorf("%w that root may start: there is neither a user postgres nor a user nobody", ErrNoServer)
}
