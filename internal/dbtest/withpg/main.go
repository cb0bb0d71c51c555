// Command withpg runs a command with a temporary Postgres server and sets
// TEST_DATABASE_URL to the server's address:
//
//	go run ./internal/dbtest/withpg -- go test ./...
//
// All test processes of the command share the server. Otherwise each would
// start a server. If TEST_DATABASE_URL is already set, withpg starts no server.
//
// With -check it runs no command and prints which server it would use.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"syscall"

	"github.com/hourbell/hourbell/internal/dbtest/cluster"
)

const urlEnv = "TEST_DATABASE_URL"

func main() {
	checkOnly := flag.Bool("check", false, "print which server would be used, and fail if there is none")
	flag.Usage = func() {
		_, _ = fmt.Fprintln(flag.CommandLine.Output(), "usage: withpg [-check] -- command [argument …]")
		flag.PrintDefaults()
	}
	flag.Parse()
	if *checkOnly {
		os.Exit(exitCode(check()))
	}
	if flag.NArg() == 0 {
		flag.Usage()
		os.Exit(2)
	}
	os.Exit(exitCode(run(flag.Args())))
}

// check prints which server withpg would use.
func check() error {
	if os.Getenv(urlEnv) != "" {
		fmt.Println("Postgres: server of " + urlEnv)
		return nil
	}
	dir, err := cluster.Binaries()
	if err == nil {
		fmt.Println("Postgres: " + dir)
	}
	return err
}

// run runs the command, with a server if TEST_DATABASE_URL is not set.
func run(command []string) error {
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)

	if os.Getenv(urlEnv) == "" {
		server, err := cluster.Start(context.Background())
		if err != nil {
			return err
		}
		defer func() {
			if err := server.Stop(); err != nil {
				fmt.Fprintln(os.Stderr, "withpg: stop server:", err)
			}
		}()
		if err := os.Setenv(urlEnv, server.URL); err != nil {
			return err
		}
	}

	child := exec.Command(command[0], command[1:]...)
	child.Stdin, child.Stdout, child.Stderr = os.Stdin, os.Stdout, os.Stderr
	if err := child.Start(); err != nil {
		return err
	}
	go func() {
		// The terminal sends Ctrl-C to the child too. A second one is harmless.
		for s := range signals {
			_ = child.Process.Signal(s)
		}
	}()
	return child.Wait()
}

// exitCode returns the exit code of the command, or 128 plus the number of the
// signal that ended it, as shells do. It prints other errors and returns 1.
func exitCode(err error) int {
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0
	case !errors.As(err, &exit):
		fmt.Fprintln(os.Stderr, "withpg:", err)
		return 1
	case exit.ExitCode() >= 0:
		return exit.ExitCode()
	}
	if status, ok := exit.Sys().(syscall.WaitStatus); ok {
		return 128 + int(status.Signal())
	}
	return 1
}
