/* message_table.h: the one table of methods, messages and fields. Read it beside PROTOCOL.md; include messages.h.
 *
 * F(type, field, presence, low, high)   a scalar; the range is of the value, or of the length in bytes
 * E(field, presence, words)             one of a table of words
 * S(field, presence, message)           a nested map
 * L(field, presence, message, lo, hi)   an array of maps, lo to hi of them
 * N(field, presence, lo, hi)            an array of names
 * P(field, presence, lo, hi)            a map from str to str
 * W(field, presence, lo, hi)            a map from names to weights, 1 to MAX_WEIGHT
 *
 * presence: REQUIRED; OPTIONAL (left out when absent); NULLABLE (nil when absent). Reading, nil is always "absent".
 * Types: STR UTF-8; ASCII printable ASCII; NAME [A-Za-z0-9._:-]{1,128} that is more than dots; BYTES bin, or str taken
 * as bytes; INT; FLOAT; BOOL; UUID; TOKEN; RAW whatever stands there, for the reader to decode item by item.
 */
#ifndef RAINCHECK_MESSAGE_TABLE_H
#define RAINCHECK_MESSAGE_TABLE_H

#define ANY	     INT64_MIN, INT64_MAX
#define DURATION     0, 3153600000000	/* up to 100 years, in milliseconds */
#define MOMENT	     0, 253402300799999 /* up to the end of the year 9999 */
#define BODY	     0, INT64_MAX	/* bounded by the configured limits instead */
#define COUNT	     0, INT64_MAX
#define MAX_BATCH    1000
#define MAX_QUEUES   256 /* in one lease */
#define MAX_METADATA 64
#define MAX_WAIT_MS  60000
#define MAX_LEASE_MS 86400000
#define CONTENT_TYPE 1, 255
#define MAX_SCHEDULE 64
#define MAX_WEIGHT   1000
#define MAX_WEIGHTS  1000 /* groups of a queue that have one of their own */
#define LONG_TEXT    0, 4096
#define SHORT_TEXT   0, 512

/* ---- parts ---- */

#define FIELDS_empty(F, E, S, L, N, P, W)

#define FIELDS_error(F, E, S, L, N, P, W)    \
	F(STR, code, REQUIRED, 1, 64)        \
	F(STR, message, REQUIRED, LONG_TEXT) \
	F(STR, field, OPTIONAL, SHORT_TEXT)  \
	F(INT, retry_after_ms, OPTIONAL, ANY)

#define FIELDS_backoff(F, E, S, L, N, P, W)    \
	F(INT, base_ms, OPTIONAL, 0, 86400000) \
	F(FLOAT, factor, OPTIONAL, 1, 100)     \
	F(INT, max_ms, OPTIONAL, DURATION)     \
	F(FLOAT, jitter, OPTIONAL, 0, 1)

/* In how many milliseconds a job is done, most likely: low to high. */
#define FIELDS_eta(F, E, S, L, N, P, W) \
	F(INT, low, REQUIRED, COUNT)    \
	F(INT, high, REQUIRED, COUNT)

/* What a job in line waits for besides its turn. until_at_ms: absent where nobody knows. */
#define FIELDS_waiting(F, E, S, L, N, P, W)    \
	E(reason, REQUIRED, wait_reason_names) \
	F(INT, until_at_ms, NULLABLE, COUNT)

/* What attempts that succeeded have taken, in milliseconds: smoothed, and by how much they differ from that. */
#define FIELDS_run_time(F, E, S, L, N, P, W) \
	F(INT, mean, REQUIRED, COUNT)        \
	F(INT, spread, REQUIRED, COUNT)

/* Bytes with their media type: a preview in a put, a result in a completion. */
#define FIELDS_media(F, E, S, L, N, P, W)              \
	F(ASCII, content_type, REQUIRED, CONTENT_TYPE) \
	F(BYTES, data, REQUIRED, BODY)

#define FIELDS_limits(F, E, S, L, N, P, W) \
	F(INT, message, REQUIRED, COUNT)   \
	F(INT, payload, REQUIRED, COUNT)   \
	F(INT, depth, REQUIRED, COUNT)     \
	F(INT, elements, REQUIRED, COUNT)  \
	F(INT, batch, REQUIRED, COUNT)     \
	F(INT, in_flight, REQUIRED, COUNT) \
	F(INT, unsent, REQUIRED, COUNT)

#define FIELDS_worker(F, E, S, L, N, P, W)  \
	F(STR, name, REQUIRED, 1, 128)      \
	N(queues, OPTIONAL, 0, MAX_QUEUES)  \
	F(INT, slots, OPTIONAL, 0, 1000000) \
	F(BOOL, quiet, OPTIONAL, ANY)

#define FIELDS_counts(F, E, S, L, N, P, W) \
	F(INT, scheduled, REQUIRED, COUNT) \
	F(INT, ready, REQUIRED, COUNT)     \
	F(INT, running, REQUIRED, COUNT)   \
	F(INT, succeeded, REQUIRED, COUNT) \
	F(INT, dead, REQUIRED, COUNT)      \
	F(INT, canceled, REQUIRED, COUNT)  \
	F(INT, expired, REQUIRED, COUNT)

