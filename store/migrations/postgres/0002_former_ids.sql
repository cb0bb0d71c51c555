-- former_id is the id under which a schedule was declared before.
ALTER TABLE hourbell_schedules ADD COLUMN former_id text;

-- request_hash distinguishes a repeated request from another one with its key.
-- A request may enqueue a job more than once, so the ordinal is part of the
-- index.
ALTER TABLE hourbell_job_runs ADD COLUMN request_hash text;
DROP INDEX hourbell_job_runs_request;
CREATE UNIQUE INDEX hourbell_job_runs_request ON hourbell_job_runs (namespace, idempotency_key, job, ordinal)
    WHERE idempotency_key IS NOT NULL;

INSERT INTO hourbell_migrations (version, checksum) VALUES (2, '95f7333188ca59bc');
