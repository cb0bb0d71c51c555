// Command withpg runs a command with a Postgres server that is thrown away
// afterwards, and with TEST_DATABASE_URL naming it:
//
//	go run ./internal/dbtest/withpg -- go test ./...
//
// `go test` runs a process for each package, and each would start a server of
// its own. Where TEST_DATABASE_URL is set, the command is run with that.
//
// With -check it runs nothing and says which server would be used.
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
	check := flag.Bool("check", false, "only say which server would be used; fail if there is none")
	flag.Usage = func() {
		_, _ = fmt.Fprintln(flag.CommandLine.Output(), "usage: withpg [-check] -- command [argument …]")
		flag.PrintDefaults()
	}
	flag.Parse()
	if *check {
		os.Exit(report(say()))
	}
	if flag.NArg() == 0 {
		flag.Usage()
		os.Exit(2)
	}
	os.Exit(report(run(flag.Args())))
}

func say() error {
	if os.Getenv(urlEnv) != "" {
		fmt.Println("Postgres: the server of " + urlEnv)
		return nil
	}
	dir, err := cluster.Binaries()
	if err == nil {
		fmt.Println("Postgres: " + dir)
	}
	return err
}

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
				fmt.Fprintln(os.Stderr, "withpg: stop the server:", err)
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
		// The child has a Ctrl-C from the terminal already; twice is no harm.
		for s := range signals {
			_ = child.Process.Signal(s)
		}
	}()
	return child.Wait()
}

// report turns an error into an exit code: the command's own where it had
// one, 128 and the signal's number where it was ended by one, as shells do.
func report(err error) int {
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