/* ---- session ---- */

#define FIELDS_hello(F, E, S, L, N, P, W)     \
	F(STR, client, OPTIONAL, SHORT_TEXT)  \
	F(STR, version, OPTIONAL, SHORT_TEXT) \
	F(STR, token, OPTIONAL, LONG_TEXT)    \
	S(worker, OPTIONAL, worker)           \
	F(BOOL, subscribe, OPTIONAL, ANY)

#define FIELDS_hello_result(F, E, S, L, N, P, W) \
	F(STR, server, REQUIRED, SHORT_TEXT)     \
	F(STR, version, REQUIRED, SHORT_TEXT)    \
	F(INT, protocol, REQUIRED, COUNT)        \
	E(role, REQUIRED, role_names)            \
	S(limits, REQUIRED, limits)              \
	F(INT, now_ms, REQUIRED, MOMENT)

#define FIELDS_ping_result(F, E, S, L, N, P, W) F(INT, now_ms, REQUIRED, MOMENT)

/* ---- jobs: producers ---- */

#define FIELDS_job_put(F, E, S, L, N, P, W)                    \
	F(NAME, queue, REQUIRED, 1, 128)                       \
	F(BYTES, payload, REQUIRED, BODY)                      \
	F(ASCII, content_type, OPTIONAL, CONTENT_TYPE)         \
	F(INT, priority, OPTIONAL, 0, 9)                       \
	F(INT, delay_ms, OPTIONAL, DURATION)                   \
	F(INT, run_at_ms, OPTIONAL, MOMENT)                    \
	F(INT, start_deadline_ms, OPTIONAL, 1, 3153600000000)  \
	F(INT, deadline_ms, OPTIONAL, 1, 3153600000000)        \
	F(INT, attempt_timeout_ms, OPTIONAL, 1, 3153600000000) \
	F(INT, max_attempts, OPTIONAL, 1, 1000)                \
	S(backoff, OPTIONAL, backoff)                          \
	F(STR, idempotency_key, OPTIONAL, 1, 255)              \
	F(NAME, group, OPTIONAL, 1, 128)                       \
	F(STR, title, OPTIONAL, SHORT_TEXT)                    \
	S(preview, OPTIONAL, media)                            \
	F(STR, callback_url, OPTIONAL, 1, 2048)                \
	F(INT, result_ttl_ms, OPTIONAL, DURATION)              \
	P(metadata, OPTIONAL, 0, MAX_METADATA)                 \
	F(STR, traceparent, OPTIONAL, 1, 128)

/* Of job.put, and an item of job.put_many's: then either these or error. */
#define FIELDS_job_put_result(F, E, S, L, N, P, W) \
	F(UUID, id, OPTIONAL, ANY)                 \
	F(BOOL, created, OPTIONAL, ANY)            \
	E(state, OPTIONAL, job_state_names)        \
	F(STR, link, OPTIONAL, LONG_TEXT)          \
	F(INT, position, OPTIONAL, COUNT)          \
	S(eta_ms, OPTIONAL, eta)                   \
	S(error, OPTIONAL, error)

#define FIELDS_job_put_many(F, E, S, L, N, P, W)	F(RAW, jobs, REQUIRED, ANY)
#define FIELDS_job_put_many_result(F, E, S, L, N, P, W) L(jobs, REQUIRED, job_put_result, 0, MAX_BATCH)

#define FIELDS_job_id(F, E, S, L, N, P, W) F(UUID, id, REQUIRED, ANY)

#define FIELDS_job_wait(F, E, S, L, N, P, W) \
	F(UUID, id, REQUIRED, ANY)           \
	F(INT, wait_ms, OPTIONAL, 0, MAX_WAIT_MS)

#define FIELDS_job_error(F, E, S, L, N, P, W) \
	E(kind, REQUIRED, failure_kind_names) \
	F(STR, message, REQUIRED, LONG_TEXT)  \
	F(INT, at_ms, REQUIRED, MOMENT)

#define FIELDS_artifact(F, E, S, L, N, P, W)         \
	F(NAME, name, REQUIRED, 1, 128)              \
	F(STR, content_type, REQUIRED, CONTENT_TYPE) \
	F(INT, size, REQUIRED, COUNT)                \
	F(STR, sha256, REQUIRED, 64, 64)

#define FIELDS_callback(F, E, S, L, N, P, W) \
	F(STR, url, REQUIRED, 1, 2048)       \
	F(UUID, id, NULLABLE, ANY)           \
	E(state, NULLABLE, job_state_names)  \
	F(INT, attempts, NULLABLE, COUNT)

