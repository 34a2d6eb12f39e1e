-- All the SQL of the embedded store but its migrations; each statement is loaded by its name.

-- name: last_pk
-- The newest key of jobs, and of items.
SELECT max(coalesce((SELECT max(pk) FROM job WHERE pk < :first_item_pk), 0),
           coalesce((SELECT CAST(value AS INTEGER) FROM meta WHERE key = 'last_pk'), 0)),
       max(coalesce((SELECT max(pk) FROM job), :first_item_pk), :first_item_pk,
           coalesce((SELECT CAST(value AS INTEGER) FROM meta WHERE key = 'last_item_pk'), 0));

-- name: jobs_by_key
-- The jobs that an idempotency key has already made.
SELECT job.*
  FROM json_each(:keys) AS wanted
  JOIN job ON job.dialect = wanted.value ->> 0 AND job.idempotency_key = wanted.value ->> 1 AND NOT job.key_is_free;

-- name: job_key_free
UPDATE job SET key_is_free = 1 WHERE pk = ?;

-- name: jobs_by_dedupe_key
-- The newest job that was made for the same work since an instant, and has neither failed nor been cancelled.
SELECT job.*
  FROM json_each(:keys) AS wanted
  JOIN job ON job.pk = (SELECT max(same.pk) FROM job AS same
                         WHERE same.dialect = wanted.value ->> 0 AND same.dedupe_key = wanted.value ->> 1
                           AND same.created_ms > wanted.value ->> 2 AND same.status NOT IN ('failed', 'cancelled'));

-- name: job_insert
INSERT INTO job (
    pk, id, dialect, token_id, status, url, host, lane, http_method, headers, query, body, body_is_json, timeout_ms,
    max_retries, backoff, success_statuses, on_interrupt, queue, name, description, tags, idempotency_key, replay_of,
    scheduled_ms, expires_ms, created_ms, updated_ms, started_ms, finished_ms, next_attempt_ms, due_ms, owner, executions,
    attempts, crashes, last_status_code, last_error, source, schedule_id, slot_ms, has_references, buffer_id,
    webhook_url, webhook_headers, webhook_events, callback_url, requires_approval, approved_ms, approved_by, key_is_free,
    dedupe_key, dedupe_window_ms, dynamic_fields, asked
) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?);

-- name: job_insert_plain
-- The same for a job with nothing rare about it: each value that is bound costs as much as writing it does.
INSERT INTO job (
    pk, id, token_id, url, host, lane, http_method, headers, body, body_is_json, timeout_ms, max_retries, idempotency_key,
    scheduled_ms, created_ms, updated_ms, next_attempt_ms,
    dialect, status, on_interrupt, queue, executions, attempts, crashes, source, has_references, requires_approval, key_is_free
) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'v1', 'scheduled', 'retry', 'default', 0, 0, 0, 'api', 0, 0, 0);

