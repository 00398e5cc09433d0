/* fault_image.h: the disk as a power cut may leave it: made from the layer's log (fault_log.h), in a folder of its own.
 *
 * What a completed sync covers is there. Of everything else, each 512 bytes of a file, each file's size and each name
 * in a folder is on its own: it may be as it was last synced, or as any write since left it. So writes may be lost,
 * torn and reordered. A name is covered by a sync of its folder, not of its file. Bytes that a sync failed for are as
 * good as never written even where a later sync succeeds, because the system has forgotten them.
 *
 * The same seed and log make the same image.
 */
#ifndef RAINCHECK_TEST_FAULT_IMAGE_H
#define RAINCHECK_TEST_FAULT_IMAGE_H

#include <stdbool.h>
#include <stdint.h>

/* How luck falls for what no sync covers. */
enum fault_luck {
	LUCK_NOTHING, /* none of it is there */
	LUCK_ALL,     /* all */
	LUCK_ANY,     /* each piece is any of its versions */
	LUCK_MOST,    /* most pieces are the latest version */
	LUCK_LITTLE,  /* few pieces are anything but the synced one */
	LUCK_WRITES,  /* whole writes are there or not */
	LUCK_NAMES,   /* names and sizes are the latest, bytes the synced ones: files full of zeros */
	LUCK_BYTES,   /* bytes and sizes are the latest, names the synced ones */
	LUCK_KINDS
};

struct fault_image;

/* root: the inode of the disk's top folder, empty when the log began. Errors end the test. */
struct fault_image *fault_image_new(const char *log, uint64_t root);
void fault_image_free(struct fault_image *im);

/* How many entries the log has, and where the i-th ends. */
uint64_t fault_image_entries(const struct fault_image *im);
uint64_t fault_image_end(const struct fault_image *im, uint64_t i);
/* Whether a power cut in the i-th entry is told from one in its neighbours: false for most folders made. */
bool fault_image_is_of_note(const struct fault_image *im, uint64_t i);

/* Whether in the i-th entry a sync failed. */
bool fault_image_failed(const struct fault_image *im, uint64_t i);

/* Moves on to a cut at this offset of the log, not before the last one. An entry that the offset cuts is under way. */
void fault_image_advance(struct fault_image *im, uint64_t cut);
/* Writes the disk into dir, which must be an empty folder. */
void fault_image_write(const struct fault_image *im, enum fault_luck luck, uint32_t seed, const char *dir);

#endif
