-- Jobs that somebody has to approve, work that is known again, dynamic fields, and what the stand-in APIs keep of a job.

ALTER TABLE job ADD COLUMN requires_approval INTEGER NOT NULL DEFAULT 0;
ALTER TABLE job ADD COLUMN approved_ms       INTEGER;
ALTER TABLE job ADD COLUMN approved_by       TEXT;
ALTER TABLE job ADD COLUMN key_is_free       INTEGER NOT NULL DEFAULT 0;  -- its idempotency key may name another job
ALTER TABLE job ADD COLUMN dedupe_key        TEXT;
ALTER TABLE job ADD COLUMN dedupe_window_ms  INTEGER;
ALTER TABLE job ADD COLUMN dynamic_fields    TEXT;
ALTER TABLE job ADD COLUMN asked             BLOB;    -- JSON: what a stand-in API was asked, as it shows it again

DROP INDEX job_idempotency;
CREATE UNIQUE INDEX job_idempotency ON job (dialect, idempotency_key) WHERE idempotency_key IS NOT NULL AND NOT key_is_free;
CREATE INDEX job_dedupe ON job (dialect, dedupe_key, pk) WHERE dedupe_key IS NOT NULL;
-- Of those that wait for somebody, the ones that will not do so for ever.
CREATE INDEX job_awaiting ON job (expires_ms) WHERE status = 'awaiting_approval' AND expires_ms IS NOT NULL;

ALTER TABLE execution ADD COLUMN request_body BLOB;   -- what was sent, where that is not the job's own body

ALTER TABLE schedule ADD COLUMN requires_approval INTEGER NOT NULL DEFAULT 0;
ALTER TABLE schedule ADD COLUMN dynamic_fields    TEXT;
ALTER TABLE schedule ADD COLUMN asked             BLOB;
ALTER TABLE schedule ADD COLUMN state             BLOB;    -- JSON object: what its runs remember
ALTER TABLE schedule ADD COLUMN previous          BLOB;    -- JSON object: what came of its last run

ALTER TABLE outbox ADD COLUMN signed_for TEXT;         -- the token whose text signs it, of DispatchQ's callbacks
