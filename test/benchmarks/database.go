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

// database is the database of one peer in one round. Everything opened through
// it is closed with it.
type database struct {
	dsn     string
	closers []func()
	control *pgx.Conn // for statements that are not measured; nil until used
}

// withDatabase returns a measureFunc that calls measure with an empty database.
func withDatabase(measure func(ctx context.Context, db *database) ([]float64, error)) measureFunc {
	return func(ctx context.Context, s *server) (figures []float64, err error) {
		name := "hourbell_bench_" + strings.ToLower(rand.Text()[:12])
		if _, err := s.admin.Exec(ctx, "CREATE DATABASE "+name); err != nil {
			return nil, err
		}
		u := *s.url
		u.Path = "/" + name
		db := &database{dsn: u.String()}
		defer func() {
			for _, c := range db.closers {
				c()
			}
			ctx, cancel := context.WithTimeout(context.Background(), cleanupTimeout)
			defer cancel()
			_, dropErr := s.admin.Exec(ctx, "DROP DATABASE "+name+" WITH (FORCE)")
			err = errors.Join(err, dropErr)
		}()
		return measure(ctx, db)
	}
}

// pool opens a pgx pool for hand-written peers. pgx uses the binary protocol
// and prepares each statement once.
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
	db.closers = append(db.closers, pool.Close)
	return pool, nil
}

// gorm opens a pool as a host would. The tracer may be nil. It sees every
// statement, below gorm and database/sql.
func (db *database) gorm(tracer pgx.QueryTracer) (*gorm.DB, error) {
	cfg, err := pgx.ParseConfig(db.dsn)
	if err != nil {
		return nil, err
	}
	cfg.Tracer = tracer
	pool := stdlib.OpenDB(*cfg)
	pool.SetMaxIdleConns(4) // more than a replica uses, so it does not reconnect
	db.closers = append(db.closers, func() { _ = pool.Close() })
	return gorm.Open(postgres.New(postgres.Config{Conn: pool}), &gorm.Config{Logger: logger.Discard})
}

// migrated opens a pool and creates hourbell's tables.
func (db *database) migrated(ctx context.Context, tracer pgx.QueryTracer) (*gorm.DB, error) {
	handle, err := db.gorm(tracer)
	if err != nil {
		return nil, err
	}
	return handle, store.Migrate(ctx, handle)
}

// vacuum updates statistics and cleans pages. Every peer calls it after its
// setup, so that all start alike.
func (db *database) vacuum(ctx context.Context) error {
	return db.exec(ctx, "VACUUM (ANALYZE)")
}

// exec executes statements that are not measured.
func (db *database) exec(ctx context.Context, statement string, args ...any) error {
	conn, err := db.controlConn(ctx)
	if err != nil {
		return err
	}
	_, err = conn.Exec(ctx, statement, args...)
	return err
}

// read reads one row with a query that is not measured.
func (db *database) read(ctx context.Context, into []any, query string, args ...any) error {
	conn, err := db.controlConn(ctx)
	if err != nil {
		return err
	}
	return conn.QueryRow(ctx, query, args...).Scan(into...)
}

// controlConn returns the connection for statements that are not measured. It
// stays open, so that the server starts no process during a measurement.
func (db *database) controlConn(ctx context.Context) (*pgx.Conn, error) {
	if db.control == nil || db.control.IsClosed() { // a canceled call closes it
		conn, err := pgx.Connect(ctx, db.dsn)
		if err != nil {
			return nil, err
		}
		db.control = conn
		db.closers = append(db.closers, func() { _ = conn.Close(context.WithoutCancel(ctx)) })
	}
	return db.control, nil
}