/* The job record as everybody outside sees it. */
#define FIELDS_job(F, E, S, L, N, P, W)                \
	F(UUID, id, REQUIRED, ANY)                     \
	F(NAME, queue, REQUIRED, 1, 128)               \
	E(state, REQUIRED, job_state_names)            \
	F(INT, attempt, REQUIRED, COUNT)               \
	F(INT, max_attempts, REQUIRED, COUNT)          \
	F(INT, priority, REQUIRED, 0, 9)               \
	F(NAME, group, NULLABLE, 1, 128)               \
	F(STR, title, NULLABLE, SHORT_TEXT)            \
	F(INT, created_at_ms, REQUIRED, MOMENT)        \
	F(INT, run_at_ms, NULLABLE, MOMENT)            \
	F(INT, started_at_ms, NULLABLE, MOMENT)        \
	F(INT, finished_at_ms, NULLABLE, MOMENT)       \
	F(INT, deadline_at_ms, NULLABLE, MOMENT)       \
	F(FLOAT, progress, NULLABLE, 0, 1)             \
	F(STR, note, NULLABLE, SHORT_TEXT)             \
	F(INT, position, NULLABLE, COUNT)              \
	S(eta_ms, NULLABLE, eta)                       \
	S(waiting_for, NULLABLE, waiting)              \
	S(error, NULLABLE, job_error)                  \
	L(artifacts, REQUIRED, artifact, 0, MAX_BATCH) \
	F(STR, link, NULLABLE, LONG_TEXT)              \
	P(metadata, REQUIRED, 0, MAX_METADATA)         \
	F(INT, payload_size, REQUIRED, COUNT)          \
	F(STR, content_type, NULLABLE, CONTENT_TYPE)   \
	S(callback, NULLABLE, callback)

#define FIELDS_job_payload_result(F, E, S, L, N, P, W) \
	F(STR, content_type, NULLABLE, CONTENT_TYPE)   \
	F(BYTES, data, REQUIRED, BODY)

#define FIELDS_job_list(F, E, S, L, N, P, W)  \
	F(NAME, queue, OPTIONAL, 1, 128)      \
	E(state, OPTIONAL, job_state_names)   \
	F(NAME, group, OPTIONAL, 1, 128)      \
	F(INT, limit, OPTIONAL, 1, MAX_BATCH) \
	F(STR, cursor, OPTIONAL, 1, 128)

/* cursor: absent when the list is complete; else there may be more, also after an empty page. */
#define FIELDS_job_list_result(F, E, S, L, N, P, W) \
	L(jobs, REQUIRED, job, 0, MAX_BATCH)        \
	F(STR, cursor, NULLABLE, 1, 128)

/* Which jobs: those for which all that is given holds. all must be said where nothing else is: no slip of the hand
 * shall touch every job there is. */
#define FIELDS_job_filter(F, E, S, L, N, P, W) \
	F(NAME, queue, OPTIONAL, 1, 128)       \
	E(state, OPTIONAL, job_state_names)    \
	F(NAME, group, OPTIONAL, 1, 128)       \
	F(INT, before_at_ms, OPTIONAL, MOMENT) \
	F(BOOL, all, OPTIONAL, ANY)

/* Of job.cancel, job.retry and job.erase: one job or those of a filter; of these all, or about limit of them and then
 * a cursor to go on from. */
#define FIELDS_job_change(F, E, S, L, N, P, W) \
	F(UUID, id, OPTIONAL, ANY)             \
	S(filter, OPTIONAL, job_filter)        \
	F(INT, limit, OPTIONAL, 1, 1000000)    \
	F(STR, cursor, OPTIONAL, 1, 128)

/* cursor: absent when every job was looked at. */
#define FIELDS_job_change_result(F, E, S, L, N, P, W) \
	F(INT, count, REQUIRED, COUNT)                \
	F(STR, cursor, OPTIONAL, 1, 128)

/* ---- links ---- */

#define FIELDS_link_result(F, E, S, L, N, P, W) F(STR, link, REQUIRED, LONG_TEXT)

/* ---- jobs: workers ---- */

#define FIELDS_job_lease(F, E, S, L, N, P, W)       \
	N(queues, REQUIRED, 1, MAX_QUEUES)          \
	F(INT, max, OPTIONAL, 1, MAX_BATCH)         \
	F(INT, lease_ms, OPTIONAL, 1, MAX_LEASE_MS) \
	F(INT, wait_ms, OPTIONAL, 0, MAX_WAIT_MS)

#define FIELDS_leased_job(F, E, S, L, N, P, W)           \
	F(UUID, id, REQUIRED, ANY)                       \
	F(TOKEN, lease, REQUIRED, ANY)                   \
	F(NAME, queue, REQUIRED, 1, 128)                 \
	F(INT, attempt, REQUIRED, COUNT)                 \
	F(BYTES, payload, REQUIRED, BODY)                \
	F(STR, content_type, NULLABLE, CONTENT_TYPE)     \
	F(INT, priority, REQUIRED, 0, 9)                 \
	F(INT, lease_expires_at_ms, REQUIRED, MOMENT)    \
	F(INT, attempt_deadline_at_ms, OPTIONAL, MOMENT) \
	F(INT, deadline_at_ms, OPTIONAL, MOMENT)         \
	F(BYTES, checkpoint, OPTIONAL, BODY)             \
	P(metadata, REQUIRED, 0, MAX_METADATA)           \
	F(STR, traceparent, OPTIONAL, 1, 128)            \
	F(STR, hook_url, OPTIONAL, 1, 2048)

