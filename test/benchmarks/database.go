package main

import (
	"context"
	"crypto/rand"
	"errors"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"gorm.io/driver/postgres"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"

	"github.com/hourbell/hourbell/store"
)

// database is one peer's, for one round. What is opened through it is closed with it.
type database struct {
	dsn     string
	close   []func()
	outside *pgx.Conn // for what is not measured
}

// onDatabase makes a measurement of one that needs an empty database.
func onDatabase(measure func(ctx context.Context, db *database) ([]float64, error)) func(context.Context, *server) ([]float64, error) {
	return func(ctx context.Context, s *server) (figures []float64, err error) {
		name := "hourbell_bench_" + strings.ToLower(rand.Text()[:12])
		if _, err := s.admin.Exec(ctx, "CREATE DATABASE "+name); err != nil {
			return nil, err
		}
		u := *s.url
		u.Path = "/" + name
		db := &database{dsn: u.String()}
		defer func() {
			for _, c := range db.close {
				c()
			}
			ctx, cancel := context.WithTimeout(context.Background(), goodbye)
			defer cancel()
			_, dropped := s.admin.Exec(ctx, "DROP DATABASE "+name+" WITH (FORCE)")
			err = errors.Join(err, dropped)
		}()
		return measure(ctx, db)
	}
}

// pool opens a pgx pool: what hand-written peers use. It speaks the binary protocol and prepares each statement once.
func (db *database) pool(ctx context.Context, connections int) (*pgxpool.Pool, error) {
	cfg, err := pgxpool.ParseConfig(db.dsn)
	if err != nil {
		return nil, err
	}
	cfg.MaxConns = int32(connections)
	pool, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		return nil, err
	}
	db.close = append(db.close, pool.Close)
	return pool, nil
}

// gorm opens a pool as a host would. tracer may be nil; it sees every statement below gorm and database/sql.
func (db *database) gorm(tracer pgx.QueryTracer) (*gorm.DB, error) {
	cfg, err := pgx.ParseConfig(db.dsn)
	if err != nil {
		return nil, err
	}
	cfg.Tracer = tracer
	pool := stdlib.OpenDB(*cfg)
	pool.SetMaxIdleConns(4) // a replica uses few, and should not connect anew for each
	db.close = append(db.close, func() { _ = pool.Close() })
	return gorm.Open(postgres.New(postgres.Config{Conn: pool}), &gorm.Config{Logger: logger.Discard})
}

// migrated opens a pool on hourbell's tables.
func (db *database) migrated(ctx context.Context, tracer pgx.QueryTracer) (*gorm.DB, error) {
	handle, err := db.gorm(tracer)
	if err != nil {
		return nil, err
	}
	return handle, store.Migrate(ctx, handle)
}

// settle is done by all after their set-up, so that nobody starts with better statistics or fresher pages.
func (db *database) settle(ctx context.Context) error {
	return db.exec(ctx, "VACUUM (ANALYZE)")
}

// exec runs statements outside of what is measured.
func (db *database) exec(ctx context.Context, statement string, args ...any) error {
	conn, err := db.conn(ctx)
	if err != nil {
		return err
	}
	_, err = conn.Exec(ctx, statement, args...)
	return err
}

// read reads one row outside of what is measured.
func (db *database) read(ctx context.Context, into []any, query string, args ...any) error {
	conn, err := db.conn(ctx)
	if err != nil {
		return err
	}
	return conn.QueryRow(ctx, query, args...).Scan(into...)
}

// conn is one connection, which stays: a peer that is being measured should not have to share the machine with the
// server's starting of new ones.
func (db *database) conn(ctx context.Context) (*pgx.Conn, error) {
	if db.outside == nil || db.outside.IsClosed() { // which it is after a call that was broken off
		conn, err := pgx.Connect(ctx, db.dsn)
		if err != nil {
			return nil, err
		}
		db.outside = conn
		db.close = append(db.close, func() { _ = conn.Close(context.WithoutCancel(ctx)) })
	}
	return db.outside, nil
}
