-- Who is told what becomes of a job, and what is on its way to them.

ALTER TABLE job ADD COLUMN webhook_url     TEXT;
ALTER TABLE job ADD COLUMN webhook_headers TEXT;      -- JSON, as is webhook_events; null is the default
ALTER TABLE job ADD COLUMN webhook_events  TEXT;
ALTER TABLE job ADD COLUMN callback_url    TEXT;

ALTER TABLE schedule ADD COLUMN webhook_url     TEXT;
ALTER TABLE schedule ADD COLUMN webhook_headers TEXT;
ALTER TABLE schedule ADD COLUMN webhook_events  TEXT;
ALTER TABLE schedule ADD COLUMN callback_url    TEXT;

ALTER TABLE buffer ADD COLUMN webhook_url     TEXT;
ALTER TABLE buffer ADD COLUMN webhook_headers TEXT;
ALTER TABLE buffer ADD COLUMN webhook_events  TEXT;
ALTER TABLE buffer ADD COLUMN callback_url    TEXT;

-- Written in the transaction of what it tells. What one job tells by one way leaves in order: a row behind one that is
-- still on its way has the last instant there is for its time.
CREATE TABLE outbox (
    pk              INTEGER PRIMARY KEY AUTOINCREMENT,
    id              TEXT    NOT NULL,
    job_id          TEXT    NOT NULL,      -- the job may be gone before all of it is told
    kind            TEXT    NOT NULL,
    event           TEXT    NOT NULL,
    url             TEXT    NOT NULL,
    lane            TEXT    NOT NULL,      -- host:port of url
    headers         TEXT,                  -- JSON
    has_references  INTEGER NOT NULL,
    body            BLOB    NOT NULL,

    status          TEXT    NOT NULL,
    attempts        INTEGER NOT NULL,
    next_attempt_ms INTEGER,
    owner           TEXT,
    status_code     INTEGER,
    last_error      TEXT,
    created_ms      INTEGER NOT NULL,
    finished_ms     INTEGER,

    CHECK (kind IN ('webhook', 'callback')),
    CHECK (status IN ('pending', 'delivering', 'delivered', 'failed')),
    CHECK ((status = 'pending') = (next_attempt_ms IS NOT NULL)),
    CHECK ((status = 'delivering') = (owner IS NOT NULL)),
    CHECK ((status IN ('delivered', 'failed')) = (finished_ms IS NOT NULL))
) STRICT;

CREATE INDEX outbox_due ON outbox (next_attempt_ms, pk, lane) WHERE next_attempt_ms IS NOT NULL;
CREATE INDEX outbox_owner ON outbox (owner) WHERE owner IS NOT NULL;
CREATE INDEX outbox_job ON outbox (job_id, pk);
CREATE INDEX outbox_status ON outbox (status, pk) WHERE status <> 'delivered';  -- the few that somebody looks for
CREATE INDEX outbox_finished ON outbox (finished_ms) WHERE finished_ms IS NOT NULL;

-- Where alerts go.
CREATE TABLE channel (
    pk             INTEGER PRIMARY KEY AUTOINCREMENT,
    id             TEXT    NOT NULL UNIQUE,
    name           TEXT,
    type           TEXT    NOT NULL,
    target         TEXT    NOT NULL,      -- a secret
    has_references INTEGER NOT NULL,
    enabled        INTEGER NOT NULL,
    source         TEXT    NOT NULL,
    created_ms     INTEGER NOT NULL,
    updated_ms     INTEGER NOT NULL
) STRICT;

-- What goes wrong now, or did not long ago; told_ms is null until its latest news has gone out.
CREATE TABLE incident (
    kind      TEXT    NOT NULL,
    subject   TEXT    NOT NULL,
    opened_ms INTEGER NOT NULL,
    last_ms   INTEGER NOT NULL,
    count     INTEGER NOT NULL,
    again     INTEGER NOT NULL,
    well_ms   INTEGER,
    closed_ms INTEGER,
    told_ms   INTEGER,
    PRIMARY KEY (kind, subject)
) STRICT, WITHOUT ROWID;