#define FIELDS_job_lease_result(F, E, S, L, N, P, W) L(jobs, REQUIRED, leased_job, 0, MAX_BATCH)

#define FIELDS_extend_item(F, E, S, L, N, P, W) \
	F(UUID, id, REQUIRED, ANY)              \
	F(TOKEN, lease, REQUIRED, ANY)          \
	F(FLOAT, progress, OPTIONAL, 0, 1)      \
	F(STR, note, OPTIONAL, SHORT_TEXT)

#define FIELDS_job_extend(F, E, S, L, N, P, W)         \
	L(leases, REQUIRED, extend_item, 0, MAX_BATCH) \
	F(INT, lease_ms, OPTIONAL, 1, MAX_LEASE_MS)

#define FIELDS_extend_item_result(F, E, S, L, N, P, W) \
	F(UUID, id, REQUIRED, ANY)                     \
	E(status, REQUIRED, extend_status_names)

#define FIELDS_job_extend_result(F, E, S, L, N, P, W) L(leases, REQUIRED, extend_item_result, 0, MAX_BATCH)

#define FIELDS_job_checkpoint(F, E, S, L, N, P, W) \
	F(UUID, id, REQUIRED, ANY)                 \
	F(TOKEN, lease, REQUIRED, ANY)             \
	F(BYTES, data, REQUIRED, 0, 65536)

#define FIELDS_complete_item(F, E, S, L, N, P, W) \
	F(UUID, id, REQUIRED, ANY)                \
	F(TOKEN, lease, REQUIRED, ANY)            \
	S(result, OPTIONAL, media)                \
	F(INT, call_ms, OPTIONAL, DURATION)

/* Either the fields of one completion, or jobs. */
#define FIELDS_job_complete(F, E, S, L, N, P, W) \
	F(UUID, id, OPTIONAL, ANY)               \
	F(TOKEN, lease, OPTIONAL, ANY)           \
	S(result, OPTIONAL, media)               \
	F(INT, call_ms, OPTIONAL, DURATION)      \
	L(jobs, OPTIONAL, complete_item, 0, MAX_BATCH)

#define FIELDS_complete_item_result(F, E, S, L, N, P, W) \
	F(UUID, id, OPTIONAL, ANY)                       \
	E(state, OPTIONAL, job_state_names)              \
	S(error, OPTIONAL, error)

#define FIELDS_job_complete_result(F, E, S, L, N, P, W) \
	E(state, OPTIONAL, job_state_names)             \
	L(jobs, OPTIONAL, complete_item_result, 0, MAX_BATCH)

#define FIELDS_job_fail(F, E, S, L, N, P, W)       \
	F(UUID, id, REQUIRED, ANY)                 \
	F(TOKEN, lease, REQUIRED, ANY)             \
	E(kind, REQUIRED, failure_kind_names)      \
	F(STR, message, REQUIRED, LONG_TEXT)       \
	F(INT, retry_after_ms, OPTIONAL, DURATION) \
	F(INT, call_ms, OPTIONAL, DURATION)

#define FIELDS_job_fail_result(F, E, S, L, N, P, W) \
	E(state, REQUIRED, job_state_names)         \
	F(INT, next_attempt_at_ms, OPTIONAL, MOMENT)

#define FIELDS_job_release(F, E, S, L, N, P, W) \
	F(UUID, id, REQUIRED, ANY)              \
	F(TOKEN, lease, REQUIRED, ANY)          \
	F(INT, delay_ms, OPTIONAL, DURATION)

#define FIELDS_job_release_result(F, E, S, L, N, P, W) E(state, REQUIRED, job_state_names)

/* The notification job.cancel. */
#define FIELDS_job_cancel_notice(F, E, S, L, N, P, W) \
	F(UUID, id, REQUIRED, ANY)                    \
	F(TOKEN, lease, REQUIRED, ANY)

/* ---- artifacts ---- */

/* Of worker.warm: how many calls at once the worker may have from then on, of the limit's queues that it named. */
#define FIELDS_warm_notice(F, E, S, L, N, P, W)   \
	F(NAME, limit, REQUIRED, 1, 128)          \
	N(queues, REQUIRED, 1, MAX_QUEUES)        \
	F(INT, concurrency, REQUIRED, 1, 1000000) \
	F(INT, at_ms, REQUIRED, MOMENT)

#define FIELDS_artifact_put(F, E, S, L, N, P, W)       \
	F(UUID, id, REQUIRED, ANY)                     \
	F(TOKEN, lease, OPTIONAL, ANY)                 \
	F(NAME, name, REQUIRED, 1, 128)                \
	F(ASCII, content_type, REQUIRED, CONTENT_TYPE) \
	F(BYTES, data, REQUIRED, BODY)

#define FIELDS_artifact_stored(F, E, S, L, N, P, W) \
	F(INT, size, REQUIRED, COUNT)               \
	F(STR, sha256, REQUIRED, 64, 64)

