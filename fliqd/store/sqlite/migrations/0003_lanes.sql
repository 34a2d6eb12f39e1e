-- Queues that limit their jobs together, and buffers: ordered streams to one target.

CREATE TABLE queue (
    name        TEXT    NOT NULL PRIMARY KEY,
    concurrency INTEGER,                    -- requests under way at once; null: no limit of its own
    rate        REAL,                       -- requests a second; null: no limit of its own
    paused_ms   INTEGER,
    source      TEXT    NOT NULL,           -- who may change it: api or config
    created_ms  INTEGER NOT NULL,
    updated_ms  INTEGER NOT NULL,
    CHECK (concurrency IS NULL OR concurrency >= 1),
    CHECK (rate IS NULL OR rate > 0)
) STRICT, WITHOUT ROWID;

CREATE TABLE buffer (
    pk               INTEGER PRIMARY KEY AUTOINCREMENT,
    id               TEXT    NOT NULL UNIQUE,
    name             TEXT    NOT NULL,
    source           TEXT    NOT NULL,
    dialect          TEXT    NOT NULL,
    token_id         TEXT,

    url              TEXT    NOT NULL,
    host             TEXT    NOT NULL,
    http_method      TEXT    NOT NULL,
    headers          TEXT,                  -- JSON, as are query, backoff, success_statuses; null is the default
    query            TEXT,
    has_references   INTEGER NOT NULL,
    timeout_ms       INTEGER NOT NULL,
    max_retries      INTEGER NOT NULL,
    backoff          TEXT,
    success_statuses TEXT,
    on_interrupt     TEXT    NOT NULL,
    description      TEXT,
    rate_limit       REAL    NOT NULL,      -- requests a second

    created_ms       INTEGER NOT NULL,
    updated_ms       INTEGER NOT NULL,
    deleted_ms       INTEGER,               -- its items go in batches, then it goes itself
    paused_ms        INTEGER,
    tokens           REAL    NOT NULL,      -- of the token bucket, at tokens_ms; below zero is what was lent
    tokens_ms        INTEGER NOT NULL,
    head_next_ms     INTEGER,               -- when its first item is due, but for the rate and pauses
    completed        INTEGER NOT NULL,      -- items that have ended so; they outlive the items
    failed           INTEGER NOT NULL
) STRICT;

CREATE UNIQUE INDEX buffer_name ON buffer (name) WHERE deleted_ms IS NULL;

ALTER TABLE job ADD COLUMN buffer_id TEXT;

CREATE INDEX job_buffer ON job (buffer_id, pk) WHERE buffer_id IS NOT NULL;
CREATE INDEX job_buffer_status ON job (buffer_id, status, pk) WHERE buffer_id IS NOT NULL;
CREATE INDEX job_queue_live ON job (queue, status) WHERE queue <> 'default' AND finished_ms IS NULL;

-- How many failed of late, asked by every dashboard. With a plain `status =` SQLite would take job_status for it.
CREATE INDEX job_failed ON job (finished_ms, status) WHERE +status = 'failed';

-- From now on the lane of a job says its queue too.
UPDATE job SET lane = queue || '|' || host WHERE queue <> 'default' AND finished_ms IS NULL AND lane = host;
