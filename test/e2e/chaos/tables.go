package main

import (
	"context"
	"fmt"

	"gorm.io/gorm"

	"github.com/hourbell/hourbell/store"
)

// chaosTables create the tables that the run adds to hourbell's.
//
// chaos_enable_changes records when a schedule was enabled or disabled,
// independently of hourbell's events. Its triggers use updated_at, because that
// is the time by which the change itself decided what was due.
var chaosTables = []string{
	`CREATE TABLE chaos_enable_changes (
		seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, namespace text NOT NULL, id text NOT NULL,
		enabled boolean NOT NULL, at timestamptz NOT NULL)`,
	`CREATE FUNCTION chaos_record_enabled() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
		INSERT INTO chaos_enable_changes (namespace, id, enabled, at) VALUES (NEW.namespace, NEW.id, NEW.enabled, NEW.updated_at);
		RETURN NULL;
	END $$`,
	`CREATE TRIGGER chaos_added AFTER INSERT ON hourbell_schedules FOR EACH ROW EXECUTE FUNCTION chaos_record_enabled()`,
	`CREATE TRIGGER chaos_changed AFTER UPDATE ON hourbell_schedules FOR EACH ROW
		WHEN (OLD.enabled IS DISTINCT FROM NEW.enabled) EXECUTE FUNCTION chaos_record_enabled()`,
	// One row for each execution of a run by an executor.
	`CREATE TABLE chaos_executed (run_id bigint NOT NULL, attempt integer NOT NULL, worker text NOT NULL, at timestamptz NOT NULL DEFAULT clock_timestamp())`,
	`CREATE INDEX chaos_executed_run ON chaos_executed (run_id)`,
	// The queue of the engine. It has no unique index, so that the checker can
	// see a run that the Enqueuer inserted twice.
	`CREATE TABLE chaos_engine (seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, run_id bigint NOT NULL, key text NOT NULL, done_at timestamptz)`,
	`CREATE INDEX chaos_engine_run ON chaos_engine (run_id)`,
	`CREATE INDEX chaos_engine_open ON chaos_engine (seq) WHERE done_at IS NULL`,
}

// prepare creates hourbell's tables and those of the run.
func prepare(ctx context.Context, db *gorm.DB) error {
	if err := store.Migrate(ctx, db); err != nil {
		return err
	}
	for _, statement := range chaosTables {
		if err := db.WithContext(ctx).Exec(statement).Error; err != nil {
			return fmt.Errorf("prepare: %w", err)
		}
	}
	return nil
}
