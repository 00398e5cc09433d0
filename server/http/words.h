/* words.h: where a job stands, as a visitor is told: in sentences, and in figures coarse enough to be honest.
 * Any thread; no state.
 */
#ifndef RAINCHECK_HTTP_WORDS_H
#define RAINCHECK_HTTP_WORDS_H

#include <stdint.h>

#include "proto/base/buf.h"
#include "proto/messages.h"
#include "server/http/page_texts.h"

#define WORDS_MAX 2048

/* Append one sentence each, without a full stop of their own; nothing where there is nothing to say. The detail says
 * first what keeps a job from beginning, where its turn is not all. As text: whoever puts them into HTML escapes them.
 */
void words_headline(struct buf *out, const struct page_settings *page, const struct msg_job *job, int64_t now_ms);
void words_detail(struct buf *out, const struct page_settings *page, const struct msg_job *job);

/* An estimate as it is shown: its ends rounded outwards, more coarsely the further away. So it promises no more than
 * the high end, and stays the same for a while. */
int64_t words_round_low(int64_t low_ms);
int64_t words_round_high(int64_t high_ms);
/* When it is worth asking again about a job that is not done: seconds, by the low end. */
int words_retry_after(const struct msg_job *job);

#endif