-- name: job_replace
-- The new values in the order of job_insert, then the state that was read: no row if it has moved on.
UPDATE job
   SET (pk, id, dialect, token_id, status, url, host, lane, http_method, headers, query, body, body_is_json, timeout_ms,
        max_retries, backoff, success_statuses, on_interrupt, queue, name, description, tags, idempotency_key, replay_of,
        scheduled_ms, expires_ms, created_ms, updated_ms, started_ms, finished_ms, next_attempt_ms, due_ms, owner, executions,
        attempts, crashes, last_status_code, last_error, source, schedule_id, slot_ms, has_references, buffer_id,
        webhook_url, webhook_headers, webhook_events, callback_url, requires_approval, approved_ms, approved_by, key_is_free,
        dedupe_key, dedupe_window_ms, dynamic_fields, asked)
     = (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
 WHERE pk = ? AND status = ? AND executions = ?
RETURNING pk;

-- name: job_tags_insert
INSERT INTO job_tag (tag, job_pk) VALUES (?, ?);

-- name: job_tags_delete
DELETE FROM job_tag WHERE job_pk = ?;

-- name: job_by_id
SELECT * FROM job WHERE id = :id;

-- name: job_by_pk
SELECT * FROM job WHERE pk = :pk;

-- name: jobs_counted
-- Through an index, a tenth of what the table is: the + keeps SQLite from going along the table by its key, and times,
-- which no index has, are compared only where some are asked for.
SELECT count(*) FROM job WHERE +pk < :before_pk /* more */;

-- name: jobs_from
-- A page by its place and not by its first row, as some of the stand-in APIs have it.
SELECT * FROM job
 WHERE pk IN (SELECT pk FROM job
               WHERE pk < :before_pk
                 AND (:created_from_ms IS NULL OR created_ms >= :created_from_ms)
                 AND (:created_to_ms IS NULL OR created_ms < :created_to_ms)
                 AND (:scheduled_from_ms IS NULL OR scheduled_ms >= :scheduled_from_ms)
                 AND (:scheduled_to_ms IS NULL OR scheduled_ms < :scheduled_to_ms)
                 /* more */
               /* order */
               LIMIT :limit OFFSET :offset)
 /* order */;

-- name: job_sizes_from
SELECT pk, coalesce(length(body), 0) FROM job
 WHERE pk < :before_pk
   AND (:created_from_ms IS NULL OR created_ms >= :created_from_ms)
   AND (:created_to_ms IS NULL OR created_ms < :created_to_ms)
   AND (:scheduled_from_ms IS NULL OR scheduled_ms >= :scheduled_from_ms)
   AND (:scheduled_to_ms IS NULL OR scheduled_ms < :scheduled_to_ms)
   /* more */
 /* order */
 LIMIT :limit OFFSET :offset;

-- name: executions_in_order
-- Attempts at jobs, or at one of them, by job and number.
SELECT execution.* FROM execution
 WHERE job_pk < :before_pk AND (:job_pk IS NULL OR job_pk = :job_pk)
 /* order */
 LIMIT :limit OFFSET :offset;

-- name: job_sizes_by_time
SELECT pk, coalesce(length(body), 0), scheduled_ms FROM job
 WHERE pk < :before_pk
   AND (:created_from_ms IS NULL OR created_ms >= :created_from_ms)
   AND (:created_to_ms IS NULL OR created_ms < :created_to_ms)
   AND (:scheduled_from_ms IS NULL OR scheduled_ms >= :scheduled_from_ms)
   AND (:scheduled_to_ms IS NULL OR scheduled_ms < :scheduled_to_ms)
   /* more */
 ORDER BY scheduled_ms DESC, pk DESC
 LIMIT :limit;

-- name: jobs_of_a_time
SELECT job.* FROM json_each(:pks) AS wanted JOIN job ON job.pk = wanted.value ORDER BY scheduled_ms DESC, job.pk DESC;

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
SELECT pk, coalesce(length(body), 0) FROM job
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
 WHERE next_attempt_ms IS NOT NULL AND (next_attempt_ms, pk) >= (:from_ms, :from_pk) AND next_attempt_ms < :held_ms
 ORDER BY next_attempt_ms, pk
 LIMIT :limit;

-- name: due_page_of_lane
SELECT next_attempt_ms, pk, lane FROM job
 WHERE next_attempt_ms IS NOT NULL AND (next_attempt_ms, pk) >= (:from_ms, :from_pk) AND next_attempt_ms <= :until_ms AND lane = :lane
 ORDER BY next_attempt_ms, pk
 LIMIT :limit;

-- name: jobs_claimable
-- Those of a batch that can be given to :owner, as jobs_claim leaves them, in one row of JSON: the interpreter's lock changes
-- hands with every row that is fetched. Those that have nothing rare come as the few columns that are not the same in all of
-- them (rows.CLAIMED), since to write and read 55 takes three times as long; the others have all, in the table's order. A
-- long body comes by itself.
SELECT json_group_array(CASE
       WHEN coalesce(query, backoff, success_statuses, description, tags, replay_of, expires_ms, schedule_id, slot_ms, buffer_id,
                     webhook_url, webhook_headers, webhook_events, callback_url, approved_ms, approved_by, dedupe_key,
                     dedupe_window_ms, dynamic_fields, asked) IS NULL
            AND dialect = 'v1' AND on_interrupt = 'retry' AND source = 'api'
            AND NOT (crashes OR has_references OR requires_approval OR key_is_free)
       THEN json_array(
       pk, id, token_id, url, host, lane, http_method, headers,
       CASE WHEN length(body) <= 16384 THEN hex(body) WHEN body IS NOT NULL THEN 0 END, body_is_json, timeout_ms,
       max_retries, queue, name, idempotency_key, scheduled_ms, created_ms, coalesce(started_ms, :now_ms), next_attempt_ms,
       executions + 1, attempts, last_status_code, last_error)
       ELSE json_array(
       pk, id, dialect, token_id, 'running', url, host, lane, http_method, headers, query,
       CASE WHEN length(body) <= 16384 THEN hex(body) WHEN body IS NOT NULL THEN 0 END, body_is_json, timeout_ms,
       max_retries, backoff, success_statuses, on_interrupt,
       queue, name, description, tags, idempotency_key, replay_of, scheduled_ms, expires_ms, created_ms, :now_ms,
       coalesce(started_ms, :now_ms), finished_ms, NULL, next_attempt_ms, :owner, executions + 1, attempts, crashes,
       last_status_code, last_error, source, schedule_id, slot_ms, has_references, buffer_id,
       webhook_url, webhook_headers, webhook_events, callback_url, requires_approval, approved_ms, approved_by, key_is_free,
       dedupe_key, dedupe_window_ms, dynamic_fields, CAST(asked AS TEXT))
       END)
  FROM job
 WHERE pk IN (SELECT value FROM json_each(:pks))
   AND status = 'scheduled' AND next_attempt_ms <= :until_ms
   AND (expires_ms IS NULL OR expires_ms >= :now_ms);

-- name: job_body
SELECT body FROM job WHERE pk = ?;

-- name: jobs_claim
-- Give a batch of due jobs to :owner. One that jobs_claimable left out: not due, expired, gone, or someone was quicker.
UPDATE job
   SET status = 'running', owner = :owner, executions = executions + 1,
       due_ms = next_attempt_ms, next_attempt_ms = NULL,
       started_ms = coalesce(started_ms, :now_ms), updated_ms = :now_ms
 WHERE pk IN (SELECT value FROM json_each(:pks))
   AND status = 'scheduled' AND next_attempt_ms <= :until_ms
   AND (expires_ms IS NULL OR expires_ms >= :now_ms);

-- name: jobs_expire
UPDATE job
   SET status = 'failed', next_attempt_ms = NULL, finished_ms = :now_ms, updated_ms = :now_ms, last_error = :error
 WHERE pk IN (SELECT value FROM json_each(:pks)) AND status = 'scheduled' AND expires_ms < :now_ms
RETURNING schedule_id, pk, status;

-- name: execution_open
INSERT INTO execution (job_pk, attempt_num, id, status, started_ms, late_ms, response_truncated)
VALUES (?, ?, ?, 'running', ?, ?, 0);

-- name: executions_close
UPDATE execution
   SET status = ended.status, started_ms = ended.started_ms, finished_ms = ended.finished_ms, late_ms = ended.late_ms,
       status_code = ended.status_code, error_code = ended.error_code, error = ended.error,
       response_headers = ended.response_headers, response_body = ended.response_body,
       response_truncated = ended.response_truncated, timings = ended.timings, request_body = ended.request_body
  FROM (WITH ended (job_pk, attempt_num, status, started_ms, finished_ms, late_ms, status_code, error_code, error,
                    response_headers, response_body, response_truncated, timings, request_body)
          AS (VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?))
        SELECT * FROM ended) AS ended
 WHERE execution.job_pk = ended.job_pk AND execution.attempt_num = ended.attempt_num AND execution.status = 'running';

