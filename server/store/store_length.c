/* Whether a file of LMDB's is whole.
 *
 * It may be shorter than its last page says: pages taken from beyond the end and given back in the same transaction are
 * counted and listed as free, but never written. So a page that is missing is no loss if it is in the list of the free
 * ones. That list is itself in the file, and in one that was cut short its pages may be missing: reading there raises
 * SIGBUS, which is caught for as long as it takes.
 */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>

#include "server/store/store_priv.h"

#define NEW_FILE_PAGES 2

static sigjmp_buf beyond_the_end;

static void bus_cb(int signal)
{
	(void)signal;
	siglongjmp(beyond_the_end, 1);
}

/* Of one entry of the list: its length, then the pages. */
static size_t count_from(const MDB_val *entry, size_t first_missing)
{
	const char *p = entry->mv_data;
	size_t listed, page, found = 0;

	memcpy(&listed, p, sizeof(listed));
	for (size_t i = 1; i <= listed && (i + 1) * sizeof(page) <= entry->mv_size; i++) {
		memcpy(&page, p + i * sizeof(page), sizeof(page));
		found += page >= first_missing;
	}
	return found;
}

/* What must be closed also after a jump. */
struct walk {
	MDB_txn *txn;
	MDB_cursor *cursor;
};

/* Free pages from one on. */
static int count_free_from(MDB_env *env, struct walk *w, size_t first_missing, size_t *ret)
{
	const MDB_dbi free_list = 0;
	MDB_val key, value;
	int rc;

	rc = mdb_txn_begin(env, NULL, MDB_RDONLY, &w->txn);
	if (rc == 0)
		rc = mdb_cursor_open(w->txn, free_list, &w->cursor);
	while (rc == 0 && (rc = mdb_cursor_get(w->cursor, &key, &value, MDB_NEXT)) == 0)
		*ret += count_from(&value, first_missing);
	return rc == MDB_NOTFOUND ? 0 : rc;
}

/* The same, with MDB_CORRUPTED in the place of the signal. */
static int count_guarded(MDB_env *env, size_t first_missing, size_t *ret)
{
	static struct walk walk; /* not on the stack, whose variables a jump may take back */
	struct sigaction ours = { .sa_handler = bus_cb }, before;
	int rc;

	walk = (struct walk){ 0 };
	*ret = 0;
	sigemptyset(&ours.sa_mask);
	sigaction(SIGBUS, &ours, &before);
	if (sigsetjmp(beyond_the_end, 1) == 0)
		rc = count_free_from(env, &walk, first_missing, ret);
	else
		rc = MDB_CORRUPTED;
	sigaction(SIGBUS, &before, NULL);
	if (walk.cursor)
		mdb_cursor_close(walk.cursor);
	if (walk.txn)
		mdb_txn_abort(walk.txn);
	return rc;
}

int store__check_length(MDB_env *env, const char *path, struct error_info *info)
{
	struct store_info used;
	size_t missing, unused, page;
	struct stat st;
	MDB_stat stats;
	int rc;

	rc = store__info(env, &used);
	if (rc < 0)
		return error_set(info, rc, NULL, "cannot read %s: %s", path, store_error_detail());
	mdb_env_stat(env, &stats);
	page = stats.ms_psize;
	if (stat(path, &st) < 0)
		return error_set(info, ERR_IO, NULL, "cannot look at %s: %s", path, strerror(errno));
	/* A new file has no pages yet but the two that say so. */
	if (used.used_bytes <= (int64_t)(NEW_FILE_PAGES * page) || st.st_size >= used.used_bytes)
		return 0;
	missing = (size_t)used.used_bytes / page - (size_t)st.st_size / page;
	if (count_guarded(env, (size_t)st.st_size / page, &unused) == 0 && unused == missing)
		return 0;
	return error_set(info, ERR_CORRUPT, NULL, "%s is cut short: it has %lld bytes of %lld", path,
			 (long long)st.st_size, (long long)used.used_bytes);
}
