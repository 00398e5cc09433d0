/* What was asked, and what was acknowledged. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "tests/harness/fault_life_priv.h"

void life__wrong(struct life *l, const struct life_job *j, const char *fmt, ...)
{
	size_t n;
	va_list args;

	if (l->wrong[0])
		return;
	n = (size_t)snprintf(l->wrong, sizeof(l->wrong), "life %u, job %u %s: ", l->number, j ? j->number : 0,
			     j ? j->id : "");
	va_start(args, fmt);
	vsnprintf(l->wrong + n, sizeof(l->wrong) - n, fmt, args);
	va_end(args);
}

/* ---- bytes, each known by what they belong to ---- */

void life__fill(const struct life *l, const struct life_job *j, const char *what, int version, void *ret, size_t size)
{
	uint32_t state = 2166136261u;
	unsigned char *bytes = ret;

	state = (state ^ l->number) * 16777619u;
	state = (state ^ j->number) * 16777619u;
	state = (state ^ (uint32_t)version) * 16777619u;
	for (const char *p = what; *p; p++)
		state = (state ^ (unsigned char)*p) * 16777619u;
	for (size_t i = 0; i < size; i++) {
		state ^= state << 13;
		state ^= state >> 17;
		state ^= state << 5;
		bytes[i] = (unsigned char)state;
	}
}

/* ---- what was asked and acknowledged ---- */

static uint64_t here(const struct life *l)
{
	return atomic_load(&l->fault->control->log_bytes);
}

struct life_mark life__asked(const struct life *l)
{
	return (struct life_mark){ .from = here(l), .at = LIFE_NEVER };
}

/* What the answer means for the mark. True where it was acknowledged. */
bool life__settle_as(struct life *l, const struct life_job *j, struct life_mark *mark, int code,
		     const struct raincheck_error *e, const char *what)
{
	switch (code) {
	case 0:
		mark->at = here(l);
		l->acknowledged++;
		return true;
	case RAINCHECK_ENO_CONNECTION:
	case RAINCHECK_ETIMED_OUT:
		l->lost = true;
		return false;
	case RAINCHECK_ESTORE_FULL:
		l->unexplained += e->retry_after_ms <= 0;
		/* fall through */
	case RAINCHECK_ESTORE_ERROR:
	case RAINCHECK_EINTERNAL:
		/* Refused is refused: nothing was changed. */
		l->refused++;
		if (!l->doubting)
			mark->from = LIFE_NEVER;
		return false;
	default:
		life__wrong(l, j, "%s: %s: %s", what, raincheck_error_name(code), e->message);
		mark->from = LIFE_NEVER;
		return false;
	}
}

bool life__settle(struct life *l, const struct life_job *j, struct life_mark *mark, int code, const char *what)
{
	return life__settle_as(l, j, mark, code, raincheck_last_error(l->rc), what);
}

struct life_event *life__new_event(struct life *l, struct life_job *j, uint32_t states)
{
	struct life_event *e = &j->events[j->event_count++];

	*e = (struct life_event){ .mark = life__asked(l), .states = states };
	return e;
}

struct life_mark *life__new_version(struct life *l, struct life_bytes *b)
{
	struct life_mark *m = &b->versions[b->count++];

	*m = life__asked(l);
	return m;
}

/* The artifact of that name, about to be written. */
struct life_mark *life__new_artifact(struct life *l, struct life_job *j, const char *name, size_t size)
{
	struct life_artifact *a = j->artifacts;

	while (a < &j->artifacts[j->artifact_count] && strcmp(a->name, name) != 0)
		a++;
	if (a == &j->artifacts[j->artifact_count])
		j->artifact_count++;
	a->name = name;
	a->sizes[a->bytes.count] = size;
	return life__new_version(l, &a->bytes);
}

struct life_artifact *life__artifact_of(struct life_job *j, const char *name)
{
	for (int i = 0; i < j->artifact_count; i++)
		if (strcmp(j->artifacts[i].name, name) == 0)
			return &j->artifacts[i];
	return NULL;
}

/* The lease that is held, or NULL. */
const char *life__lease_of(const struct life_job *j)
{
	int last = j->event_count - 1;

	/* What was refused did not happen. */
	while (last > 0 && j->events[last].mark.from == LIFE_NEVER)
		last--;
	return j->events[last].mark.at != LIFE_NEVER && j->events[last].lease[0] ? j->events[last].lease : NULL;
}