#define FIELDS_artifact_begin(F, E, S, L, N, P, W)     \
	F(UUID, id, REQUIRED, ANY)                     \
	F(TOKEN, lease, REQUIRED, ANY)                 \
	F(NAME, name, REQUIRED, 1, 128)                \
	F(ASCII, content_type, REQUIRED, CONTENT_TYPE) \
	F(INT, size, OPTIONAL, COUNT)

#define FIELDS_artifact_begin_result(F, E, S, L, N, P, W) F(TOKEN, upload, REQUIRED, ANY)

#define FIELDS_artifact_write(F, E, S, L, N, P, W) \
	F(TOKEN, upload, REQUIRED, ANY)            \
	F(INT, offset, REQUIRED, COUNT)            \
	F(BYTES, data, REQUIRED, BODY)

#define FIELDS_artifact_write_result(F, E, S, L, N, P, W) F(INT, offset, REQUIRED, COUNT)

#define FIELDS_artifact_commit(F, E, S, L, N, P, W) \
	F(TOKEN, upload, REQUIRED, ANY)             \
	F(STR, sha256, OPTIONAL, 64, 64)

#define FIELDS_artifact_read(F, E, S, L, N, P, W) \
	F(UUID, id, REQUIRED, ANY)                \
	F(NAME, name, REQUIRED, 1, 128)           \
	F(INT, offset, OPTIONAL, COUNT)           \
	F(INT, length, OPTIONAL, COUNT)

#define FIELDS_artifact_read_result(F, E, S, L, N, P, W) \
	F(STR, content_type, REQUIRED, CONTENT_TYPE)     \
	F(INT, size, REQUIRED, COUNT)                    \
	F(INT, offset, REQUIRED, COUNT)                  \
	F(BYTES, data, REQUIRED, BODY)

/* ---- queues ---- */

/* Settings first; nil is "the server's default", for max_jobs and max_bytes "no bound". bytes: payloads of the
 * jobs that are not finished. */
#define FIELDS_queue(F, E, S, L, N, P, W)              \
	F(NAME, queue, REQUIRED, 1, 128)               \
	F(STR, title, NULLABLE, SHORT_TEXT)            \
	F(BOOL, paused, REQUIRED, ANY)                 \
	F(INT, max_jobs, NULLABLE, COUNT)              \
	F(INT, max_bytes, NULLABLE, COUNT)             \
	F(INT, max_attempts, REQUIRED, COUNT)          \
	S(backoff, REQUIRED, backoff)                  \
	F(INT, attempt_timeout_ms, NULLABLE, DURATION) \
	F(INT, result_ttl_ms, NULLABLE, DURATION)      \
	F(NAME, limit, NULLABLE, 1, 128)               \
	F(INT, weight, REQUIRED, 1, MAX_WEIGHT)        \
	W(weights, REQUIRED, 0, MAX_WEIGHTS)           \
	E(admit, REQUIRED, admission_names)            \
	S(counts, REQUIRED, counts)                    \
	F(INT, bytes, REQUIRED, COUNT)                 \
	F(INT, put_total, REQUIRED, COUNT)             \
	F(INT, lease_total, REQUIRED, COUNT)           \
	F(INT, oldest_ready_at_ms, NULLABLE, MOMENT)   \
	S(run_ms, NULLABLE, run_time)

#define FIELDS_queue_list_result(F, E, S, L, N, P, W) L(queues, REQUIRED, queue, 0, 100000)

#define FIELDS_queue_name(F, E, S, L, N, P, W) F(NAME, queue, REQUIRED, 1, 128)

/* A key that is nil takes the setting back to its default; see message_was_nil(). */
#define FIELDS_queue_set(F, E, S, L, N, P, W)                  \
	F(NAME, queue, REQUIRED, 1, 128)                       \
	F(STR, title, OPTIONAL, SHORT_TEXT)                    \
	F(BOOL, paused, OPTIONAL, ANY)                         \
	F(INT, max_jobs, OPTIONAL, COUNT)                      \
	F(INT, max_bytes, OPTIONAL, COUNT)                     \
	F(INT, max_attempts, OPTIONAL, 1, 1000)                \
	S(backoff, OPTIONAL, backoff)                          \
	F(INT, attempt_timeout_ms, OPTIONAL, 1, 3153600000000) \
	F(INT, result_ttl_ms, OPTIONAL, DURATION)              \
	F(NAME, limit, OPTIONAL, 1, 128)                       \
	F(INT, weight, OPTIONAL, 1, MAX_WEIGHT)                \
	W(weights, OPTIONAL, 0, MAX_WEIGHTS)                   \
	E(admit, OPTIONAL, admission_names)

/* ---- limits ---- */

#define FIELDS_limit_adaptive(F, E, S, L, N, P, W) \
	F(INT, min, OPTIONAL, 1, 1000000)          \
	F(INT, max, OPTIONAL, 1, 1000000)          \
	F(INT, latency_target_ms, OPTIONAL, 1, 86400000)

