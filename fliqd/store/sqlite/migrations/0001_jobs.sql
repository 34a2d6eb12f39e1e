-- Jobs, their executions, and the tokens of those who make them.
-- Times are UTC milliseconds since the epoch. Public ids are text, look-ups inside go by pk.

CREATE TABLE meta (
    key   TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE job (
    pk               INTEGER PRIMARY KEY,   -- given by the writer, only grows; lists are by it
    id               TEXT    NOT NULL,
    dialect          TEXT    NOT NULL,
    token_id         TEXT,
    status           TEXT    NOT NULL,

    url              TEXT    NOT NULL,
    host             TEXT    NOT NULL,      -- host:port of url
    lane             TEXT    NOT NULL,      -- what limits it together with others: its host, or the quarantine
    http_method      TEXT    NOT NULL,
    headers          TEXT,                  -- JSON, as are query, backoff, success_statuses, tags; null is the default
    query            TEXT,
    body             BLOB,
    body_is_json     INTEGER NOT NULL,
    timeout_ms       INTEGER NOT NULL,
    max_retries      INTEGER NOT NULL,
    backoff          TEXT,
    success_statuses TEXT,
    on_interrupt     TEXT    NOT NULL,
    queue            TEXT    NOT NULL,
    name             TEXT,
    description      TEXT,
    tags             TEXT,
    idempotency_key  TEXT,
    replay_of        TEXT,
    scheduled_ms     INTEGER NOT NULL,      -- what was asked for; never moves by itself
    expires_ms       INTEGER,

    created_ms       INTEGER NOT NULL,
    updated_ms       INTEGER NOT NULL,
    started_ms       INTEGER,
    finished_ms      INTEGER,
    next_attempt_ms  INTEGER,               -- when the attempt that waits is due
    due_ms           INTEGER,               -- when the attempt under way was due
    owner            TEXT,
    executions       INTEGER NOT NULL,
    attempts         INTEGER NOT NULL,
    crashes          INTEGER NOT NULL,      -- how often in a row fliqd died while it was under way
    last_status_code INTEGER,
    last_error       TEXT,

    CHECK (status IN ('awaiting_approval', 'scheduled', 'running', 'success', 'failed', 'cancelled')),
    CHECK ((status = 'scheduled') = (next_attempt_ms IS NOT NULL)),
    CHECK ((status = 'running') = (owner IS NOT NULL)),
    CHECK ((status = 'running') = (due_ms IS NOT NULL)),
    CHECK ((status IN ('success', 'failed', 'cancelled')) = (finished_ms IS NOT NULL)),
    CHECK (0 <= attempts AND attempts <= executions)
) STRICT;

CREATE UNIQUE INDEX job_id ON job (id);
CREATE UNIQUE INDEX job_idempotency ON job (dialect, idempotency_key) WHERE idempotency_key IS NOT NULL;
-- The due window is read from this index alone: the table is not touched.
CREATE INDEX job_due ON job (next_attempt_ms, pk, lane) WHERE next_attempt_ms IS NOT NULL;
CREATE INDEX job_status ON job (status, pk);
CREATE INDEX job_finished ON job (finished_ms) WHERE finished_ms IS NOT NULL;
-- How many failed of late, asked by every dashboard. With a plain `status =` SQLite would take job_status for it.
CREATE INDEX job_failed ON job (finished_ms, status) WHERE +status = 'failed';
-- These three cost nothing for jobs that leave the field alone.
CREATE INDEX job_name ON job (name, pk) WHERE name IS NOT NULL;
CREATE INDEX job_queue ON job (queue, pk) WHERE queue <> 'default';

CREATE TABLE job_tag (
    tag    TEXT    NOT NULL,
    job_pk INTEGER NOT NULL REFERENCES job (pk) ON DELETE CASCADE,
    PRIMARY KEY (tag, job_pk)
) STRICT, WITHOUT ROWID;
CREATE INDEX job_tag_job ON job_tag (job_pk);

-- One row for each request that may have left.
CREATE TABLE execution (
    job_pk             INTEGER NOT NULL REFERENCES job (pk) ON DELETE CASCADE,
    attempt_num        INTEGER NOT NULL,
    id                 TEXT    NOT NULL,
    status             TEXT    NOT NULL,
    started_ms         INTEGER NOT NULL,
    finished_ms        INTEGER,
    late_ms            INTEGER NOT NULL,
    status_code        INTEGER,
    error_code         TEXT,
    error              TEXT,
    response_headers   TEXT,                -- JSON, as is timings
    response_body      BLOB,
    response_truncated INTEGER NOT NULL,
    timings            TEXT,
    PRIMARY KEY (job_pk, attempt_num),
    CHECK (attempt_num >= 1),
    CHECK (status IN ('running', 'success', 'failed', 'interrupted')),
    CHECK ((status = 'running') = (finished_ms IS NULL))
) STRICT, WITHOUT ROWID;

CREATE TABLE token (
    id           TEXT    NOT NULL PRIMARY KEY,
    name         TEXT    NOT NULL,
    hash         BLOB    NOT NULL UNIQUE,
    scopes       TEXT    NOT NULL,          -- JSON
    created_ms   INTEGER NOT NULL,
    last_used_ms INTEGER
) STRICT, WITHOUT ROWID;
