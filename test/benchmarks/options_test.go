package main

import (
	"flag"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/hourbell/hourbell/internal/dbtest"
)

func TestParseRejectsInvalidOptions(t *testing.T) {
	t.Setenv(dbtest.URLEnv, "postgres://localhost/")
	for args, want := range map[string]string{
		"-workloads=fire,nap":   `unknown workload "nap"; the workloads are fire, `,
		"-workloads=fire,":      `unknown workload ""`,
		"-rounds=0":             "-rounds=0 is less than 1",
		"-rounds=three":         `invalid value "three" for flag -rounds`,
		"-pace=2s":              "-pace=2s is not in 0s-1s",
		"-idle=1ms":             "-idle=1ms is shorter than 1s",
		"-round=3":              "flag provided but not defined: -round",
		"-peers=(":              "-peers: error parsing regexp: missing closing )",
		"fire":                  `unexpected argument "fire"`,
		"-stored=9 -retained=0": "-stored=9 is less than 10\n-retained=0 is less than 1",
	} {
		_, err := parse(strings.Fields(args), &strings.Builder{})
		require.ErrorContains(t, err, want, args)
	}
	_, err := parse([]string{"-help"}, &strings.Builder{})
	require.ErrorIs(t, err, flag.ErrHelp)
	t.Setenv(dbtest.URLEnv, "")
	_, err = parse(nil, &strings.Builder{})
	require.ErrorContains(t, err, "'make compare' starts a server")
}

func TestParseSelectsAllWorkloadsByDefault(t *testing.T) {
	t.Setenv(dbtest.URLEnv, "postgres://localhost/")
	opts, err := parse([]string{"-workloads="}, &strings.Builder{})
	require.NoError(t, err)
	require.Len(t, selected(opts), len(workloads()))
	opts, err = parse([]string{"-workloads=lateness,fire"}, &strings.Builder{})
	require.NoError(t, err)
	require.Len(t, selected(opts), 2)
}
