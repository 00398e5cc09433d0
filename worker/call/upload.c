/*  FILLING ──full──▶ BEGINNING ──answered──▶ STREAMING ──all answered──▶ COMMITTING ──answered──▶ DONE
 *     │                  ▲                        │                           │
 *     │                  └────── connection broke, and the bytes are kept ────┘
 *     └──finished, small──▶ PUTTING ──answered──▶ DONE      (or straight to DONE, handed over)
 *
 * Bytes wait in "pending" until they are sent; an upload that keeps them has them in its spool from BEGINNING on and
 * sends from there, so starting again is nothing but sending from offset 0. pump() does whatever the state allows and
 * is called after every change; it never calls back out from within feed or finish.
 */
#include "worker/call/upload.h"

#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "proto/base/buf.h"
#include "proto/base/clean.h"
#include "proto/base/clock.h"
#include "proto/base/text.h"
#include "proto/error.h"
#include "worker/call/broker_link.h"
#include "worker/call/media.h"
#include "worker/call/spool.h"
#include "worker/config/upstream.h"

#define PIECE_BYTES    262144
#define INLINE_BYTES   65536
#define UNANSWERED_MAX 4
#define RESTARTS_MAX   5 /* of those that nothing explains */

enum upload_state { FILLING, BEGINNING, STREAMING, COMMITTING, PUTTING, DONE };

struct upload {
	struct upload_spec spec;
	enum upload_state state;
	struct buf pending; /* fed and not yet sent or spooled */
	int spool;	    /* −1: none */
	int64_t fed;
	int64_t sent;
	unsigned unanswered;
	unsigned restarts;
	unsigned turn; /* of the connection over which it was begun, see broker_link_turns() */
	bool judged;
	bool finished;
	bool feeder_waits;
	bool lost;    /* the broker does not know the upload any more */
	bool excused; /* … for a reason that goes away by itself */
	bool pausing; /* to be begun again, and not at once */
	bool abandoned;
	gnutls_hash_hd_t hash;
	struct broker_op op; /* begin, put, commit, or a piece that had to wait */
	size_t op_size;	     /* of that piece */
	char token[RAINCHECK_TOKEN_SIZE];
	char sha256[RAINCHECK_SHA256_SIZE];
	char type[MEDIA_TYPE_SIZE];
	char why[256];
};

static void pump(struct upload *up);

int upload_new(const struct upload_spec *spec, struct upload **ret_upload)
{
	struct upload *up = calloc(1, sizeof(*up));

	if (!up)
		return ERR_NO_MEMORY;
	if (gnutls_hash_init(&up->hash, GNUTLS_DIG_SHA256) < 0) {
		free(up);
		return ERR_INTERNAL;
	}
	up->spec = *spec;
	up->spool = -1;
	buf_init(&up->pending, 2 * PIECE_BYTES);
	*ret_upload = up;
	return 0;
}

static void destroy(struct upload *up)
{
	gnutls_hash_deinit(up->hash, NULL);
	buf_done(&up->pending);
	if (up->spool >= 0)
		close(up->spool);
	free(up);
}

void upload_free(struct upload *up)
{
	if (!up)
		return;
	broker_op_cancel(&up->op);
	up->abandoned = true;
	/* Answers to pieces still come and look at it. */
	if (up->unanswered == 0)
		destroy(up);
}

const char *upload_why(const struct upload *up)
{
	return up->why;
}

int64_t upload_bytes(const struct upload *up)
{
	return up->fed;
}

bool upload_was_cut_off(const struct upload *up)
{
	return up->lost && up->turn != broker_link_turns(up->spec.link);
}

bool upload_was_excused(const struct upload *up)
{
	return up->lost && up->excused;
}

bool upload_is_fed(const struct upload *up)
{
	return up->finished;
}

struct slice upload_inline(const struct upload *up, const char **ret_content_type)
{
	if (!up->spec.hand_over || up->fed > INLINE_BYTES || up->state != DONE)
		return slice_of(NULL, 0);
	*ret_content_type = up->type;
	return buf_slice(&up->pending);
}

static void end(struct upload *up, int code, const char *why)
{
	up->state = DONE;
	if (why != up->why)
		snprintf(up->why, sizeof(up->why), "%s", why);
	/* The callback may free it. */
	up->spec.done_cb(up, code, up->why, up->spec.user);
}

/* ---- talking to the broker ---- */

