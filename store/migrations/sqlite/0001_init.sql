CREATE TABLE IF NOT EXISTS hourbell_migrations (
    version    integer PRIMARY KEY,
    checksum   text        NOT NULL,
    applied_at integer     NOT NULL DEFAULT (CAST(unixepoch('subsec') * 1000000 AS INTEGER))
);

-- Times are microseconds since 1970 in UTC, and durations are microseconds:
-- SELECT id, datetime(next_run_at / 1000000, 'unixepoch')
-- FROM hourbell_schedules;
--
-- The columns that a sync and the loop read come first, because SQLite reads a
-- row's columns in order.
CREATE TABLE hourbell_schedules (
    namespace            text        NOT NULL,
    id                   text        NOT NULL,
    definition_hash      text        NOT NULL,
    removed_at           integer,
    enabled              integer     NOT NULL,
    next_run_at          integer,
    grace                integer     NOT NULL,
    locked_by            text,
    locked_at            integer,
    version              integer     NOT NULL DEFAULT 0,
    unfinished_since     integer,
    retry_at             integer,
    consecutive_failures integer     NOT NULL DEFAULT 0,
    settled_through      integer,
    last_run_at          integer,
    last_scheduled_for   integer,
    updated_at           integer     NOT NULL,
    created_at           integer     NOT NULL,
    name                 text        NOT NULL,
    description          text        NOT NULL DEFAULT '',
    cron                 text        NOT NULL,
    time_zone            text        NOT NULL,
    target_kind          text        NOT NULL CHECK (target_kind IN ('ALL_JOBS', 'GROUP', 'JOBS')),
    target               text        NOT NULL DEFAULT '',
    enabled_note         text        NOT NULL DEFAULT '',
    last_error           text        NOT NULL DEFAULT '',
    PRIMARY KEY (namespace, id)
);

-- For due schedules and the next slot. There is no other index, because every
-- fire would add an entry to it.
CREATE INDEX hourbell_schedules_due ON hourbell_schedules (namespace, next_run_at)
    WHERE enabled AND removed_at IS NULL;

CREATE TABLE hourbell_job_runs (
    id              integer PRIMARY KEY AUTOINCREMENT,
    namespace       text        NOT NULL,
    job             text        NOT NULL,
    job_group       text,
    trigger         text        NOT NULL CHECK (trigger IN ('CRON', 'MANUAL', 'API')),
    schedule_id     text,
    scheduled_for   integer,
    ordinal         integer     NOT NULL,
    status          text        NOT NULL CHECK (status IN ('QUEUED', 'RUNNING', 'SUCCEEDED', 'FAILED')),
    args            text,
    queued_at       integer     NOT NULL,
    started_at      integer,
    finished_at     integer,
    leased_by       text,
    leased_until    integer,
    attempt         integer     NOT NULL DEFAULT 0,
    error           text,
    actor           text,
    idempotency_key text
);

-- Keeps a fire unique. A fire is all or nothing, so an entry for its first run
-- is enough.
CREATE UNIQUE INDEX hourbell_job_runs_fire ON hourbell_job_runs (namespace, schedule_id, scheduled_for)
    WHERE trigger = 'CRON' AND ordinal = 0;
-- Keeps the runs of an idempotency key unique.
CREATE UNIQUE INDEX hourbell_job_runs_request ON hourbell_job_runs (namespace, idempotency_key, job)
    WHERE idempotency_key IS NOT NULL;
-- For the runs that a job worker can take.
CREATE INDEX hourbell_job_runs_open ON hourbell_job_runs (namespace, id)
    WHERE status IN ('QUEUED', 'RUNNING');
-- For a schedule's runs, newest first, except for the first runs of its fires,
-- which are in hourbell_job_runs_fire.
CREATE INDEX hourbell_job_runs_schedule ON hourbell_job_runs (namespace, schedule_id, id)
    WHERE trigger <> 'CRON' OR ordinal > 0;
-- For a schedule's requests and failed runs. Most runs are in neither index.
CREATE INDEX hourbell_job_runs_manual ON hourbell_job_runs (namespace, schedule_id, id)
    WHERE trigger = 'MANUAL' AND ordinal = 0;
CREATE INDEX hourbell_job_runs_failed ON hourbell_job_runs (namespace, schedule_id, scheduled_for)
    WHERE status = 'FAILED';
-- For runs that are past their retention.
CREATE INDEX hourbell_job_runs_finished ON hourbell_job_runs (namespace, finished_at)
    WHERE finished_at IS NOT NULL;

CREATE TABLE hourbell_workers (
    id               text PRIMARY KEY,
    namespace        text        NOT NULL,
    worker_type      text        NOT NULL,
    hostname         text        NOT NULL,
    pid              integer     NOT NULL,
    version          text        NOT NULL DEFAULT '',
    build_time       integer,
    definitions_hash text        NOT NULL,
    started_at       integer     NOT NULL,
    heartbeat_at     integer     NOT NULL,
    stopped_at       integer,
    last_tick_at     integer,
    clock_skew       integer     NOT NULL DEFAULT '0'
);

CREATE TABLE hourbell_events (
    id          integer PRIMARY KEY AUTOINCREMENT,
    namespace   text        NOT NULL,
    schedule_id text,
    kind        text        NOT NULL,
    reason      text,
    at          integer     NOT NULL,
    actor       text,
    note        text,
    slot_from   integer,
    slot_to     integer,
    slot_count  integer,
    detail      text
);

CREATE INDEX hourbell_events_namespace ON hourbell_events (namespace, id);
CREATE INDEX hourbell_events_schedule ON hourbell_events (namespace, schedule_id, id);
CREATE INDEX hourbell_events_skipped ON hourbell_events (namespace, schedule_id, id)
    WHERE kind = 'SKIPPED';

INSERT INTO hourbell_migrations (version, checksum) VALUES (1, '3f5745ab2e7a7a1f');
