package main

import (
	"context"
	"fmt"

	"gorm.io/gorm"

	"github.com/hourbell/hourbell/store"
)

// ownTables are what the run keeps beside hourbell's tables. The trigger is a witness that hourbell knows nothing of:
// it writes down when a schedule was enabled or disabled, by the instant that the change itself was judged by.
var ownTables = []string{
	`CREATE TABLE chaos_switchings (
		seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, namespace text NOT NULL, id text NOT NULL,
		enabled boolean NOT NULL, at timestamptz NOT NULL)`,
	`CREATE FUNCTION chaos_witness() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
		INSERT INTO chaos_switchings (namespace, id, enabled, at) VALUES (NEW.namespace, NEW.id, NEW.enabled, NEW.updated_at);
		RETURN NULL;
	END $$`,
	`CREATE TRIGGER chaos_added AFTER INSERT ON hourbell_schedules FOR EACH ROW EXECUTE FUNCTION chaos_witness()`,
	`CREATE TRIGGER chaos_switched AFTER UPDATE ON hourbell_schedules FOR EACH ROW
		WHEN (OLD.enabled IS DISTINCT FROM NEW.enabled) EXECUTE FUNCTION chaos_witness()`,
	// What executors did: each run, each time it was executed.
	`CREATE TABLE chaos_executed (run_id bigint NOT NULL, attempt integer NOT NULL, worker text NOT NULL, at timestamptz NOT NULL DEFAULT clock_timestamp())`,
	`CREATE INDEX chaos_executed_run ON chaos_executed (run_id)`,
	// The queue of the engine that the Enqueuer hands runs to. It has no unique index: a run that came twice is to show.
	`CREATE TABLE chaos_engine (seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, run_id bigint NOT NULL, key text NOT NULL, done_at timestamptz)`,
	`CREATE INDEX chaos_engine_run ON chaos_engine (run_id)`,
	`CREATE INDEX chaos_engine_open ON chaos_engine (seq) WHERE done_at IS NULL`,
}

// prepare makes all tables.
func prepare(ctx context.Context, db *gorm.DB) error {
	if err := store.Migrate(ctx, db); err != nil {
		return err
	}
	for _, statement := range ownTables {
		if err := db.WithContext(ctx).Exec(statement).Error; err != nil {
			return fmt.Errorf("prepare: %w", err)
		}
	}
	return nil
}