/* The upload as the broker knew it is gone. The first answer says why: a broker that cannot take a piece forgets the
 * upload, and does not know it when the pieces come that were on their way. */
static void lose(struct upload *up, int code, const char *why)
{
	if (!up->lost)
		snprintf(up->why, sizeof(up->why), "%s", why);
	up->lost = true;
	up->excused |= broker_retryable(code);
}

/* An answer that is not success to something that cannot simply be repeated: true when the upload is over. */
static bool is_fatal(int code)
{
	return !broker_retryable(code) && code != RAINCHECK_ENOT_FOUND && code != RAINCHECK_EGONE &&
	       code != RAINCHECK_EBAD_REQUEST && code != RAINCHECK_ECANCELED;
}

static void settle(struct upload *up, const struct raincheck_reply *reply)
{
	if (reply->code < 0 && is_fatal(reply->code) && up->state != DONE) {
		end(up, reply->code, reply->error->message);
		return;
	}
	if (reply->code < 0)
		lose(up, reply->code, reply->error->message);
	pump(up);
}

static void written_cb(struct raincheck *rc, const struct raincheck_reply *reply, void *user)
{
	struct upload *up = user;

	(void)rc;
	up->unanswered--;
	if (up->abandoned) {
		if (up->unanswered == 0)
			destroy(up);
		return;
	}
	if (up->state != DONE)
		settle(up, reply);
}

static int send_begin(struct broker_op *op, struct raincheck *rc, raincheck_cb cb, void *user)
{
	struct upload *up = CONTAINER_OF(op, struct upload, op);
	struct raincheck_artifact_begin begin = {
		.id = up->spec.job,
		.lease = up->spec.lease,
		.name = up->spec.name,
		.content_type = up->type,
	};

	/* As if it had been refused for now: the link tries again after a pause. */
	if (up->pausing) {
		up->pausing = false;
		return RAINCHECK_ETHROTTLED;
	}
	return raincheck_artifact_begin_async(rc, &begin, cb, user);
}

static void begun_cb(struct broker_op *op, const struct raincheck_reply *reply)
{
	struct upload *up = CONTAINER_OF(op, struct upload, op);

	if (reply->code < 0) {
		end(up, reply->code, reply->error->message);
		return;
	}
	memcpy(up->token, reply->upload->upload, sizeof(up->token));
	up->turn = broker_link_turns(up->spec.link);
	up->state = STREAMING;
	pump(up);
}

static int send_put(struct broker_op *op, struct raincheck *rc, raincheck_cb cb, void *user)
{
	struct upload *up = CONTAINER_OF(op, struct upload, op);
	struct raincheck_artifact_put put = {
		.id = up->spec.job,
		.lease = up->spec.lease,
		.name = up->spec.name,
		.content_type = up->type,
		.data = { up->pending.data, up->pending.size },
	};

	return raincheck_artifact_put_async(rc, &put, cb, user);
}

static void put_cb(struct broker_op *op, const struct raincheck_reply *reply)
{
	struct upload *up = CONTAINER_OF(op, struct upload, op);

	end(up, reply->code, reply->code < 0 ? reply->error->message : "");
}

static int send_hand_over(struct broker_op *op, struct raincheck *rc, raincheck_cb cb, void *user)
{
	(void)op;
	(void)rc;
	(void)cb;
	(void)user;
	/* Nothing to send: the link tells this refusal from its timer. */
	return RAINCHECK_ECANCELED;
}

static void handed_over_cb(struct broker_op *op, const struct raincheck_reply *reply)
{
	(void)reply;
	end(CONTAINER_OF(op, struct upload, op), 0, "");
}

static void start_op(struct upload *up, enum upload_state state,
		     int (*send)(struct broker_op *, struct raincheck *, raincheck_cb, void *),
		     void (*done)(struct broker_op *, const struct raincheck_reply *))
{
	up->state = state;
	up->op = (struct broker_op){
		.send = send,
		.done_cb = done,
		.give_up_at_ms = up->spec.give_up_at_ms,
		/* Whatever the broker refuses of an upload, it forgets it: repeated, it would not be known. */
		.once = state == STREAMING || state == COMMITTING,
	};
	broker_op_start(up->spec.link, &up->op);
}

