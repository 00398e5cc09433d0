/* mend.h: puts right in a store that nobody serves what bits that flipped in keys have done to it.
 *
 * A key has no checksum: a row whose key flipped leads to no job or to another, and its job misses it. Some records
 * hold their key (own_key.h), and every job record that is there and sound says what must lead to it, so both ends can
 * be put right:
 *   - an artifact, a checkpoint, a limit, a group's place or weight is put back where its record says that it belongs;
 *     where another one stands there that can be read, it is dropped;
 *   - an input, or a job record, that stands one bit beside where it belongs is put back;
 *   - an index entry, idempotency key or listing that a record asks for and that is missing is made anew;
 *   - a row that leads to no job, or that its job's record does not ask for, is dropped;
 *   - a job whose record is damaged or whose input is gone is set aside, as the engine would do when it comes upon it;
 *   - the queues' counts are made anew from the jobs.
 *   - what stood in a table that is lost, of those that can be, is made anew the same way, told in one line a table.
 * No job record is ever dropped, nor an input or artifact that stands where a job that is there or set aside has it; an
 * artifact or checkpoint is never given to a job by mere likeness, and of a job that may hold another's nothing is
 * shown any more. Values that are damaged stay as they are. A store in which the check finds nothing is left without a
 * change.
 *
 * For a copy that is not published yet (backup.h, compact.h): it works in several transactions, and only what the check
 * says of the store afterwards tells whether it is whole. Any thread; it takes a while, like the check.
 */
#ifndef RAINCHECK_UPKEEP_MEND_H
#define RAINCHECK_UPKEEP_MEND_H

#include <stdbool.h>
#include <stdint.h>

struct store;

struct mend_options {
	struct store *store;
	/* Only sets aside the jobs whose record is damaged, and counts the queues anew that the indexes have such jobs
	 * in. What else is wrong stays, for the check to find. */
	bool damage_only;
	/* Tables that are empty because they were damaged, a bit for each by enum store_table: of what is made anew in
	 * them there is one line in the end and not one for each row. */
	uint32_t lost;
	/* Told each thing that is done, one line without a newline. May be NULL. */
	void (*report)(void *user, const char *line);
	/* Told now and then how far it is. May be NULL. */
	void (*progress)(void *user, const char *what, int64_t done, int64_t total);
	/* Asked often: true makes it give up. May be NULL. */
	bool (*canceled)(void *user);
	void *user;
};

struct mend_result {
	int64_t dropped;   /* rows */
	int64_t restored;  /* rows put back, made anew or set right */
	int64_t set_aside; /* jobs */
};

/* The store's errors, ERR_NO_MEMORY, ERR_CANCELED. */
int mend_store(const struct mend_options *options, struct mend_result *ret);

#endif
