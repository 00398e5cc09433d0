/* The store's functions as the engine calls them, by the linker's --wrap: the real ones, until a countdown has run out,
 * then ERR_STORE_ERROR: once, or from then on, as a transaction that has failed goes on failing.
 */
#include <stdio.h>
#include <string.h>

#include "server/store/store.h"
#include "tests/sim/sim.h"

static int left;
static bool armed, struck, only_once;
static char where[64];

void fault_at(int accesses, bool once)
{
	left = accesses;
	only_once = once;
	armed = true;
	struck = false;
}

void fault_off(void)
{
	armed = struck = false;
}

bool fault_struck(void)
{
	return struck;
}

const char *fault_where(void)
{
	return where;
}

/* Checked builds read in their assertions, which are about bugs and take a failure for one: there reading never fails.
 */
#ifdef RAINCHECK_CHECKED
#define EXEMPT "store_get"
#else
#define EXEMPT ""
#endif

static bool fails(const char *function, enum store_table table)
{
	if (!armed || strcmp(function, EXEMPT) == 0 || left-- > 0)
		return false;
	if (!struck)
		snprintf(where, sizeof(where), "%s() of table %d", function, (int)table);
	struck = true;
	armed = !only_once;
	return true;
}

int fault_free_get(struct store_txn *t, enum store_table table, struct slice key, struct slice *ret)
{
	bool was = armed;
	int rc;

	armed = false;
	rc = store_get(t, table, key, ret);
	armed = was;
	return rc;
}

#define WRAP(name, params, ...)                             \
	int real_##name params __asm__("__real_" #name);    \
	int wrapped_##name params __asm__("__wrap_" #name); \
	int wrapped_##name params                           \
	{                                                   \
		if (fails(#name, table))                    \
			return ERR_STORE_ERROR;             \
		return real_##name(__VA_ARGS__);            \
	}

WRAP(store_get, (struct store_txn * t, enum store_table table, struct slice key, struct slice *ret), t, table, key, ret)
WRAP(store_put, (struct store_txn * t, enum store_table table, struct slice key, struct slice value), t, table, key,
     value)
WRAP(store_delete, (struct store_txn * t, enum store_table table, struct slice key), t, table, key)
WRAP(store_seek,
     (struct store_txn * t, enum store_table table, struct slice from, struct slice *ret_key, struct slice *ret_value),
     t, table, from, ret_key, ret_value)
WRAP(store_next, (struct store_txn * t, enum store_table table, struct slice *ret_key, struct slice *ret_value), t,
     table, ret_key, ret_value)
WRAP(store_seek_back,
     (struct store_txn * t, enum store_table table, struct slice before, struct slice *ret_key,
      struct slice *ret_value),
     t, table, before, ret_key, ret_value)