/* The next piece to send, in *data; 0 bytes when it is not there yet. */
static int next_piece(struct upload *up, uint8_t *room, const void **ret_data, size_t *ret_size)
{
	int64_t left = up->fed - up->sent;
	size_t size = left < PIECE_BYTES ? (size_t)left : PIECE_BYTES;

	if (size < PIECE_BYTES && !up->finished)
		size = 0;
	*ret_size = size;
	*ret_data = up->pending.data;
	if (size == 0 || up->spool < 0)
		return 0;
	*ret_data = room;
	return spool_read(up->spool, up->sent, room, size);
}

static void piece_sent(struct upload *up, size_t size)
{
	up->sent += (int64_t)size;
	if (up->spool < 0)
		buf_consume(&up->pending, size);
}

static int write_piece(struct upload *up, struct raincheck *rc, raincheck_cb cb, void *user, size_t *ret_size)
{
	_cleanup_free_ uint8_t *room = up->spool >= 0 ? malloc(PIECE_BYTES) : NULL;
	struct raincheck_artifact_write write = { .upload = up->token, .offset = up->sent };
	int code;

	if (up->spool >= 0 && !room)
		return ERR_NO_MEMORY;
	code = next_piece(up, room, &write.data.data, &write.data.size);
	*ret_size = write.data.size;
	if (code < 0 || write.data.size == 0)
		return code;
	return raincheck_artifact_write_async(rc, &write, cb, user);
}

static int send_again(struct broker_op *op, struct raincheck *rc, raincheck_cb cb, void *user)
{
	struct upload *up = CONTAINER_OF(op, struct upload, op);

	return write_piece(up, rc, cb, user, &up->op_size);
}

static void sent_again_cb(struct broker_op *op, const struct raincheck_reply *reply)
{
	struct upload *up = CONTAINER_OF(op, struct upload, op);

	if (reply->code == 0)
		piece_sent(up, up->op_size);
	settle(up, reply);
}

/* When too much waits in the connection already, an answer to an earlier piece brings us back here; where there is
 * none, the piece is left to an op, which tries again after a pause. */
static int send_pieces(struct upload *up)
{
	size_t size;
	int rc;

	while (up->unanswered < UNANSWERED_MAX && !broker_op_under_way(&up->op)) {
		rc = write_piece(up, broker_link_handle(up->spec.link), written_cb, up, &size);
		if (rc == RAINCHECK_ETHROTTLED && up->unanswered == 0)
			start_op(up, STREAMING, send_again, sent_again_cb);
		if (rc == RAINCHECK_ETHROTTLED)
			return 0;
		if (rc < 0 || size == 0)
			return rc;
		up->unanswered++;
		piece_sent(up, size);
	}
	return 0;
}

/* True when the broker has all of it. */
static bool is_through(const struct upload *up)
{
	return up->state == STREAMING && !up->lost && up->finished && up->sent == up->fed && up->unanswered == 0 &&
	       !broker_op_under_way(&up->op);
}

static int send_commit(struct broker_op *op, struct raincheck *rc, raincheck_cb cb, void *user)
{
	struct upload *up = CONTAINER_OF(op, struct upload, op);
	struct raincheck_artifact_commit commit = { .upload = up->token, .sha256 = up->sha256 };

	return raincheck_artifact_commit_async(rc, &commit, cb, user);
}

static void committed_cb(struct broker_op *op, const struct raincheck_reply *reply)
{
	struct upload *up = CONTAINER_OF(op, struct upload, op);

	if (reply->code < 0)
		settle(up, reply);
	else
		end(up, 0, "");
}

static void commit_if_through(struct upload *up)
{
	if (is_through(up))
		start_op(up, COMMITTING, send_commit, committed_cb);
}

/* What is kept cannot be had again: as long as it is the connection that ends, or a broker that is full or busy, only
 * time ends the upload. */
static bool may_restart(struct upload *up)
{
	if (up->spool < 0 || clock_mono_ms() >= up->spec.give_up_at_ms)
		return false;
	return upload_was_cut_off(up) || up->excused || ++up->restarts <= RESTARTS_MAX;
}

/* After the last answer of an upload that was lost: from the beginning, or not at all. */
static void restart(struct upload *up)
{
	if (up->unanswered > 0 || broker_op_under_way(&up->op))
		return;
	if (!may_restart(up)) {
		end(up, ERR_GONE, up->why);
		return;
	}
	up->pausing = !upload_was_cut_off(up);
	up->lost = up->excused = false;
	up->sent = 0;
	start_op(up, BEGINNING, send_begin, begun_cb);
}

