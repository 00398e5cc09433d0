/* The skimmer on any bytes: the same verdict however they come, and what it lets pass the unpacker takes in full, to
 * the same length and in memory that the limits bound.
 */
#include <msgpack.h>
#include <stdint.h>
#include <stdlib.h>

#include "proto/base/clean.h"
#include "proto/skim.h"

#define MAX_MESSAGES 64

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv);
int __sanitizer_install_malloc_and_free_hooks(void (*malloc_hook)(const volatile void *, size_t),
					      void (*free_hook)(const volatile void *));

/* Small, so that inputs of a few bytes reach every limit; and as wide as they go. */
static const struct skim_limits limits[] = {
	{ .max_bytes = 64, .max_depth = 4, .max_elements = 24 },
	{ .max_bytes = 1 << 20, .max_depth = SKIM_MAX_DEPTH + 9, .max_elements = 4096 },
};

/* The messages of a stream, and how it ended. */
struct verdict {
	size_t sizes[MAX_MESSAGES];
	size_t count;
	int rc;
};

static size_t taken_bytes;

static void malloc_cb(const volatile void *p, size_t size)
{
	(void)p;
	taken_bytes += size;
}

static void free_cb(const volatile void *p)
{
	(void)p;
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	return __sanitizer_install_malloc_and_free_hooks(malloc_cb, free_cb) > 0 ? 0 : 1;
}

static void must(bool holds)
{
	if (!holds)
		abort();
}

/* Reads a stream of which seed decides how much more there is at each call; with seed 0 all is there at once. */
static void read_stream(const struct skim_limits *l, const uint8_t *data, size_t size, uint32_t seed,
			struct verdict *ret)
{
	size_t start = 0, have = seed ? 0 : size, found;
	struct skim s;

	*ret = (struct verdict){ .rc = 0 };
	skim_init(&s, l);
	while (ret->count < MAX_MESSAGES) {
		ret->rc = skim_feed(&s, data + start, have - start, &found);
		must(found <= have - start);
		if (ret->rc < 0)
			return;
		if (found > 0) {
			ret->sizes[ret->count++] = found;
			start += found;
		} else if (have == size) {
			return;
		} else {
			seed = seed * 1664525 + 1013904223;
			have += 1 + (seed >> 16) % 7;
			have = have < size ? have : size;
		}
	}
}

/* Elements of all arrays and maps in o, which may be this many containers deep. */
static size_t count_elements(const msgpack_object *o, unsigned depth)
{
	size_t n = 0;

	if (o->type == MSGPACK_OBJECT_ARRAY) {
		must(depth > 0);
		n = o->via.array.size;
		for (uint32_t i = 0; i < o->via.array.size; i++)
			n += count_elements(&o->via.array.ptr[i], depth - 1);
	} else if (o->type == MSGPACK_OBJECT_MAP) {
		must(depth > 0);
		n = 2 * (size_t)o->via.map.size;
		for (uint32_t i = 0; i < o->via.map.size; i++)
			n += count_elements(&o->via.map.ptr[i].key, depth - 1) +
			     count_elements(&o->via.map.ptr[i].val, depth - 1);
	}
	return n;
}

static void unpack(const struct skim_limits *l, const uint8_t *data, size_t size)
{
	/* In a place of its own size, so that a byte read beyond it is found. */
	_cleanup_free_ char *copy = malloc(size);
	_cleanup_(msgpack_zone_destroy) msgpack_zone zone;
	msgpack_object object;
	size_t used = 0;

	must(copy != NULL && msgpack_zone_init(&zone, 1024));
	memcpy(copy, data, size);
	must(size <= l->max_bytes);
	taken_bytes = 0;
	must(msgpack_unpack(copy, size, &used, &zone, &object) == MSGPACK_UNPACK_SUCCESS);
	must(used == size);
	must(object.type == MSGPACK_OBJECT_ARRAY);
	must(object.via.array.size == 3 || object.via.array.size == 4);
	must(count_elements(&object, l->max_depth < SKIM_MAX_DEPTH ? l->max_depth : SKIM_MAX_DEPTH) <= l->max_elements);
	/* The arena doubles its chunks. */
	must(taken_bytes <= 2 * l->max_elements * sizeof(msgpack_object) + 8192);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	for (size_t i = 0; i < ARRAY_SIZE(limits); i++) {
		struct verdict whole;
		size_t start = 0;

		taken_bytes = 0;
		read_stream(&limits[i], data, size, 0, &whole);
		for (uint32_t seed = 1; seed < 4; seed++) {
			struct verdict pieces;

			read_stream(&limits[i], data, size, seed * 77777, &pieces);
			must(pieces.count == whole.count && pieces.rc == whole.rc);
			must(memcmp(pieces.sizes, whole.sizes, sizeof(whole.sizes)) == 0);
		}
		must(taken_bytes == 0);
		for (size_t m = 0; m < whole.count; start += whole.sizes[m++])
			unpack(&limits[i], data + start, whole.sizes[m]);
		/* What came before has no part in how it ended. */
		if (whole.rc < 0) {
			struct verdict last;

			read_stream(&limits[i], data + start, size - start, 0, &last);
			must(last.count == 0 && last.rc == whole.rc);
		}
	}
	return 0;
}