-- name: jobs_settle
-- The + keeps SQLite from going through all that is running for each that has ended.
UPDATE job
   SET status = ended.status, owner = NULL, due_ms = NULL, next_attempt_ms = ended.next_attempt_ms,
       finished_ms = ended.finished_ms, updated_ms = ended.updated_ms, attempts = ended.attempts, crashes = 0,
       lane = CASE WHEN buffer_id IS NOT NULL THEN '|' || host WHEN queue = 'default' THEN host ELSE queue || '|' || host END,
       started_ms = CASE WHEN job.executions = 1 THEN ended.started_ms ELSE job.started_ms END,
       last_status_code = ended.last_status_code, last_error = ended.last_error
  FROM (WITH ended (pk, executions, owner, status, next_attempt_ms, finished_ms, updated_ms, attempts, started_ms,
                    last_status_code, last_error)
          AS (VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?))
        SELECT * FROM ended) AS ended
 WHERE job.pk = ended.pk AND +job.status = 'running' AND job.executions = ended.executions AND job.owner = ended.owner;

-- name: jobs_expire_unapproved
-- Those that waited for somebody until it was too late.
UPDATE job
   SET status = 'failed', finished_ms = :now_ms, updated_ms = :now_ms, last_error = :error
 WHERE pk IN (SELECT pk FROM job WHERE status = 'awaiting_approval' AND expires_ms < :now_ms LIMIT :limit)
RETURNING schedule_id, pk, status;

-- name: unapproved_first_expiry
SELECT min(expires_ms) FROM job WHERE status = 'awaiting_approval' AND expires_ms IS NOT NULL;

-- name: schedules_memory
SELECT schedule.id, state, previous FROM json_each(:ids) AS wanted JOIN schedule ON schedule.id = wanted.value;

-- name: schedule_remember
UPDATE schedule SET state = ?, previous = ? WHERE id = ?;

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
RETURNING schedule_id, pk, status, buffer_id;

-- name: jobs_interrupted_retry
-- Due again at once, whatever max_retries says: an interrupted attempt spends no budget.
UPDATE job
   SET status = 'scheduled', owner = NULL, due_ms = NULL, next_attempt_ms = :now_ms, updated_ms = :now_ms,
       crashes = crashes + :crash, last_error = :error,
       lane = CASE WHEN NOT :crash THEN lane WHEN buffer_id IS NOT NULL THEN :quarantined || '|' || host
                   WHEN queue = 'default' THEN :quarantined || host ELSE :quarantined || queue || '|' || host END
 WHERE status = 'running' AND (:pks IS NULL OR pk IN (SELECT value FROM json_each(:pks)))
RETURNING next_attempt_ms, pk, lane;

-- name: retries_pull
UPDATE job
   SET next_attempt_ms = max(:now_ms, next_attempt_ms - :by_ms)
 WHERE next_attempt_ms > :now_ms AND next_attempt_ms < :held_ms
   AND (executions > 0 OR buffer_id IS NOT NULL)
   AND next_attempt_ms <> scheduled_ms  -- else moved by hand
RETURNING next_attempt_ms, pk, lane;

-- name: buffers_pull
-- The same for first items that wait for the end of a pause.
UPDATE buffer SET head_next_ms = max(:now_ms, head_next_ms - :by_ms) WHERE head_next_ms > :now_ms;

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
RETURNING pk, id;

-- name: last_pk_keep
-- The newest job may be among those that go, and its key must not be given again.
INSERT INTO meta (key, value) VALUES ('last_pk', ?), ('last_item_pk', ?)
    ON CONFLICT (key) DO UPDATE SET value = excluded.value;

-- name: pages_give_back
-- One: asked for more, it goes on with each step, and there is no column for Python's module to fetch.
PRAGMA incremental_vacuum(1);

-- name: pages_free
SELECT freelist_count FROM pragma_freelist_count;

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