#define FIELDS_limit_breaker(F, E, S, L, N, P, W)  \
	F(INT, window_ms, OPTIONAL, 1000, 3600000) \
	F(INT, min_calls, OPTIONAL, 1, 100000)     \
	F(FLOAT, failure_ratio, OPTIONAL, 0, 1)    \
	F(INT, open_ms, OPTIONAL, 100, 3600000)

/* Other caps for a while. */
#define FIELDS_limit_spell(F, E, S, L, N, P, W)   \
	F(INT, from_at_ms, REQUIRED, MOMENT)      \
	F(INT, until_at_ms, REQUIRED, MOMENT)     \
	F(INT, concurrency, OPTIONAL, 1, 1000000) \
	F(FLOAT, rate, OPTIONAL, 0, 1000000)      \
	F(FLOAT, burst, OPTIONAL, 1, 1000000)

#define FIELDS_limit_name(F, E, S, L, N, P, W) F(NAME, limit, REQUIRED, 1, 128)

/* A key that is nil takes the setting back to its default; see message_was_nil(). */
#define FIELDS_limit_set(F, E, S, L, N, P, W)     \
	F(NAME, limit, REQUIRED, 1, 128)          \
	F(INT, concurrency, OPTIONAL, 1, 1000000) \
	F(FLOAT, rate, OPTIONAL, 0, 1000000)      \
	F(FLOAT, burst, OPTIONAL, 1, 1000000)     \
	S(adaptive, OPTIONAL, limit_adaptive)     \
	S(breaker, OPTIONAL, limit_breaker)       \
	L(schedule, OPTIONAL, limit_spell, 0, MAX_SCHEDULE)

/* What holds at this moment. concurrency, rate: in effect, of settings, schedule and what was learned. waiting: jobs
 * that are ready in its queues. held_until_at_ms: of a held or broken one. */
#define FIELDS_limit_now(F, E, S, L, N, P, W)     \
	E(state, REQUIRED, limit_state_names)     \
	F(INT, in_flight, REQUIRED, COUNT)        \
	F(INT, waiting, REQUIRED, COUNT)          \
	F(INT, concurrency, NULLABLE, COUNT)      \
	F(FLOAT, rate, NULLABLE, 0, 1000000)      \
	E(breaker, NULLABLE, breaker_phase_names) \
	F(INT, held_until_at_ms, NULLABLE, COUNT) \
	F(INT, started, REQUIRED, COUNT)          \
	F(INT, succeeded, REQUIRED, COUNT)        \
	F(INT, failed, REQUIRED, COUNT)           \
	F(INT, throttled, REQUIRED, COUNT)        \
	F(INT, opened, REQUIRED, COUNT)           \
	S(run_ms, NULLABLE, run_time)

#define FIELDS_limit(F, E, S, L, N, P, W)                   \
	F(NAME, limit, REQUIRED, 1, 128)                    \
	F(INT, concurrency, NULLABLE, 1, 1000000)           \
	F(FLOAT, rate, NULLABLE, 0, 1000000)                \
	F(FLOAT, burst, NULLABLE, 1, 1000000)               \
	S(adaptive, NULLABLE, limit_adaptive)               \
	S(breaker, NULLABLE, limit_breaker)                 \
	L(schedule, REQUIRED, limit_spell, 0, MAX_SCHEDULE) \
	N(queues, REQUIRED, 0, MAX_BATCH * 10)              \
	S(now, REQUIRED, limit_now)

#define FIELDS_limit_list_result(F, E, S, L, N, P, W) L(limits, REQUIRED, limit, 0, MAX_BATCH)

#define FIELDS_queue_purge_result(F, E, S, L, N, P, W) \
	F(INT, count, REQUIRED, COUNT)                 \
	FIELDS_queue(F, E, S, L, N, P, W)

/* ---- workers, as operators see them ---- */

#define FIELDS_worker_name(F, E, S, L, N, P, W) F(STR, name, REQUIRED, 1, 128)

/* One connection that greeted as a worker. slots: nil where it did not say. in_hand: jobs that it has leased; waiting:
 * its leases that wait for jobs. */
#define FIELDS_worker_session(F, E, S, L, N, P, W) \
	F(STR, name, REQUIRED, 1, 128)             \
	E(state, REQUIRED, worker_state_names)     \
	F(STR, address, REQUIRED, SHORT_TEXT)      \
	F(STR, client, NULLABLE, SHORT_TEXT)       \
	F(STR, version, NULLABLE, SHORT_TEXT)      \
	N(queues, REQUIRED, 0, MAX_QUEUES)         \
	F(INT, slots, NULLABLE, 0, 1000000)        \
	F(INT, in_hand, REQUIRED, COUNT)           \
	F(INT, waiting, REQUIRED, COUNT)           \
	F(INT, connected_at_ms, REQUIRED, MOMENT)

#define FIELDS_worker_list_result(F, E, S, L, N, P, W) L(workers, REQUIRED, worker_session, 0, 100000)

/* count: the connections that were told. */
#define FIELDS_worker_told(F, E, S, L, N, P, W) F(INT, count, REQUIRED, COUNT)

/* ---- the server ---- */

