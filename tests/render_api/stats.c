/* Counts and names behind one mutex. The names are a libc search tree: entries are only added, and all dropped at once
 * by a reset, so there is nothing to delete one by one. */
#include "stats.h"

#include <errno.h>
#include <pthread.h>
#include <search.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util.h"

#define SEEN_BYTES 256

struct name {
	uint64_t submits;
	uint64_t paid;
	uint64_t polls; /* counted for shapes only */
	int turns[TURNS];
	char text[];
};

struct stats {
	pthread_mutex_t lock;
	uint64_t counts[STATS];
	void *names; /* tsearch root of struct name, ordered by text */
	size_t name_count;
	size_t names_cap;
	uint64_t names_not_kept;
	bool visited[DOORS];
	char seen[DOORS][SEEN_BYTES];
};

static const char *const stat_names[STATS] = {
	[STAT_SUBMITS] = "submits",
	[STAT_PAID] = "paid",
	[STAT_REPLAYS] = "replays",
	[STAT_RENDERS] = "renders",
	[STAT_POLLS] = "polls",
	[STAT_POLL_FAILURES] = "poll_failures",
	[STAT_FETCHES] = "fetches",
	[STAT_LOOKUPS] = "lookups",
	[STAT_THROTTLED] = "throttled",
	[STAT_REFUSED] = "refused",
	[STAT_FAILED] = "failed",
	[STAT_CANCELLED] = "cancelled",
	[STAT_WASTED] = "wasted",
	[STAT_ABANDONED] = "abandoned",
	[STAT_HOOKS] = "hooks",
	[STAT_HOOK_FAILURES] = "hook_failures",
	[STAT_CONNECTIONS] = "connections",
};

static const char *const door_names[DOORS] = {
	[DOOR_SUBMIT] = "submit", [DOOR_POLL] = "poll",	  [DOOR_RESULT] = "result",
	[DOOR_FILE] = "file",	  [DOOR_MOVED] = "moved",
};

static int name_compare(const void *a, const void *b)
{
	return strcmp(((const struct name *)a)->text, ((const struct name *)b)->text);
}

static struct name *name_new(const char *text)
{
	size_t bytes = strlen(text) + 1;
	struct name *n = calloc(1, sizeof(*n) + bytes);

	if (n != NULL)
		memcpy(n->text, text, bytes);
	return n;
}

/* Finds or adds the name; NULL when it cannot be kept. The lock is held. */
static struct name *name_at(struct stats *s, const char *text)
{
	struct name *fresh = name_new(text);
	struct name *const *found;

	if (fresh == NULL)
		goto not_kept;
	found = s->name_count < s->names_cap ? tsearch(fresh, &s->names, name_compare)
					     : tfind(fresh, &s->names, name_compare);
	if (found == NULL)
		goto not_kept;
	if (*found != fresh)
		free(fresh);
	else
		s->name_count++;
	return *found;

not_kept:
	free(fresh);
	s->names_not_kept++;
	return NULL;
}

int stats_new(size_t names_cap, struct stats **ret_stats)
{
	struct stats *s = calloc(1, sizeof(*s));

	if (s == NULL)
		return -ENOMEM;
	pthread_mutex_init(&s->lock, NULL);
	s->names_cap = names_cap;
	*ret_stats = s;
	return 0;
}

void stats_free(struct stats *s)
{
	if (s == NULL)
		return;
	tdestroy(s->names, free);
	pthread_mutex_destroy(&s->lock);
	free(s);
}

void stats_add(struct stats *s, enum stat what)
{
	pthread_mutex_lock(&s->lock);
	s->counts[what]++;
	pthread_mutex_unlock(&s->lock);
}

void stats_submit(struct stats *s, const char *name)
{
	struct name *n;

	pthread_mutex_lock(&s->lock);
	s->counts[STAT_SUBMITS]++;
	n = name_at(s, name);
	if (n != NULL)
		n->submits++;
	pthread_mutex_unlock(&s->lock);
}

void stats_paid(struct stats *s, const char *name)
{
	struct name *n;

	pthread_mutex_lock(&s->lock);
	s->counts[STAT_PAID]++;
	n = name_at(s, name);
	if (n != NULL)
		n->paid++;
	pthread_mutex_unlock(&s->lock);
}

void stats_polled(struct stats *s, const char *name)
{
	struct name *n;

	pthread_mutex_lock(&s->lock);
	s->counts[STAT_POLLS]++;
	n = name_at(s, name);
	if (n != NULL)
		n->polls++;
	pthread_mutex_unlock(&s->lock);
}

void stats_saw(struct stats *s, enum stats_door door, const char *authorization)
{
	pthread_mutex_lock(&s->lock);
	s->visited[door] = true;
	snprintf(s->seen[door], SEEN_BYTES, "%s", authorization == NULL ? "" : authorization);
	pthread_mutex_unlock(&s->lock);
}

bool stats_take_turn(struct stats *s, const char *name, enum stats_turn turn, int times)
{
	struct name *n;
	bool taken = false;

	if (times <= 0)
		return false;
	pthread_mutex_lock(&s->lock);
	n = name_at(s, name);
	if (n != NULL && n->turns[turn] < times) {
		n->turns[turn]++;
		taken = true;
	}
	pthread_mutex_unlock(&s->lock);
	return taken;
}

struct name_walk {
	json_t *by_name; /* NULL: not wanted */
	json_t *duplicates;
};

static void name_visit_cb(const void *node, VISIT which, void *arg)
{
	const struct name *n = *(const struct name *const *)node;
	struct name_walk *walk = arg;

	if (which != postorder && which != leaf)
		return;
	if (n->paid > 1)
		json_object_set_new(walk->duplicates, n->text, json_integer((json_int_t)n->paid));
	if (walk->by_name != NULL)
		json_object_set_new(walk->by_name, n->text,
				    json_pack("{s:I, s:I, s:I}", "submits", (json_int_t)n->submits, "paid",
					      (json_int_t)n->paid, "polls", (json_int_t)n->polls));
}

/* The lock is held. */
static json_t *seen_json(const struct stats *s)
{
	json_t *seen = json_object();

	for (int i = 0; i < DOORS; i++)
		if (s->visited[i])
			json_object_set_new(seen, door_names[i], json_string(s->seen[i]));
	return seen;
}

json_t *stats_json(struct stats *s, bool with_names)
{
	struct name_walk walk = { .by_name = with_names ? json_object() : NULL, .duplicates = json_object() };
	json_t *root = json_object();

	pthread_mutex_lock(&s->lock);
	for (int i = 0; i < STATS; i++)
		json_object_set_new(root, stat_names[i], json_integer((json_int_t)s->counts[i]));
	json_object_set_new(root, "authorization", seen_json(s));
	json_object_set_new(root, "names", json_integer((json_int_t)s->name_count));
	json_object_set_new(root, "names_not_kept", json_integer((json_int_t)s->names_not_kept));
	twalk_r(s->names, name_visit_cb, &walk);
	pthread_mutex_unlock(&s->lock);

	json_object_set_new(root, "duplicates", walk.duplicates);
	if (walk.by_name != NULL)
		json_object_set_new(root, "by_name", walk.by_name);
	return root;
}

void stats_reset(struct stats *s)
{
	void *names;

	pthread_mutex_lock(&s->lock);
	names = s->names;
	s->names = NULL;
	s->name_count = 0;
	s->names_not_kept = 0;
	memset(s->counts, 0, sizeof(s->counts));
	memset(s->visited, 0, sizeof(s->visited));
	pthread_mutex_unlock(&s->lock);
	tdestroy(names, free);
}
