-- All the SQL of the embedded store but its migrations; each statement is loaded by its name.

-- name: last_pk
SELECT max(coalesce((SELECT max(pk) FROM job), 0), coalesce((SELECT CAST(value AS INTEGER) FROM meta WHERE key = 'last_pk'), 0));

-- name: jobs_by_key
-- The jobs that an idempotency key has already made.
SELECT job.*
  FROM json_each(:keys) AS wanted
  JOIN job ON job.dialect = wanted.value ->> 0 AND job.idempotency_key = wanted.value ->> 1;

-- name: job_insert
INSERT INTO job (
    pk, id, dialect, token_id, status, url, host, lane, http_method, headers, query, body, body_is_json, timeout_ms,
    max_retries, backoff, success_statuses, on_interrupt, queue, name, description, tags, idempotency_key, replay_of,
    scheduled_ms, expires_ms, created_ms, updated_ms, started_ms, finished_ms, next_attempt_ms, due_ms, owner, executions,
    attempts, crashes, last_status_code, last_error
) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?);

-- name: job_replace
-- The new values in the order of job_insert, then the state that was read: no row if it has moved on.
UPDATE job
   SET (pk, id, dialect, token_id, status, url, host, lane, http_method, headers, query, body, body_is_json, timeout_ms,
        max_retries, backoff, success_statuses, on_interrupt, queue, name, description, tags, idempotency_key, replay_of,
        scheduled_ms, expires_ms, created_ms, updated_ms, started_ms, finished_ms, next_attempt_ms, due_ms, owner, executions,
        attempts, crashes, last_status_code, last_error)
     = (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
 WHERE pk = ? AND status = ? AND executions = ?
RETURNING pk;

-- name: job_tags_insert
INSERT INTO job_tag (tag, job_pk) VALUES (?, ?);

-- name: job_tags_delete
DELETE FROM job_tag WHERE job_pk = ?;

-- name: job_by_id
SELECT * FROM job WHERE id = :id;

-- name: jobs_newest_first
SELECT * FROM job
 WHERE pk < :before_pk
   AND (:created_from_ms IS NULL OR created_ms >= :created_from_ms)
   AND (:created_to_ms IS NULL OR created_ms < :created_to_ms)
   AND (:scheduled_from_ms IS NULL OR scheduled_ms >= :scheduled_from_ms)
   AND (:scheduled_to_ms IS NULL OR scheduled_ms < :scheduled_to_ms)
   /* more */
 ORDER BY pk DESC
 LIMIT :limit;

-- name: job_sizes_newest_first
SELECT coalesce(length(body), 0) FROM job
 WHERE pk < :before_pk
   AND (:created_from_ms IS NULL OR created_ms >= :created_from_ms)
   AND (:created_to_ms IS NULL OR created_ms < :created_to_ms)
   AND (:scheduled_from_ms IS NULL OR scheduled_ms >= :scheduled_from_ms)
   AND (:scheduled_to_ms IS NULL OR scheduled_ms < :scheduled_to_ms)
   /* more */
 ORDER BY pk DESC
 LIMIT :limit;

-- name: executions_by_job
SELECT * FROM execution WHERE job_pk = :job_pk ORDER BY attempt_num DESC;

-- name: due_page
SELECT next_attempt_ms, pk, lane FROM job
 WHERE next_attempt_ms IS NOT NULL AND (next_attempt_ms, pk) >= (:from_ms, :from_pk)
 ORDER BY next_attempt_ms, pk
 LIMIT :limit;

-- name: due_page_of_lane
SELECT next_attempt_ms, pk, lane FROM job
 WHERE next_attempt_ms IS NOT NULL AND (next_attempt_ms, pk) >= (:from_ms, :from_pk) AND next_attempt_ms <= :until_ms AND lane = :lane
 ORDER BY next_attempt_ms, pk
 LIMIT :limit;

-- name: jobs_claim
-- Give a batch of due jobs to :owner. A job that does not come back: not due, expired, gone, or someone was quicker.
UPDATE job
   SET status = 'running', owner = :owner, executions = executions + 1,
       due_ms = next_attempt_ms, next_attempt_ms = NULL,
       started_ms = coalesce(started_ms, :now_ms), updated_ms = :now_ms
 WHERE pk IN (SELECT value FROM json_each(:pks))
   AND status = 'scheduled' AND next_attempt_ms <= :until_ms
   AND (expires_ms IS NULL OR expires_ms >= :now_ms)
RETURNING *;

-- name: jobs_expire
UPDATE job
   SET status = 'failed', next_attempt_ms = NULL, finished_ms = :now_ms, updated_ms = :now_ms, last_error = :error
 WHERE pk IN (SELECT value FROM json_each(:pks)) AND status = 'scheduled' AND expires_ms < :now_ms;

-- name: execution_open
INSERT INTO execution (job_pk, attempt_num, id, status, started_ms, late_ms, response_truncated)
VALUES (?, ?, ?, 'running', ?, ?, 0);

-- name: execution_close
UPDATE execution
   SET status = ?, started_ms = ?, finished_ms = ?, late_ms = ?, status_code = ?, error_code = ?, error = ?,
       response_headers = ?, response_body = ?, response_truncated = ?, timings = ?
 WHERE job_pk = ? AND attempt_num = ? AND status = 'running';

-- name: job_settle
UPDATE job
   SET status = ?, owner = NULL, due_ms = NULL, next_attempt_ms = ?, finished_ms = ?, updated_ms = ?, attempts = ?,
       crashes = 0, lane = host, started_ms = CASE WHEN executions = 1 THEN ? ELSE started_ms END, last_status_code = ?, last_error = ?
 WHERE pk = ? AND status = 'running' AND executions = ? AND owner = ?;

-- name: execution_forget
DELETE FROM execution WHERE job_pk = ? AND attempt_num = ? AND status = 'running';

-- name: job_unclaim
UPDATE job
   SET status = 'scheduled', owner = NULL, next_attempt_ms = due_ms, due_ms = NULL, executions = executions - 1,
       updated_ms = ?,
       started_ms = CASE WHEN executions = 1 THEN NULL ELSE started_ms END
 WHERE pk = ? AND status = 'running' AND executions = ? AND owner = ?;

-- name: executions_interrupt
UPDATE execution
   SET status = 'interrupted', finished_ms = max(started_ms, :now_ms), error_code = 'interrupted', error = :error
 WHERE status = 'running' AND (job_pk, attempt_num) IN (
       SELECT pk, executions FROM job
        WHERE status = 'running' AND (:pks IS NULL OR pk IN (SELECT value FROM json_each(:pks))));

-- name: jobs_interrupted_fail
-- Those that ask for it, and those that fliqd died of once too often.
UPDATE job
   SET status = 'failed', owner = NULL, due_ms = NULL, finished_ms = :now_ms, updated_ms = :now_ms,
       crashes = crashes + :crash,
       last_error = iif(crashes + :crash > :most_crashes, :error || ', for the ' || (crashes + :crash) || 'th time', :error)
 WHERE status = 'running' AND (on_interrupt = 'fail' OR crashes + :crash > :most_crashes)
   AND (:pks IS NULL OR pk IN (SELECT value FROM json_each(:pks)))
RETURNING pk;

-- name: jobs_interrupted_retry
-- Due again at once, whatever max_retries says: an interrupted attempt spends no budget.
UPDATE job
   SET status = 'scheduled', owner = NULL, due_ms = NULL, next_attempt_ms = :now_ms, updated_ms = :now_ms,
       crashes = crashes + :crash, lane = CASE WHEN :crash THEN :quarantine ELSE lane END, last_error = :error
 WHERE status = 'running' AND (:pks IS NULL OR pk IN (SELECT value FROM json_each(:pks)))
RETURNING next_attempt_ms, pk, lane;

-- name: retries_pull
UPDATE job
   SET next_attempt_ms = max(:now_ms, next_attempt_ms - :by_ms)
 WHERE next_attempt_ms > :now_ms AND executions > 0 AND next_attempt_ms <> scheduled_ms  -- the last: moved by hand
RETURNING next_attempt_ms, pk, lane;

-- name: tokens_all
SELECT id, name, hash, scopes, created_ms, last_used_ms FROM token ORDER BY id;

-- name: token_insert
INSERT INTO token (id, name, hash, scopes, created_ms) VALUES (?, ?, ?, ?, ?);

-- name: token_delete
DELETE FROM token WHERE id = :id RETURNING id;

-- name: token_touch
UPDATE token SET last_used_ms = ? WHERE id = ?;

-- name: finished_delete
DELETE FROM job
 WHERE pk IN (
       SELECT pk FROM job
        WHERE finished_ms IS NOT NULL AND (:before_ms IS NULL OR finished_ms < :before_ms)
        ORDER BY finished_ms
        LIMIT :limit)
RETURNING pk;

-- name: last_pk_keep
-- The newest job may be among those that go, and its key must not be given again.
INSERT INTO meta (key, value) VALUES ('last_pk', ?)
    ON CONFLICT (key) DO UPDATE SET value = excluded.value;

-- name: pages_give_back
PRAGMA incremental_vacuum(256);

-- name: finished_oldest
SELECT min(finished_ms) FROM job WHERE finished_ms IS NOT NULL;

-- name: finished_nth_newest
SELECT finished_ms FROM job WHERE finished_ms IS NOT NULL ORDER BY finished_ms DESC LIMIT 1 OFFSET :n;

-- name: pages_used
SELECT (c.page_count - f.freelist_count) * s.page_size
  FROM pragma_page_count AS c, pragma_freelist_count AS f, pragma_page_size AS s;

-- name: probe
INSERT INTO meta (key, value) VALUES ('probe', ?)
    ON CONFLICT (key) DO UPDATE SET value = excluded.value;

-- name: copy_counts
-- What a copy holds: its jobs, those that wait, and of them those that are due.
SELECT (SELECT count(*) FROM job),
       (SELECT count(*) FROM job WHERE next_attempt_ms IS NOT NULL),
       (SELECT count(*) FROM job WHERE next_attempt_ms <= :now_ms);

-- name: counts
-- Each from an index alone: some 15 ms for a million jobs, wherever they stand.
SELECT (SELECT count(*) FROM job WHERE next_attempt_ms IS NOT NULL),
       (SELECT count(*) FROM job WHERE status = 'running'),
       (SELECT count(*) FROM job WHERE finished_ms >= :since_ms),
       (SELECT count(*) FROM job WHERE +status = 'failed' AND finished_ms >= :since_ms),
       (SELECT min(next_attempt_ms) FROM job WHERE next_attempt_ms IS NOT NULL);