/* full: puts are being refused. set_aside: jobs whose record is damaged. */
#define FIELDS_store_stats(F, E, S, L, N, P, W) \
	F(INT, used_bytes, REQUIRED, COUNT)     \
	F(INT, max_bytes, REQUIRED, COUNT)      \
	F(INT, reserve_bytes, REQUIRED, COUNT)  \
	F(BOOL, full, REQUIRED, ANY)            \
	F(INT, set_aside, REQUIRED, COUNT)      \
	F(INT, commits, REQUIRED, COUNT)        \
	F(INT, commands, REQUIRED, COUNT)       \
	F(INT, failed_commits, REQUIRED, COUNT) \
	F(INT, largest_batch, REQUIRED, COUNT)

/* What to scale workers by: oldest_ready_age_ms, backlog_ms, wanted_concurrency beside slots and slots_free. */
#define FIELDS_server_stats_result(F, E, S, L, N, P, W) \
	F(STR, version, REQUIRED, SHORT_TEXT)           \
	F(INT, started_at_ms, REQUIRED, MOMENT)         \
	F(INT, now_ms, REQUIRED, MOMENT)                \
	F(INT, connections, REQUIRED, COUNT)            \
	F(INT, waiting_leases, REQUIRED, COUNT)         \
	F(INT, queues, REQUIRED, COUNT)                 \
	S(jobs, REQUIRED, counts)                       \
	F(INT, put_total, REQUIRED, COUNT)              \
	F(INT, workers, REQUIRED, COUNT)                \
	F(INT, slots, REQUIRED, COUNT)                  \
	F(INT, slots_free, REQUIRED, COUNT)             \
	F(INT, oldest_ready_age_ms, NULLABLE, COUNT)    \
	F(INT, backlog_ms, REQUIRED, COUNT)             \
	F(INT, wanted_concurrency, REQUIRED, COUNT)     \
	S(run_ms, NULLABLE, run_time)                   \
	S(store, REQUIRED, store_stats)

/* path: a directory on the broker's machine that is not there yet. */
#define FIELDS_server_backup(F, E, S, L, N, P, W) F(STR, path, REQUIRED, 1, 4095)

#define FIELDS_server_backup_result(F, E, S, L, N, P, W) \
	F(STR, path, REQUIRED, 1, 4095)                  \
	F(INT, jobs, REQUIRED, COUNT)                    \
	F(INT, artifacts, REQUIRED, COUNT)               \
	F(INT, bytes, REQUIRED, COUNT)                   \
	F(INT, damaged, OPTIONAL, COUNT)                 \
	F(INT, took_ms, REQUIRED, COUNT)

#define FIELDS_breach(F, E, S, L, N, P, W) F(STR, text, REQUIRED, LONG_TEXT)

/* breaches, set_aside: how many there are; the first of them stand in lines. */
#define FIELDS_server_check_result(F, E, S, L, N, P, W) \
	F(INT, jobs, REQUIRED, COUNT)                   \
	F(INT, artifacts, REQUIRED, COUNT)              \
	F(INT, breaches, REQUIRED, COUNT)               \
	F(INT, set_aside, REQUIRED, COUNT)              \
	L(lines, REQUIRED, breach, 0, MAX_BATCH)        \
	F(INT, took_ms, REQUIRED, COUNT)

/* Every message above, parts before what uses them. */
#define MESSAGE_TABLE(X)         \
	X(empty)                 \
	X(error)                 \
	X(backoff)               \
	X(eta)                   \
	X(waiting)               \
	X(run_time)              \
	X(media)                 \
	X(limits)                \
	X(worker)                \
	X(counts)                \
	X(hello)                 \
	X(hello_result)          \
	X(ping_result)           \
	X(job_put)               \
	X(job_put_result)        \
	X(job_put_many)          \
	X(job_put_many_result)   \
	X(job_id)                \
	X(job_wait)              \
	X(job_error)             \
	X(artifact)              \
	X(callback)              \
	X(job)                   \
	X(job_payload_result)    \
	X(job_list)              \
	X(job_list_result)       \
	X(job_filter)            \
	X(job_change)            \
	X(job_change_result)     \
	X(link_result)           \
	X(job_lease)             \
	X(leased_job)            \
	X(job_lease_result)      \
	X(extend_item)           \
	X(job_extend)            \
	X(extend_item_result)    \
	X(job_extend_result)     \
	X(job_checkpoint)        \
	X(complete_item)         \
	X(job_complete)          \
	X(complete_item_result)  \
	X(job_complete_result)   \
	X(job_fail)              \
	X(job_fail_result)       \
	X(job_release)           \
	X(job_release_result)    \
	X(job_cancel_notice)     \
	X(warm_notice)           \
	X(artifact_put)          \
	X(artifact_stored)       \
	X(artifact_begin)        \
	X(artifact_begin_result) \
	X(artifact_write)        \
	X(artifact_write_result) \
	X(artifact_commit)       \
	X(artifact_read)         \
	X(artifact_read_result)  \
	X(queue)                 \
	X(queue_list_result)     \
	X(queue_name)            \
	X(queue_set)             \
	X(queue_purge_result)    \
	X(limit_adaptive)        \
	X(limit_breaker)         \
	X(limit_spell)           \
	X(limit_name)            \
	X(limit_set)             \
	X(limit_now)             \
	X(limit)                 \
	X(limit_list_result)     \
	X(worker_name)           \
	X(worker_session)        \
	X(worker_list_result)    \
	X(worker_told)           \
	X(store_stats)           \
	X(server_stats_result)   \
	X(server_backup)         \
	X(server_backup_result)  \
	X(breach)                \
	X(server_check_result)

