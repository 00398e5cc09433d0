#include <stdlib.h>
#include <string.h>

#include "server/engine/engine_priv.h"
#include "server/engine/view.h"

int uuid_list_add(struct uuid_list *l, const struct uuid *id)
{
	if (l->count == l->capacity) {
		size_t capacity = l->capacity ? 2 * l->capacity : 64;
		struct uuid *items = realloc(l->items, capacity * sizeof(*items));

		if (!items)
			return ERR_NO_MEMORY;
		l->items = items;
		l->capacity = capacity;
	}
	l->items[l->count++] = *id;
	return 0;
}

bool uuid_list_has(const struct uuid_list *l, const struct uuid *id)
{
	for (size_t i = 0; i < l->count; i++)
		if (uuid_equal(&l->items[i], id))
			return true;
	return false;
}

/* The file is removed after the commit that ceases to name it. */
static int note_garbage(struct engine *e, const struct uuid *blob)
{
	return uuid_list_add(&e->garbage, blob);
}

static int note_adopted(struct engine *e, struct staged *staged)
{
	struct staged_list *l = &e->adopted;

	if (l->count == l->capacity) {
		size_t capacity = l->capacity ? 2 * l->capacity : 64;
		struct staged **items = realloc(l->items, capacity * sizeof(*items));

		if (!items)
			return ERR_NO_MEMORY;
		l->items = items;
		l->capacity = capacity;
	}
	l->items[l->count++] = staged;
	staged->adopted = true;
	return 0;
}

static int release_blob(struct engine *e, const struct artifact *a)
{
	struct key key;
	int rc;

	if (!a->has_blob)
		return 0;
	key = key_job(&a->blob);
	rc = note_garbage(e, &a->blob);
	if (rc == 0)
		rc = store_delete(e->txn, TABLE_BLOBS, key_slice(&key));
	return rc == ERR_NOT_FOUND ? 0 : rc;
}

/* Makes room under the name: an older artifact's file goes, a new one is counted. */
static int replace(struct engine *e, struct job *job, const struct key *key)
{
	struct artifact old;
	struct slice bytes;
	int rc;

	rc = store_get(e->txn, TABLE_ARTIFACTS, key_slice(key), &bytes);
	if (rc == 0) {
		/* A damaged one is replaced like any other; its file stays, for the checker to name. */
		return record_read_artifact(key_slice(key), bytes, &old) < 0 ? 0 : release_blob(e, &old);
	}
	/* What cannot be read cannot be replaced, and others of the command may have been. */
	if (rc != ERR_NOT_FOUND)
		return rc == ERR_CORRUPT ? ERR_STORE_ERROR : rc;
	if (job->artifacts >= VIEW_ARTIFACTS)
		return ERR_TOO_LARGE;
	job->artifacts++;
	return 0;
}

int artifact_attach(struct engine *e, const struct uuid *id, struct job *job, struct slice name, struct staged *staged)
{
	struct artifact a = {
		.content_type = staged->content_type,
		.size = staged->size,
		.created_at_ms = e->now_ms,
		.has_blob = staged->has_blob,
		.blob = staged->blob,
		.data = staged->data,
	};
	struct key key = key_artifact(id, name);
	struct key blob = key_job(&a.blob);
	int rc;

	memcpy(a.sha256, staged->sha256, sizeof(a.sha256));
	rc = replace(e, job, &key);
	if (rc < 0)
		return rc;
	buf_reset(&e->record);
	rc = record_write_artifact(&e->record, key_slice(&key), &a);
	if (rc == 0)
		rc = store_put(e->txn, TABLE_ARTIFACTS, key_slice(&key), buf_slice(&e->record));
	if (rc == 0 && a.has_blob)
		rc = store_put(e->txn, TABLE_BLOBS, key_slice(&blob), slice_of(id->bytes, sizeof(id->bytes)));
	return rc < 0 || !a.has_blob ? rc : note_adopted(e, staged);
}

/* Where damage hides which file an artifact has: all that are listed for the job. Goes through the whole list. */
static int release_blobs_of(struct engine *e, const struct uuid *job)
{
	struct slice key, owner;
	int rc;

	e->walked = true;
	rc = store_seek(e->txn, TABLE_BLOBS, slice_of(NULL, 0), &key, &owner);
	while (rc == 0) {
		struct key copy = key_copy(key);
		struct uuid blob;

		if (!slice_equal(owner, slice_of(job->bytes, sizeof(job->bytes)))) {
			rc = store_next(e->txn, TABLE_BLOBS, &key, &owner);
			continue;
		}
		if (key_read_job(key, &blob) == 0)
			rc = note_garbage(e, &blob);
		if (rc == 0)
			rc = store_delete(e->txn, TABLE_BLOBS, key_slice(&copy));
		if (rc == 0)
			rc = store_seek(e->txn, TABLE_BLOBS, key_slice(&copy), &key, &owner);
	}
	return rc == ERR_NOT_FOUND ? 0 : rc;
}

int artifacts_drop(struct engine *e, const struct uuid *id)
{
	struct key from = key_job(id);

	for (;;) {
		struct slice key, value, name;
		struct artifact a;
		struct uuid owner;
		struct key copy;
		int rc;

		rc = store_seek(e->txn, TABLE_ARTIFACTS, key_slice(&from), &key, &value);
		if (rc == ERR_NOT_FOUND)
			break;
		if (rc < 0)
			return rc;
		if (key_read_artifact(key, &owner, &name) < 0 || !uuid_equal(&owner, id))
			break;
		copy = key_artifact(&owner, name);
		rc = record_read_artifact(key, value, &a) == 0 ? release_blob(e, &a) : release_blobs_of(e, id);
		if (rc == 0)
			rc = store_delete(e->txn, TABLE_ARTIFACTS, key_slice(&copy));
		if (rc < 0)
			return rc;
	}
	return 0;
}