-- name: schedule_insert
INSERT INTO schedule (
    id, version, name, source, dialect, token_id, cron, every_ms, anchor_ms, timezone, dst_gap, dst_overlap, starts_ms, ends_ms,
    max_runs, jitter_ms, misfire, misfire_grace_ms, overlap, url, host, http_method, headers, query, body, body_is_json,
    has_references, timeout_ms, max_retries, backoff, success_statuses, on_interrupt, queue, description, tags,
    created_ms, updated_ms, deleted_ms, paused_ms, cursor_ms, next_run_ms, run_count, error,
    webhook_url, webhook_headers, webhook_events, callback_url, requires_approval, dynamic_fields, asked
) VALUES (
    :id, :version, :name, :source, :dialect, :token_id, :cron, :every_ms, :anchor_ms, :timezone, :dst_gap, :dst_overlap,
    :starts_ms, :ends_ms, :max_runs, :jitter_ms, :misfire, :misfire_grace_ms, :overlap, :url, :host, :http_method, :headers,
    :query, :body, :body_is_json, :has_references, :timeout_ms, :max_retries, :backoff, :success_statuses, :on_interrupt,
    :queue, :description, :tags, :created_ms, :updated_ms, :deleted_ms, :paused_ms, :cursor_ms, :next_run_ms, :run_count, :error,
    :webhook_url, :webhook_headers, :webhook_events, :callback_url, :requires_approval, :dynamic_fields, :asked)
RETURNING pk;

-- name: schedule_replace
-- All that is decided; what became of the last run is kept by schedule_made and schedule_ended.
UPDATE schedule
   SET version = version + 1, name = :name, source = :source, cron = :cron, every_ms = :every_ms, anchor_ms = :anchor_ms,
       timezone = :timezone, dst_gap = :dst_gap, dst_overlap = :dst_overlap, starts_ms = :starts_ms, ends_ms = :ends_ms,
       max_runs = :max_runs, jitter_ms = :jitter_ms, misfire = :misfire, misfire_grace_ms = :misfire_grace_ms,
       overlap = :overlap, url = :url, host = :host, http_method = :http_method, headers = :headers, query = :query,
       body = :body, body_is_json = :body_is_json, has_references = :has_references, timeout_ms = :timeout_ms,
       max_retries = :max_retries, backoff = :backoff, success_statuses = :success_statuses, on_interrupt = :on_interrupt,
       queue = :queue, description = :description, tags = :tags, updated_ms = :updated_ms, deleted_ms = :deleted_ms,
       paused_ms = :paused_ms, cursor_ms = :cursor_ms, next_run_ms = :next_run_ms, run_count = :run_count, error = :error,
       webhook_url = :webhook_url, webhook_headers = :webhook_headers, webhook_events = :webhook_events,
       callback_url = :callback_url, requires_approval = :requires_approval, dynamic_fields = :dynamic_fields, asked = :asked
 WHERE pk = :pk AND version = :version
RETURNING pk;

-- name: schedules_moved
-- The same for schedules whose definition has not changed, and schedule_made where there is a last job.
UPDATE schedule
   SET version = version + 1,
       cursor_ms = move.value ->> 1, next_run_ms = move.value ->> 2, run_count = move.value ->> 3, error = move.value ->> 4,
       last_job_pk = coalesce(move.value ->> 5, last_job_pk), last_run_ms = coalesce(move.value ->> 6, last_run_ms),
       last_status = iif(move.value ->> 5 IS NULL, last_status, 'scheduled')
  FROM json_each(:moves) AS move
 WHERE schedule.pk = move.value ->> 0;

-- name: schedule_made
UPDATE schedule SET last_job_pk = ?, last_run_ms = ?, last_status = 'scheduled' WHERE pk = ?;

-- name: schedule_ended
UPDATE schedule SET last_status = ? WHERE id = ? AND last_job_pk = ?;

-- name: schedule_versions
SELECT schedule.pk, version FROM json_each(:pks) AS wanted JOIN schedule ON schedule.pk = wanted.value
 WHERE deleted_ms IS NULL;

-- name: schedule_by_id
SELECT schedule.*, (SELECT status FROM job WHERE job.pk = last_job_pk) FROM schedule
 WHERE id = :id AND (:deleted_too OR deleted_ms IS NULL);

-- name: schedule_name_taken
SELECT id FROM schedule WHERE name = :name AND deleted_ms IS NULL AND pk <> :pk;

-- name: schedules_by_pk
SELECT schedule.* FROM json_each(:pks) AS wanted JOIN schedule ON schedule.pk = wanted.value WHERE deleted_ms IS NULL;

-- name: schedules_all
SELECT schedule.* FROM schedule WHERE deleted_ms IS NULL ORDER BY pk;

-- name: schedules_newest_first
SELECT schedule.*, (SELECT status FROM job WHERE job.pk = last_job_pk) FROM schedule
 WHERE pk < :before_pk AND deleted_ms IS NULL
   /* more */
 ORDER BY pk DESC
 LIMIT :limit;

-- name: schedules_due_page
SELECT next_run_ms, pk, '' FROM schedule
 WHERE next_run_ms IS NOT NULL AND (next_run_ms, pk) >= (:from_ms, :from_pk)
 ORDER BY next_run_ms, pk
 LIMIT :limit;

-- name: schedules_parked
SELECT pk FROM schedule WHERE error IS NOT NULL AND deleted_ms IS NULL AND paused_ms IS NULL;