#define ROLES_ANY (ROLE_BIT(ROLE_PRODUCER) | ROLE_BIT(ROLE_WORKER) | ROLE_BIT(ROLE_ADMIN))
#define ROLES_P	  (ROLE_BIT(ROLE_PRODUCER) | ROLE_BIT(ROLE_ADMIN))
#define ROLES_W	  (ROLE_BIT(ROLE_WORKER) | ROLE_BIT(ROLE_ADMIN))
#define ROLES_PW  (ROLES_P | ROLES_W)
#define ROLES_A	  ROLE_BIT(ROLE_ADMIN)

/* X(symbol, name on the wire, who may call, params, result) */
#define METHOD_TABLE(X)                                                                     \
	X(session_hello, "session.hello", ROLES_ANY, hello, hello_result)                   \
	X(session_ping, "session.ping", ROLES_ANY, empty, ping_result)                      \
	X(job_put, "job.put", ROLES_P, job_put, job_put_result)                             \
	X(job_put_many, "job.put_many", ROLES_P, job_put_many, job_put_many_result)         \
	X(job_lease, "job.lease", ROLES_W, job_lease, job_lease_result)                     \
	X(job_lease_cancel, "job.lease_cancel", ROLES_W, empty, empty)                      \
	X(job_extend, "job.extend", ROLES_W, job_extend, job_extend_result)                 \
	X(job_checkpoint, "job.checkpoint", ROLES_W, job_checkpoint, empty)                 \
	X(job_complete, "job.complete", ROLES_W, job_complete, job_complete_result)         \
	X(job_fail, "job.fail", ROLES_W, job_fail, job_fail_result)                         \
	X(job_release, "job.release", ROLES_W, job_release, job_release_result)             \
	X(job_get, "job.get", ROLES_P, job_id, job)                                         \
	X(job_wait, "job.wait", ROLES_P, job_wait, job)                                     \
	X(job_payload, "job.payload", ROLES_P, job_id, job_payload_result)                  \
	X(job_list, "job.list", ROLES_A, job_list, job_list_result)                         \
	X(job_cancel, "job.cancel", ROLES_P, job_change, job_change_result)                 \
	X(job_retry, "job.retry", ROLES_P, job_change, job_change_result)                   \
	X(job_erase, "job.erase", ROLES_P, job_change, job_change_result)                   \
	X(job_redeliver, "job.redeliver", ROLES_P, job_change, job_change_result)           \
	X(link_rotate, "link.rotate", ROLES_P, job_id, link_result)                         \
	X(link_revoke, "link.revoke", ROLES_P, job_id, empty)                               \
	X(artifact_put, "artifact.put", ROLES_PW, artifact_put, artifact_stored)            \
	X(artifact_begin, "artifact.begin", ROLES_W, artifact_begin, artifact_begin_result) \
	X(artifact_write, "artifact.write", ROLES_W, artifact_write, artifact_write_result) \
	X(artifact_commit, "artifact.commit", ROLES_W, artifact_commit, artifact_stored)    \
	X(artifact_read, "artifact.read", ROLES_P, artifact_read, artifact_read_result)     \
	X(queue_list, "queue.list", ROLES_A, empty, queue_list_result)                      \
	X(queue_get, "queue.get", ROLES_A, queue_name, queue)                               \
	X(queue_set, "queue.set", ROLES_A, queue_set, queue)                                \
	X(queue_pause, "queue.pause", ROLES_A, queue_name, queue)                           \
	X(queue_resume, "queue.resume", ROLES_A, queue_name, queue)                         \
	X(queue_purge, "queue.purge", ROLES_A, queue_name, queue_purge_result)              \
	X(limit_list, "limit.list", ROLES_A, empty, limit_list_result)                      \
	X(limit_get, "limit.get", ROLES_A, limit_name, limit)                               \
	X(limit_set, "limit.set", ROLES_A, limit_set, limit)                                \
	X(limit_delete, "limit.delete", ROLES_A, limit_name, empty)                         \
	X(worker_list, "worker.list", ROLES_A, empty, worker_list_result)                   \
	X(worker_quiet, "worker.quiet", ROLES_A, worker_name, worker_told)                  \
	X(worker_stop, "worker.stop", ROLES_A, worker_name, worker_told)                    \
	X(server_stats, "server.stats", ROLES_A, empty, server_stats_result)                \
	X(server_backup, "server.backup", ROLES_A, server_backup, server_backup_result)     \
	X(server_check, "server.check", ROLES_A, empty, server_check_result)

#endif
