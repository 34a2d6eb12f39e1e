-- Schedules, the due times they missed, and what the configuration file has declared.

CREATE TABLE schedule (
    pk               INTEGER PRIMARY KEY AUTOINCREMENT,
    id               TEXT    NOT NULL UNIQUE,
    version          INTEGER NOT NULL,      -- grows with each change of what was decided
    name             TEXT    NOT NULL,
    source           TEXT    NOT NULL,      -- who may change it: api or config
    dialect          TEXT    NOT NULL,
    token_id         TEXT,

    cron             TEXT,
    every_ms         INTEGER,
    anchor_ms        INTEGER,               -- the first slot of an interval
    timezone         TEXT    NOT NULL,
    dst_gap          TEXT    NOT NULL,
    dst_overlap      TEXT    NOT NULL,
    starts_ms        INTEGER,
    ends_ms          INTEGER,
    max_runs         INTEGER,
    jitter_ms        INTEGER NOT NULL,
    misfire          TEXT    NOT NULL,
    misfire_grace_ms INTEGER NOT NULL,
    overlap          TEXT    NOT NULL,

    url              TEXT    NOT NULL,
    host             TEXT    NOT NULL,
    http_method      TEXT    NOT NULL,
    headers          TEXT,                  -- JSON, as are query, backoff, success_statuses, tags; null is the default
    query            TEXT,
    body             BLOB,
    body_is_json     INTEGER NOT NULL,
    has_references   INTEGER NOT NULL,
    timeout_ms       INTEGER NOT NULL,
    max_retries      INTEGER NOT NULL,
    backoff          TEXT,
    success_statuses TEXT,
    on_interrupt     TEXT    NOT NULL,
    queue            TEXT    NOT NULL,
    description      TEXT,
    tags             TEXT,

    created_ms       INTEGER NOT NULL,
    updated_ms       INTEGER NOT NULL,
    deleted_ms       INTEGER,               -- kept as long as what became of it is
    paused_ms        INTEGER,
    cursor_ms        INTEGER NOT NULL,      -- every slot up to here has a job or is in missed
    next_run_ms      INTEGER,
    run_count        INTEGER NOT NULL,
    error            TEXT,

    last_job_pk      INTEGER,
    last_run_ms      INTEGER,
    last_status      TEXT,

    CHECK ((cron IS NULL) <> (every_ms IS NULL)),
    CHECK ((every_ms IS NULL) = (anchor_ms IS NULL)),
    CHECK (next_run_ms IS NULL OR (deleted_ms IS NULL AND paused_ms IS NULL AND error IS NULL))
) STRICT;

CREATE UNIQUE INDEX schedule_name ON schedule (name) WHERE deleted_ms IS NULL;
CREATE INDEX schedule_next ON schedule (next_run_ms, pk) WHERE next_run_ms IS NOT NULL;

-- Due times in a row that were not run.
CREATE TABLE missed (
    pk          INTEGER PRIMARY KEY AUTOINCREMENT,
    schedule_pk INTEGER NOT NULL REFERENCES schedule (pk) ON DELETE CASCADE,
    first_ms    INTEGER NOT NULL,
    last_ms     INTEGER NOT NULL,
    count       INTEGER NOT NULL,
    reason      TEXT    NOT NULL,
    noted_ms    INTEGER NOT NULL,
    CHECK (first_ms <= last_ms AND count >= 1),
    CHECK (reason IN ('paused', 'overlap', 'misfire', 'expired'))
) STRICT;

CREATE INDEX missed_schedule ON missed (schedule_pk, pk);
CREATE INDEX missed_noted ON missed (noted_ms);

-- The one-time jobs that the file has declared, each once and for ever.
CREATE TABLE declared_job (
    name         TEXT    NOT NULL PRIMARY KEY,
    job_id       TEXT,                      -- null: its time was past when it was first seen
    scheduled_ms INTEGER NOT NULL,
    seen_ms      INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

ALTER TABLE job ADD COLUMN source         TEXT    NOT NULL DEFAULT 'api';
ALTER TABLE job ADD COLUMN schedule_id    TEXT;
ALTER TABLE job ADD COLUMN slot_ms        INTEGER;   -- the due time of its schedule
ALTER TABLE job ADD COLUMN has_references INTEGER NOT NULL DEFAULT 0;

-- One due time becomes one job, even if fliqd dies half-way.
CREATE UNIQUE INDEX job_slot ON job (schedule_id, slot_ms) WHERE slot_ms IS NOT NULL;
CREATE INDEX job_schedule ON job (schedule_id, pk) WHERE schedule_id IS NOT NULL;
-- What of a schedule has not ended.
CREATE INDEX job_live ON job (schedule_id, next_attempt_ms) WHERE schedule_id IS NOT NULL AND finished_ms IS NULL;