-- name: schedules_live
-- How many jobs of each schedule have not ended, and how many of them wait for the others or for somebody; none has no row.
SELECT schedule_id, count(*), sum(next_attempt_ms IS :held_ms OR status = 'awaiting_approval')
  FROM json_each(:ids) AS wanted JOIN job ON schedule_id = wanted.value
 WHERE finished_ms IS NULL
 GROUP BY schedule_id;

-- name: schedules_slots
-- Which slots of these spans (schedule, first, last) have a job already.
SELECT schedule_id, slot_ms
  FROM json_each(:spans) AS span JOIN job ON schedule_id = span.value ->> 0
 WHERE slot_ms BETWEEN span.value ->> 1 AND span.value ->> 2;

-- name: held_release
-- The first job that waits for the end of the runs before it, once none of them is left. It is due when it was due:
-- the time at which they ended may be that of a clock which has been set since.
UPDATE job
   SET next_attempt_ms = scheduled_ms
 WHERE pk = (SELECT pk FROM job
              WHERE schedule_id = :id AND finished_ms IS NULL AND next_attempt_ms = :held_ms
              ORDER BY pk LIMIT 1)
   AND NOT EXISTS (SELECT 1 FROM job
                    WHERE schedule_id = :id AND finished_ms IS NULL AND next_attempt_ms IS NOT :held_ms
                      AND status <> 'awaiting_approval')
RETURNING next_attempt_ms, pk, lane;

-- name: schedule_jobs_cancel
-- Those that have never started.
UPDATE job
   SET status = 'cancelled', next_attempt_ms = NULL, finished_ms = :now_ms, updated_ms = :now_ms
 WHERE schedule_id = :id AND finished_ms IS NULL AND status IN ('scheduled', 'awaiting_approval') AND executions = 0
RETURNING schedule_id, pk, status;

-- name: missed_last
SELECT pk, last_ms, reason FROM missed WHERE schedule_pk = ? ORDER BY pk DESC LIMIT 1;

-- name: missed_extend
UPDATE missed SET last_ms = ?, count = count + ?, noted_ms = ? WHERE pk = ?;

-- name: missed_insert
INSERT INTO missed (schedule_pk, first_ms, last_ms, count, reason, noted_ms) VALUES (?, ?, ?, ?, ?, ?);

-- name: missed_newest_first
SELECT pk, first_ms, last_ms, count, reason, noted_ms FROM missed
 WHERE schedule_pk = :schedule_pk AND pk < :before_pk
 ORDER BY pk DESC
 LIMIT :limit;

-- name: missed_after
SELECT pk, first_ms, last_ms, count, reason, noted_ms FROM missed WHERE schedule_pk = :schedule_pk AND last_ms > :after_ms;

-- name: missed_cut
UPDATE missed SET last_ms = ?, count = ? WHERE pk = ?;

-- name: missed_drop
DELETE FROM missed WHERE pk = ?;

-- name: missed_delete
DELETE FROM missed
 WHERE pk IN (SELECT pk FROM missed WHERE noted_ms < :before_ms ORDER BY noted_ms LIMIT :limit)
RETURNING pk;

-- name: schedules_purge
-- Deleted ones of which nothing is left to show.
DELETE FROM schedule
 WHERE deleted_ms < :before_ms
   AND NOT EXISTS (SELECT 1 FROM job WHERE job.schedule_id = schedule.id)
   AND NOT EXISTS (SELECT 1 FROM missed WHERE missed.schedule_pk = schedule.pk)
RETURNING pk;

-- name: declared_all
SELECT name, job_id, scheduled_ms, seen_ms FROM declared_job ORDER BY name;

-- name: declared_put
INSERT INTO declared_job (name, job_id, scheduled_ms, seen_ms) VALUES (?, ?, ?, ?)
    ON CONFLICT (name) DO UPDATE SET job_id = excluded.job_id, scheduled_ms = excluded.scheduled_ms, seen_ms = excluded.seen_ms;

-- name: declared_delete
DELETE FROM declared_job WHERE name = ?;

-- name: jobs_by_ids
SELECT job.* FROM json_each(:ids) AS wanted JOIN job ON job.id = wanted.value;

-- name: items_pause
-- The first ones of paused buffers, which a crash may have made due.
UPDATE job SET next_attempt_ms = :held_ms
 WHERE pk IN (SELECT (SELECT pk FROM job WHERE buffer_id = buffer.id AND status = 'scheduled' ORDER BY pk LIMIT 1)
                FROM buffer WHERE paused_ms IS NOT NULL)
   AND next_attempt_ms < :held_ms;

-- name: buffer_insert
INSERT INTO buffer (
    id, name, source, dialect, token_id, url, host, http_method, headers, query, has_references, timeout_ms, max_retries,
    backoff, success_statuses, on_interrupt, description, rate_limit, created_ms, updated_ms, deleted_ms, paused_ms, tokens,
    tokens_ms, head_next_ms, completed, failed, webhook_url, webhook_headers, webhook_events, callback_url
) VALUES (
    :id, :name, :source, :dialect, :token_id, :url, :host, :http_method, :headers, :query, :has_references, :timeout_ms,
    :max_retries, :backoff, :success_statuses, :on_interrupt, :description, :rate_limit, :created_ms, :updated_ms, :deleted_ms,
    :paused_ms, :tokens, :tokens_ms, :head_next_ms, :completed, :failed, :webhook_url, :webhook_headers,
    :webhook_events, :callback_url)
RETURNING pk;

