/* convert.h: between the public structs of raincheck.h and the wire's messages.
 *
 * Parameters become messages that point into them and into an arena; results become public structs in an arena. What
 * would let the encoder leave its tables or memory (ids, tokens, enums, counts) is checked here; all else is the
 * broker's to judge. Any thread; no state.
 */
#ifndef RAINCHECK_CLIENT_CONVERT_H
#define RAINCHECK_CLIENT_CONVERT_H

#include <msgpack.h>

#include "proto/error.h"
#include "proto/messages.h"
#include "raincheck.h"

/* Each: ERR_BAD_REQUEST with the field in info, ERR_TOO_LARGE, ERR_NO_MEMORY. */
int convert_id(const char *text, const char *field, struct uuid *ret, struct error_info *info);
int convert_put(const struct raincheck_put *in, msgpack_zone *arena, struct msg_job_put *ret, struct error_info *info);
int convert_list(const struct raincheck_list *in, struct msg_job_list *ret, struct error_info *info);
int convert_change(const struct raincheck_change *in, struct msg_job_change *ret, struct error_info *info);
int convert_queue_set(const struct raincheck_queue_set *in, msgpack_zone *arena, struct msg_queue_set *ret,
		      struct error_info *info);
int convert_limit_set(const struct raincheck_limit_set *in, msgpack_zone *arena, struct msg_limit_set *ret,
		      struct error_info *info);
int convert_lease(const struct raincheck_lease *in, msgpack_zone *arena, struct msg_job_lease *ret,
		  struct error_info *info);
int convert_extend(const struct raincheck_extend *in, msgpack_zone *arena, struct msg_job_extend *ret,
		   struct error_info *info);
int convert_checkpoint(const struct raincheck_checkpoint *in, struct msg_job_checkpoint *ret, struct error_info *info);
int convert_complete(const struct raincheck_complete *in, struct msg_complete_item *ret, struct error_info *info);
int convert_complete_many(const struct raincheck_complete *in, size_t count, msgpack_zone *arena,
			  struct msg_job_complete *ret, struct error_info *info);
int convert_fail(const struct raincheck_fail *in, struct msg_job_fail *ret, struct error_info *info);
int convert_woken(const struct raincheck_woken *in, struct msg_job_woken *ret, struct error_info *info);
int convert_release(const struct raincheck_release *in, struct msg_job_release *ret, struct error_info *info);
int convert_artifact_put(const struct raincheck_artifact_put *in, struct msg_artifact_put *ret,
			 struct error_info *info);
int convert_artifact_begin(const struct raincheck_artifact_begin *in, struct msg_artifact_begin *ret,
			   struct error_info *info);
int convert_artifact_write(const struct raincheck_artifact_write *in, struct msg_artifact_write *ret,
			   struct error_info *info);
int convert_artifact_commit(const struct raincheck_artifact_commit *in, struct msg_artifact_commit *ret,
			    struct error_info *info);
int convert_artifact_read(const struct raincheck_artifact_read *in, struct msg_artifact_read *ret,
			  struct error_info *info);

/* Texts of count strings in arena; NULL entries become empty. */
int convert_names(const char *const *in, size_t count, msgpack_zone *arena, struct slice **ret);

/* The result of method, decoded in the struct of its message, as the public struct, in arena. Bytes (payloads, data)
 * are copied into the arena if copy is set, else point where the message's do. *ret is NULL for a method whose result
 * is empty. ERR_NO_MEMORY. */
int convert_result(enum method_id method, const void *message, msgpack_zone *arena, bool copy, void **ret);

/* How many items a decoded result has that must be as many as were sent; 0 for all other methods. */
size_t convert_count_items(enum method_id method, const void *message);

/* A result that owns its memory: taken back by raincheck_free(). ERR_NO_MEMORY. */
int convert_owned_result(enum method_id method, const void *message, void **ret);

#endif
