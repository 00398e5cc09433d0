/* What the figures have to be seen beside: the disk's sync, how the broker gathered its commits, and what stands in the
 * tables, so that the bare writes can be proved to be the broker's. */
#include <fcntl.h>
#include <inttypes.h>
#include <lmdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "bench/base.h"
#include "bench/commands.h"
#include "bench/link.h"
#include "proto/base/clock.h"

#define PAGE	   4096
#define WRITES	   200
#define TABLES_MAX 64
#define NAME_ROOM  64

/* ---- the disk ---- */

void run_sync(char **args)
{
	static int64_t took[WRITES];
	static const char page[PAGE];
	char path[4096];
	int fd;

	snprintf(path, sizeof(path), "%s/sync", args[0]);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	need(fd >= 0, "no file to sync");
	for (int i = 0; i < WRITES; i++) {
		int64_t from = clock_mono_ns();

		need(pwrite(fd, page, PAGE, (off_t)(i % 64) * PAGE) == PAGE && fdatasync(fd) == 0, "the disk fails");
		took[i] = clock_mono_ns() - from;
	}
	close(fd);
	unlink(path);
	printf("{\"sync_us\": %.1f}\n", (double)median(took, WRITES) / 1e3);
}

/* ---- the broker's commits ---- */

void run_stats(char **args)
{
	struct link *l = link_open((int)to_count(args[0]));
	uint8_t out[PUT_BYTES];
	struct slice store = rc_find(link_call(l, out, rc_stats(out, 0)).result, "store");

	printf("{\"commits\": %" PRIu64 ", \"commands\": %" PRIu64 "}\n", rc_number(rc_find(store, "commits")),
	       rc_number(rc_find(store, "commands")));
	link_close(l);
}

/* ---- the tables of a file that nobody has open ---- */

static void print_table(MDB_txn *txn, const char *name, bool first)
{
	MDB_cursor *c = NULL;
	uint64_t entries = 0, bytes = 0;
	MDB_val k, v;
	MDB_dbi dbi;

	need(mdb_dbi_open(txn, name, 0, &dbi) == 0 && mdb_cursor_open(txn, dbi, &c) == 0, "a table cannot be read");
	for (; mdb_cursor_get(c, &k, &v, MDB_NEXT) == 0; entries++)
		bytes += k.mv_size + v.mv_size;
	mdb_cursor_close(c);
	printf("%s\"%s\": {\"entries\": %" PRIu64 ", \"bytes\": %" PRIu64 "}", first ? "" : ", ", name, entries, bytes);
}

void run_tables(char **args)
{
	MDB_cursor *names = NULL;
	MDB_env *env = NULL;
	MDB_txn *txn = NULL;
	MDB_val k, v;
	MDB_dbi main_table;
	bool first = true;

	need(mdb_env_create(&env) == 0 && mdb_env_set_maxdbs(env, TABLES_MAX) == 0 &&
		     mdb_env_open(env, args[0], MDB_NOSUBDIR | MDB_RDONLY | MDB_NOLOCK, 0) == 0 &&
		     mdb_txn_begin(env, NULL, MDB_RDONLY, &txn) == 0 && mdb_dbi_open(txn, NULL, 0, &main_table) == 0 &&
		     mdb_cursor_open(txn, main_table, &names) == 0,
	     "the file cannot be read");
	putchar('{');
	for (; mdb_cursor_get(names, &k, &v, MDB_NEXT) == 0; first = false) {
		char name[NAME_ROOM];

		snprintf(name, sizeof(name), "%.*s", (int)k.mv_size, (const char *)k.mv_data);
		print_table(txn, name, first);
	}
	puts("}");
	mdb_cursor_close(names);
	mdb_txn_abort(txn);
	mdb_env_close(env);
}
