-- Executions added up, so that statistics are quick whatever there is, and outlive the jobs.

CREATE TABLE rollup (
    scope       TEXT    NOT NULL,           -- what they are added up for
    key         TEXT    NOT NULL,           -- which schedule, queue or host; empty for all others, or all there are
    hour        INTEGER NOT NULL,           -- since the epoch; of a day that has been put together the first
    slot        INTEGER NOT NULL,           -- of how long they took
    succeeded   INTEGER NOT NULL,
    failed      INTEGER NOT NULL,
    interrupted INTEGER NOT NULL,
    duration_ms INTEGER NOT NULL,           -- in all, as is late_ms, of those whose end is known
    late_ms     INTEGER NOT NULL,
    late_max_ms INTEGER NOT NULL,
    PRIMARY KEY (scope, key, hour, slot),
    CHECK (scope IN ('jobs', 'buffers', 'schedule', 'queue', 'host')),
    CHECK (slot >= 0 AND succeeded >= 0 AND failed >= 0 AND interrupted >= 0)
) STRICT, WITHOUT ROWID;

CREATE INDEX rollup_hour ON rollup (hour);