-- name: buffer_replace
UPDATE buffer
   SET name = :name, source = :source, url = :url, host = :host, http_method = :http_method, headers = :headers, query = :query,
       has_references = :has_references, timeout_ms = :timeout_ms, max_retries = :max_retries, backoff = :backoff,
       success_statuses = :success_statuses, on_interrupt = :on_interrupt, description = :description,
       rate_limit = :rate_limit, updated_ms = :updated_ms, deleted_ms = :deleted_ms, paused_ms = :paused_ms, tokens = :tokens,
       tokens_ms = :tokens_ms, head_next_ms = :head_next_ms, webhook_url = :webhook_url,
       webhook_headers = :webhook_headers, webhook_events = :webhook_events, callback_url = :callback_url
 WHERE pk = :pk;

-- name: buffer_paced
UPDATE buffer SET tokens = ?, tokens_ms = ?, head_next_ms = ?, completed = completed + ?, failed = failed + ? WHERE pk = ?;

-- name: buffer_by_id
SELECT * FROM buffer WHERE id = :id AND (:deleted_too OR deleted_ms IS NULL);

-- name: buffer_name_taken
SELECT id FROM buffer WHERE name = :name AND deleted_ms IS NULL AND pk <> :pk;

-- name: buffers_all
SELECT * FROM buffer WHERE deleted_ms IS NULL ORDER BY pk;

-- name: buffers_newest_first
SELECT * FROM buffer WHERE pk < :before_pk AND deleted_ms IS NULL /* more */ ORDER BY pk DESC LIMIT :limit;

-- name: buffers_deleted
SELECT id FROM buffer WHERE deleted_ms IS NOT NULL;

-- name: buffer_delete
DELETE FROM buffer WHERE id = :id AND NOT EXISTS (SELECT 1 FROM job WHERE buffer_id = :id) RETURNING pk;

-- name: item_first
-- The first of a buffer's items that has not ended: the one that runs, else the oldest that waits. Asked for both at once,
-- SQLite would go through all that have ended.
SELECT * FROM (SELECT pk, lane, status, next_attempt_ms FROM job WHERE buffer_id = :id AND status = 'running' LIMIT 1)
 UNION ALL
SELECT * FROM (SELECT pk, lane, status, next_attempt_ms FROM job WHERE buffer_id = :id AND status = 'scheduled'
                ORDER BY pk LIMIT 1)
 LIMIT 1;

-- name: item_next
SELECT pk, lane, scheduled_ms FROM job WHERE buffer_id = :id AND status = 'scheduled' ORDER BY pk LIMIT 1;

-- name: item_delete
DELETE FROM job WHERE pk = ?;

-- name: item_due
UPDATE job SET next_attempt_ms = ? WHERE pk = ? AND status = 'scheduled';

-- name: items_delete
DELETE FROM job
 WHERE pk IN (SELECT pk FROM job WHERE buffer_id = :id AND status <> 'running' ORDER BY pk LIMIT :limit)
RETURNING pk;

-- name: items_counts
SELECT status, count(*) FROM job WHERE buffer_id = :id AND status IN ('scheduled', 'running') GROUP BY status;

-- name: item_sizes_newest_first
SELECT pk, coalesce(length(body), 0) FROM job WHERE buffer_id = :id AND pk < :before_pk /* more */ ORDER BY pk DESC LIMIT :limit;

-- name: items_newest_first
SELECT * FROM job WHERE buffer_id = :id AND pk < :before_pk /* more */ ORDER BY pk DESC LIMIT :limit;

-- name: queues_all
SELECT name, concurrency, rate, paused_ms, source, created_ms, updated_ms FROM queue ORDER BY name;

-- name: queue_by_name
SELECT name, concurrency, rate, paused_ms, source, created_ms, updated_ms FROM queue WHERE name = :name;

-- name: queue_put
INSERT INTO queue (name, concurrency, rate, paused_ms, source, created_ms, updated_ms) VALUES (?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (name) DO UPDATE
   SET concurrency = excluded.concurrency, rate = excluded.rate, paused_ms = excluded.paused_ms, source = excluded.source,
       updated_ms = excluded.updated_ms;

-- name: queue_delete
DELETE FROM queue WHERE name = ?;

-- name: queues_live
SELECT queue, status, count(*) FROM job INDEXED BY job_queue_live
 WHERE queue <> 'default' AND finished_ms IS NULL GROUP BY queue, status;

-- name: queue_live
SELECT status, count(*) FROM job INDEXED BY job_queue_live
 WHERE queue = :name AND queue <> 'default' AND finished_ms IS NULL GROUP BY status;

-- name: jobs_live
SELECT status, count(*) FROM job WHERE status IN ('scheduled', 'running') AND pk < :first_item_pk GROUP BY status;

-- name: copy_counts
-- What a copy holds: its jobs, those that wait, and of them those that are due.
SELECT (SELECT count(*) FROM job),
       (SELECT count(*) FROM job WHERE next_attempt_ms IS NOT NULL),
       (SELECT count(*) FROM job WHERE next_attempt_ms <= :now_ms);

-- name: counts
-- Each from an index alone: some 15 ms for a million jobs, wherever they stand.
SELECT (SELECT count(*) FROM job WHERE status = 'scheduled' AND pk < :first_item_pk),
       (SELECT count(*) FROM job WHERE status = 'awaiting_approval'),
       (SELECT count(*) FROM job WHERE status = 'running' AND pk < :first_item_pk),
       (SELECT count(*) FROM job WHERE finished_ms >= :since_ms AND pk < :first_item_pk),
       (SELECT count(*) FROM job WHERE +status = 'failed' AND finished_ms >= :since_ms AND pk < :first_item_pk),
       (SELECT count(*) FROM job WHERE status = 'scheduled' AND pk >= :first_item_pk),
       (SELECT count(*) FROM job WHERE status = 'running' AND pk >= :first_item_pk),
       (SELECT count(*) FROM job WHERE +status = 'failed' AND finished_ms >= :since_ms AND pk >= :first_item_pk),
       (SELECT min(next_attempt_ms) FROM job WHERE next_attempt_ms < :held_ms);

-- name: jobs_told
-- Those of a batch of which somebody is told, now that they are where they are.
SELECT job.* FROM json_each(:pks) AS wanted JOIN job ON job.pk = wanted.value
 WHERE job.status = 'failed' OR job.webhook_url IS NOT NULL OR job.callback_url IS NOT NULL;

-- name: outbox_insert
-- Behind one of the same job and kind that has not ended it is held.
INSERT INTO outbox (id, job_id, kind, event, url, lane, headers, has_references, body, signed_for, status, attempts,
                    next_attempt_ms, created_ms)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'pending', 0,
        iif(EXISTS (SELECT 1 FROM outbox WHERE job_id = ? AND kind = ? AND finished_ms IS NULL), ?, ?), ?)
