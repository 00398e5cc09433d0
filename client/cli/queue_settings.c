#include "queue_settings.h"

#include <stdlib.h>
#include <string.h>

#include "assign.h"
#include "proto/base/clean.h"
#include "value.h"

/* ---- values of their own ---- */

static int read_backoff(void *settings, const char *text, struct settings_error *error)
{
	(void)settings;
	(void)text;
	return settings_refuse(error, "backoff can be taken back as a whole only; set backoff.base and the like");
}

static int read_admit(void *settings, const char *text, struct settings_error *error)
{
	struct queue_draft *d = settings;

	for (enum raincheck_admission a = RAINCHECK_ADMIT_ALWAYS; a <= RAINCHECK_ADMIT_DEADLINE; a++) {
		if (strcmp(text, raincheck_admission_name(a)) == 0) {
			d->set.admit = a;
			return 0;
		}
	}
	return settings_refuse(error, "admit must be always or deadline, not \"%.60s\"", text);
}

/* "vip:5"; a group's name may have colons of its own. The text is cut into its parts. */
static int read_weight(char *text, int64_t *ret, struct settings_error *error)
{
	char *colon = strrchr(text, ':');

	if (!colon || colon == text)
		return settings_refuse(error, "weights must be GROUP:WEIGHT,GROUP:WEIGHT..., not \"%.60s\"", text);
	*colon = '\0';
	if (value_whole(colon + 1, ret) < 0 || *ret < 1)
		return settings_refuse(error, "weights: that of %.60s must be a whole number from 1, not \"%.60s\"",
				       text, colon + 1);
	return 0;
}

static bool is_named(const struct raincheck_group_weight *weights, size_t count, const char *group)
{
	size_t i = 0;

	while (i < count && strcmp(weights[i].group, group) != 0)
		i++;
	return i < count;
}

/* Cuts text at its commas; weights has room for as many as there are. */
static int cut_weights(char *text, struct raincheck_group_weight *weights, struct settings_error *error)
{
	size_t count = 0;

	for (char *next = text; next; count++) {
		char *group = strsep(&next, ",");
		int rc = read_weight(group, &weights[count].weight, error);

		if (rc < 0)
			return rc;
		if (is_named(weights, count, group))
			return settings_refuse(error, "weights: %.60s is there twice", group);
		weights[count].group = group;
	}
	return 0;
}

static int read_weights(void *settings, const char *text, struct settings_error *error)
{
	struct queue_draft *d = settings;
	_cleanup_free_ struct raincheck_group_weight *weights = NULL;
	_cleanup_free_ char *groups = strdup(text);
	size_t count = 1;
	int rc;

	for (const char *at = text; *at; at++)
		count += *at == ',';
	weights = calloc(count, sizeof(*weights));
	if (!weights || !groups) {
		settings_refuse(error, "out of memory");
		return RAINCHECK_ENO_MEMORY;
	}
	rc = cut_weights(groups, weights, error);
	if (rc < 0)
		return rc;
	queue_draft_done(d);
	d->set.weights = d->weights = TAKE_PTR(weights);
	d->set.weight_count = count;
	d->groups = TAKE_PTR(groups);
	return 0;
}

/* ---- the table ---- */

#define AT(member)    offsetof(struct queue_draft, set.member)
#define WIDTH(member) sizeof(((struct queue_draft *)0)->set.member)
#define KEY(name, kind, member, has, bit)                                                                  \
	{                                                                                                  \
		name, ASSIGN_##kind, AT(member), WIDTH(member), has, (unsigned)RAINCHECK_QUEUE_##bit, NULL \
	}
#define OWN(name, read, member, has, bit)                                                               \
	{                                                                                               \
		name, ASSIGN_OWN, AT(member), WIDTH(member), has, (unsigned)RAINCHECK_QUEUE_##bit, read \
	}

static const struct assign_key keys[] = {
	KEY("title", TEXT, title, 0, TITLE),
	KEY("paused", YES_NO, paused, AT(has_paused), PAUSED),
	KEY("max_jobs", COUNT, max_jobs, AT(has_max_jobs), MAX_JOBS),
	KEY("max_bytes", SIZE, max_bytes, AT(has_max_bytes), MAX_BYTES),
	KEY("max_attempts", COUNT, max_attempts, 0, MAX_ATTEMPTS),
	OWN("backoff", read_backoff, backoff, 0, BACKOFF),
	KEY("backoff.base", DURATION, backoff.base_ms, AT(backoff.has_base_ms), BACKOFF_BASE),
	KEY("backoff.factor", NUMBER, backoff.factor, 0, BACKOFF_FACTOR),
	KEY("backoff.max", DURATION, backoff.max_ms, 0, BACKOFF_MAX),
	KEY("backoff.jitter", NUMBER, backoff.jitter, AT(backoff.has_jitter), BACKOFF_JITTER),
	KEY("attempt_timeout", DURATION, attempt_timeout_ms, 0, ATTEMPT_TIMEOUT),
	KEY("result_ttl", DURATION, result_ttl_ms, AT(has_result_ttl_ms), RESULT_TTL),
	KEY("limit", TEXT, limit, 0, LIMIT),
	KEY("weight", COUNT, weight, 0, WEIGHT),
	OWN("weights", read_weights, weight_count, 0, WEIGHTS),
	OWN("admit", read_admit, admit, AT(has_admit), ADMIT),
};

static const struct assign_table table = { keys, ARRAY_SIZE(keys), AT(defaults) };

void queue_draft_done(struct queue_draft *d)
{
	free(d->weights);
	free(d->groups);
	d->weights = NULL;
	d->groups = NULL;
}

int queue_settings_assign(struct queue_draft *d, const char *assignment, struct settings_error *error)
{
	return assign(&table, d, assignment, error);
}