static void tell_room(struct upload *up)
{
	if (!up->feeder_waits || up->finished || up->fed - up->sent >= PIECE_BYTES)
		return;
	up->feeder_waits = false;
	up->spec.room_cb(up, up->spec.user);
}

/* Does what there is to do. Only from callbacks: it may end the upload. */
static void pump(struct upload *up)
{
	int rc = 0;

	if (up->lost) {
		restart(up);
		return;
	}
	if (up->state != STREAMING)
		return;
	rc = send_pieces(up);
	if (rc < 0) {
		lose(up, rc, error_text(rc));
		restart(up);
		return;
	}
	commit_if_through(up);
	tell_room(up);
}

/* ---- taking bytes ---- */

static int judge(struct upload *up, const char *content_type)
{
	int rc;

	if (up->judged)
		return 0;
	rc = media_judge(up->spec.name, content_type, buf_slice(&up->pending), up->spec.types->items,
			 up->spec.types->count, up->type, up->why, sizeof(up->why));
	up->judged = rc == 0;
	return rc;
}

static int too_large(struct upload *up, int64_t size)
{
	snprintf(up->why, sizeof(up->why), "the %s has %lld bytes or more, and max_bytes is %lld", up->spec.name,
		 (long long)size, (long long)up->spec.max_bytes);
	return ERR_TOO_LARGE;
}

/* Says why the bytes cannot be taken, which is what happened to the spool where it was the disk. */
static int not_taken(struct upload *up, int code)
{
	snprintf(up->why, sizeof(up->why), "%s",
		 code == ERR_IO ? "it cannot be kept in a temporary file" : error_text(code));
	return code;
}

/* Where the piece goes: the spool, once there is one. */
static int keep(struct upload *up, struct slice piece)
{
	if (up->spool >= 0)
		return spool_write(up->spool, up->fed, piece.data, piece.size);
	return buf_append(&up->pending, piece.data, piece.size);
}

static int start_streaming(struct upload *up)
{
	int rc = 0;

	if (up->spec.keep) {
		rc = spool_open(&up->spool);
		if (rc == 0)
			rc = spool_write(up->spool, 0, up->pending.data, up->pending.size);
		buf_done(&up->pending);
	}
	if (rc < 0)
		return rc;
	start_op(up, BEGINNING, send_begin, begun_cb);
	return 0;
}

/* Sends what may be sent. The upload may only end from a callback, so a failure here is for the caller to tell. */
static int push(struct upload *up)
{
	if (up->state == FILLING && up->fed >= PIECE_BYTES)
		return start_streaming(up);
	return up->state == STREAMING && !up->lost ? send_pieces(up) : 0;
}

int upload_feed(struct upload *up, const char *content_type, int64_t total, struct slice piece)
{
	int64_t size = total > up->fed + (int64_t)piece.size ? total : up->fed + (int64_t)piece.size;
	int rc;

	if (size > up->spec.max_bytes)
		return too_large(up, size);
	/* What cannot be had again is taken at once: its sender may not wait until the broker is back. */
	if (up->spool < 0 && up->fed - up->sent >= PIECE_BYTES) {
		up->feeder_waits = true;
		return UPLOAD_WAIT;
	}
	rc = keep(up, piece);
	if (rc < 0)
		return not_taken(up, rc);
	gnutls_hash(up->hash, piece.data, piece.size);
	up->fed += (int64_t)piece.size;
	if (up->fed >= MEDIA_HEAD_BYTES) {
		rc = judge(up, content_type);
		if (rc < 0)
			return rc;
	}
	rc = push(up);
	return rc < 0 ? not_taken(up, rc) : UPLOAD_TOOK;
}

int upload_finish(struct upload *up, const char *content_type)
{
	uint8_t digest[32];
	int rc;

	rc = judge(up, content_type);
	if (rc < 0)
		return rc;
	gnutls_hash_output(up->hash, digest);
	hex_encode(digest, sizeof(digest), up->sha256);
	up->finished = true;
	if (up->state != FILLING) {
		rc = push(up);
		if (rc < 0)
			return not_taken(up, rc);
		commit_if_through(up);
		return 0;
	}
	if (up->spec.hand_over && up->fed <= INLINE_BYTES)
		start_op(up, PUTTING, send_hand_over, handed_over_cb);
	else
		start_op(up, PUTTING, send_put, put_cb);
	return 0;
}