RETURNING next_attempt_ms, pk, lane;

-- name: outbox_unsay
DELETE FROM outbox
 WHERE pk IN (SELECT pk FROM outbox WHERE job_id = ? AND kind = 'webhook' ORDER BY pk DESC LIMIT ?)
   AND event IN ('job.started', 'job.request') AND status = 'pending';

-- name: outbox_due_page
SELECT next_attempt_ms, pk, lane FROM outbox
 WHERE next_attempt_ms IS NOT NULL AND (next_attempt_ms, pk) >= (:from_ms, :from_pk) AND next_attempt_ms < :held_ms
 ORDER BY next_attempt_ms, pk
 LIMIT :limit;

-- name: outbox_due_page_of_lane
SELECT next_attempt_ms, pk, lane FROM outbox
 WHERE next_attempt_ms IS NOT NULL AND (next_attempt_ms, pk) >= (:from_ms, :from_pk) AND next_attempt_ms <= :until_ms AND lane = :lane
 ORDER BY next_attempt_ms, pk
 LIMIT :limit;

-- name: outbox_claim
UPDATE outbox
   SET status = 'delivering', owner = :owner, attempts = attempts + 1, next_attempt_ms = NULL
 WHERE pk IN (SELECT value FROM json_each(:pks)) AND status = 'pending' AND next_attempt_ms <= :until_ms
RETURNING *;

-- name: outbox_end
UPDATE outbox
   SET status = :status, owner = NULL, next_attempt_ms = :next_attempt_ms, status_code = :status_code,
       last_error = :last_error, finished_ms = :finished_ms
 WHERE pk = :pk AND status = 'delivering' AND owner = :owner AND attempts = :attempts
RETURNING next_attempt_ms, pk, lane;

-- name: outbox_release
-- What waits behind a notice that has ended, the first of it.
UPDATE outbox
   SET next_attempt_ms = :now_ms
 WHERE pk = (SELECT min(pk) FROM outbox
              WHERE job_id = :job_id AND kind = :kind AND status = 'pending' AND next_attempt_ms = :held_ms)
RETURNING next_attempt_ms, pk, lane;

-- name: outbox_hand_back
UPDATE outbox
   SET status = 'pending', owner = NULL, attempts = attempts - 1, next_attempt_ms = :now_ms
 WHERE owner IS NOT NULL
RETURNING next_attempt_ms, pk, lane;

-- name: outbox_pull
UPDATE outbox
   SET next_attempt_ms = max(:now_ms, next_attempt_ms - :by_ms)
 WHERE next_attempt_ms > :now_ms AND next_attempt_ms < :held_ms
RETURNING next_attempt_ms, pk, lane;

-- name: outbox_newest_first
SELECT * FROM outbox
 WHERE pk < :before_pk
   /* more */
 ORDER BY pk DESC
 LIMIT :limit;

-- name: outbox_forget
DELETE FROM outbox
 WHERE pk IN (SELECT pk FROM outbox WHERE finished_ms < :before_ms ORDER BY finished_ms LIMIT :limit)
RETURNING pk;

-- name: outbox_forget_jobs
-- What was told of jobs that are no longer kept; what has not been yet still is.
DELETE FROM outbox WHERE job_id IN (SELECT value FROM json_each(:job_ids)) AND finished_ms IS NOT NULL;

-- name: channels_all
SELECT * FROM channel ORDER BY pk;

-- name: channel_by_id
SELECT * FROM channel WHERE id = ?;

-- name: channel_put
INSERT INTO channel (id, name, type, target, has_references, enabled, source, created_ms, updated_ms)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (id) DO UPDATE
   SET name = excluded.name, type = excluded.type, target = excluded.target, has_references = excluded.has_references,
       enabled = excluded.enabled, source = excluded.source, updated_ms = excluded.updated_ms
RETURNING pk;

