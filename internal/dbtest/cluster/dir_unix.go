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

// createDir creates the directory of the server, and returns it with the
// process attributes that select the server's user. Postgres refuses to run as
// root. For root, it runs as the user of its package, or as nobody.
func createDir() (string, *syscall.SysProcAttr, error) {
	// A new session keeps Ctrl-C at the terminal from the watchdog. The tests
	// end first, and then the watchdog cleans up.
	attr := &syscall.SysProcAttr{Setsid: true}
	base := os.TempDir()
	if os.Geteuid() == 0 {
		credential, err := unprivileged()
		if err != nil {
			return "", nil, err
		}
		attr.Credential = credential
		if info, err := os.Stat(base); err != nil || info.Mode().Perm()&0o007 != 0o007 {
			base = "/tmp" // root's TMPDIR may be closed to other users
		}
	}
	dir, err := os.MkdirTemp(base, "hourbell-pg-")
	return dir, attr, err
}

// chown gives dir and files in it to the user of the server.
func chown(attr *syscall.SysProcAttr, dir string, files ...string) error {
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

// unprivileged returns the user as which root runs the server.
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
	return nil, fmt.Errorf("%w that root can start: the users postgres and nobody do not exist", ErrNoServer)
}
