#include "tests/sim/texts.h"

#include <stdio.h>
#include <string.h>

#include "server/store/blob.h"

static char large[6000];
static char huge[900000];
static uint8_t sums[TEXTS_PAYLOADS][32];
static char artifact_names[TEXTS_ARTIFACTS][16];
static char keys[TEXTS_KEYS][260];

void texts_init(void)
{
	memset(large, 'x', sizeof(large));
	memset(huge, 'h', sizeof(huge));
	for (int i = 0; i < TEXTS_PAYLOADS; i++)
		blob_sha256(texts_payload(i), sums[i]);
	for (int i = 0; i < TEXTS_ARTIFACTS; i++)
		snprintf(artifact_names[i], sizeof(artifact_names[i]), "n%d", i);
	snprintf(artifact_names[0], sizeof(artifact_names[0]), "result");
	snprintf(artifact_names[1], sizeof(artifact_names[1]), "preview");
	for (int i = 0; i < TEXTS_KEYS; i++)
		snprintf(keys[i], sizeof(keys[i]), "key %d", i);
	/* The longest key there may be, and one that begins as it does. */
	memset(keys[0], 'k', 255);
	memset(keys[1], 'k', 254);
	keys[0][255] = keys[1][254] = '\0';
}

struct slice texts_queue(int n)
{
	static const char *const names[TEXTS_QUEUES] = { "a", "b", "a.b", "videos", "c", "d" };

	return slice_str(names[n]);
}

struct slice texts_hook(int n)
{
	return slice_of(huge, n % 8 == 7 ? sizeof(huge) - (size_t)n : (size_t)n * 37);
}

struct slice texts_group(int n)
{
	static const char *const names[TEXTS_GROUPS] = { "g", "visitors", "g.2" };

	return slice_str(names[n]);
}

struct slice texts_limit(int n)
{
	static const char *const names[TEXTS_LIMITS] = { "api", "slow.api", "x" };

	return slice_str(names[n]);
}

struct slice texts_title(int n)
{
	static const char *const titles[TEXTS_TITLES] = { "", "A title", "\xc3\xa4\xe2\x82\xac" };

	return slice_str(titles[n]);
}

struct slice texts_key(int n)
{
	return slice_str(keys[n]);
}

struct slice texts_payload(int n)
{
	static const size_t sizes[TEXTS_PAYLOADS] = { 0, 1, 7, 300, 1990, 5000 };

	return slice_of(large, sizes[n]);
}

const uint8_t *texts_payload_sha256(int n)
{
	return sums[n];
}

struct slice texts_note(int n)
{
	static const size_t sizes[TEXTS_NOTES] = { 0, 1, 40, 512 };

	return slice_of(large, sizes[n]);
}

struct slice texts_error(int n)
{
	static const size_t sizes[TEXTS_ERRORS] = { 0, 5, 80, 4096 };

	return slice_of(large, sizes[n]);
}

struct slice texts_checkpoint(int n)
{
	static const size_t sizes[TEXTS_CHECKPOINTS] = { 0, 12, 200, 3000 };

	return slice_of(large, sizes[n]);
}

struct slice texts_artifact(int n)
{
	return slice_str(artifact_names[n]);
}

struct pair *texts_metadata(size_t *ret_count)
{
	static struct pair pairs[2];

	pairs[0] = (struct pair){ .key = slice_str("campaign"), .value = slice_str("spring") };
	pairs[1] = (struct pair){ .key = slice_str("visitor"), .value = slice_of(NULL, 0) };
	*ret_count = 2;
	return pairs;
}
