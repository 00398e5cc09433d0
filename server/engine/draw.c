/* Randomness without a source of it: what the engine needs is drawn from the few bytes that came with the command or
 * the batch, so that a run can be had again from its commands. */
#include <gnutls/crypto.h>
#include <stdlib.h>
#include <string.h>

#include "server/engine/engine_priv.h"

struct token engine_draw_token(const uint8_t seed[32], uint32_t n)
{
	uint8_t drawn[32];
	struct token t;

	/* Most leases are of one job: it takes half of the seed as it is, what is drawn further follows from the rest.
	 */
	if (n == 0) {
		memcpy(t.bytes, seed, sizeof(t.bytes));
		return t;
	}
	engine_draw(seed + sizeof(t.bytes), n, drawn);
	memcpy(t.bytes, drawn, sizeof(t.bytes));
	return t;
}

void engine_draw(const uint8_t seed[16], uint32_t n, uint8_t ret[32])
{
	uint8_t text[20];

	memcpy(text, seed, 16);
	memcpy(text + 16, &n, sizeof(n));
	/* It fails only where the library is broken; going on would make leases that anybody can guess. */
	if (gnutls_hash_fast(GNUTLS_DIG_SHA256, text, sizeof(text), ret) < 0)
		abort();
}

double engine_draw_unit(struct engine *e)
{
	uint8_t drawn[32];
	uint64_t n;

	engine_draw(e->random, e->draws++, drawn);
	memcpy(&n, drawn, sizeof(n));
	return (double)(n >> 11) / 9007199254740992.0; /* 2^53 */
}
