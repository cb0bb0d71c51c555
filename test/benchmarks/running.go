package main

import (
	"context"

	"github.com/hourbell/hourbell"
)

// startHourbell runs replicas, each with a pool of its own, until stop is called.
func startHourbell(ctx context.Context, db *database, replicas int, cfg hourbell.Config) (stop func() error, err error) {
	list := make([]*hourbell.Scheduler, replicas)
	for i := range list {
		if list[i], err = replica(ctx, db, cfg, nil); err != nil {
			return nil, err
		}
	}
	return runAll(ctx, list), nil
}

// runAll runs schedulers until stop is called, which returns what went wrong meanwhile.
func runAll(ctx context.Context, list []*hourbell.Scheduler) (stop func() error) {
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- together(len(list), func(i int) error { return list[i].Run(ctx) }) }()
	return func() error {
		cancel()
		return <-ended
	}
}