-- name: channel_delete
DELETE FROM channel WHERE id = ?;

-- name: incidents_all
SELECT * FROM incident;

-- name: incident_put
INSERT OR REPLACE INTO incident (kind, subject, opened_ms, last_ms, count, again, well_ms, closed_ms, told_ms)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?);

-- name: incident_delete
DELETE FROM incident WHERE kind = ? AND subject = ?;

-- name: rollup_add
INSERT INTO rollup (scope, key, hour, slot, succeeded, failed, interrupted, duration_ms, late_ms, late_max_ms)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT DO UPDATE
   SET succeeded = succeeded + excluded.succeeded, failed = failed + excluded.failed,
       interrupted = interrupted + excluded.interrupted, duration_ms = duration_ms + excluded.duration_ms,
       late_ms = late_ms + excluded.late_ms, late_max_ms = max(late_max_ms, excluded.late_max_ms);

-- name: rollup_keys
SELECT DISTINCT scope, key FROM rollup WHERE hour = :hour;

-- name: rollup_sums
-- What there is in each bucket of so many hours, by slot, in one row of JSON: a row of its own each costs ten times as much.
SELECT json_group_array(json_array(bucket, json_array(
       slot, succeeded, failed, interrupted, duration_ms, late_ms, late_max_ms)))
  FROM (SELECT hour / :hours * :hours AS bucket, slot, sum(succeeded) AS succeeded, sum(failed) AS failed,
               sum(interrupted) AS interrupted, sum(duration_ms) AS duration_ms, sum(late_ms) AS late_ms,
               max(late_max_ms) AS late_max_ms
          FROM json_each(:keys) AS wanted CROSS JOIN rollup
         WHERE scope = :scope AND rollup.key = wanted.value AND hour >= :from_hour
         GROUP BY bucket, slot);

-- name: rollup_counts
-- How many executions there were in each bucket.
SELECT hour / :hours * :hours AS bucket, sum(succeeded + failed + interrupted)
  FROM json_each(:keys) AS wanted CROSS JOIN rollup
 WHERE scope = :scope AND rollup.key = wanted.value AND hour >= :from_hour
 GROUP BY bucket;

-- name: rollup_lumped
-- Whether some were not told apart.
SELECT EXISTS (SELECT 1 FROM rollup WHERE scope = :scope AND key = '' AND hour >= :from_hour);

-- name: rollup_first
SELECT min(hour) FROM rollup WHERE hour >= :from_hour;

-- name: rollup_delete
DELETE FROM rollup WHERE hour = :hour;

-- name: rollup_fold
-- Add an hour to its day.
INSERT INTO rollup (scope, key, hour, slot, succeeded, failed, interrupted, duration_ms, late_ms, late_max_ms)
SELECT scope, key, :day, slot, succeeded, failed, interrupted, duration_ms, late_ms, late_max_ms FROM rollup
 WHERE hour = :hour
    ON CONFLICT DO UPDATE
   SET succeeded = succeeded + excluded.succeeded, failed = failed + excluded.failed,
       interrupted = interrupted + excluded.interrupted, duration_ms = duration_ms + excluded.duration_ms,
       late_ms = late_ms + excluded.late_ms, late_max_ms = max(late_max_ms, excluded.late_max_ms);

-- name: rollup_smallest
-- The keys of a day beyond the largest :most.
SELECT key FROM rollup WHERE hour = :day AND scope = :scope AND key <> ''
 GROUP BY key ORDER BY sum(succeeded + failed + interrupted) DESC, key LIMIT -1 OFFSET :most;

-- name: rollup_lump
-- Add keys of a day to its others.
INSERT INTO rollup (scope, key, hour, slot, succeeded, failed, interrupted, duration_ms, late_ms, late_max_ms)
SELECT scope, '', hour, slot, sum(succeeded), sum(failed), sum(interrupted), sum(duration_ms), sum(late_ms),
       max(late_max_ms)
  FROM rollup
 WHERE hour = :day AND scope = :scope AND key IN (SELECT value FROM json_each(:keys))
 GROUP BY slot
    ON CONFLICT DO UPDATE
   SET succeeded = succeeded + excluded.succeeded, failed = failed + excluded.failed,
       interrupted = interrupted + excluded.interrupted, duration_ms = duration_ms + excluded.duration_ms,
       late_ms = late_ms + excluded.late_ms, late_max_ms = max(late_max_ms, excluded.late_max_ms);

-- name: rollup_lumped_delete
DELETE FROM rollup WHERE hour = :day AND scope = :scope AND key IN (SELECT value FROM json_each(:keys));

-- name: meta_get
SELECT value FROM meta WHERE key = :key;

-- name: meta_delete
DELETE FROM meta WHERE key = :key;

-- name: meta_put
INSERT INTO meta (key, value) VALUES (:key, :value)
    ON CONFLICT (key) DO UPDATE SET value = excluded.value;

-- name: running_jobs
SELECT * FROM job WHERE status = 'running' AND (:pks IS NULL OR pk IN (SELECT value FROM json_each(:pks)));

-- name: job_news
SELECT job.id, status, name, queue, schedule_id, host, scheduled_ms, updated_ms, started_ms, finished_ms, next_attempt_ms,
       executions, attempts, last_status_code, last_error
  FROM json_each(:pks) AS wanted JOIN job ON job.pk = wanted.value ORDER BY wanted.key;
