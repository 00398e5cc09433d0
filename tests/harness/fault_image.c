/* Every piece of the disk is a cell: what is durable, and the versions since. A version's value is a block of bytes, a
 * size, or a file, as the cell is a piece of a file, its size, or a name.
 */
#include "tests/harness/fault_image.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/harness/fault_log.h"

#define SECTOR	  512
#define NAME_MAX_ 64
#define PATH_SIZE 512

struct version {
	uint64_t at; /* the entry that made it */
	uint64_t value;
	bool forgotten; /* its sync failed */
};

struct cell {
	uint64_t durable;
	struct version *versions; /* the latest last */
	size_t count, room;
};

struct name {
	char text[NAME_MAX_];
	struct cell file; /* index of the file; 0: none */
};

struct file {
	uint64_t inode;
	bool folder;
	struct cell size;
	struct cell *sectors; /* block numbers; 0: zeros */
	size_t sector_count, sector_room;
	struct name *names;
	size_t name_count, name_room;
};

struct fault_image {
	const unsigned char *log;
	size_t log_size;
	uint64_t *offsets; /* of the entries, and of the log's end */
	size_t entries, entry_room;
	uint64_t next; /* the entry that is to happen */
	bool begun;    /* it is under way already */

	struct file *files; /* the first is none, the second the top folder */
	size_t file_count, file_room;
	unsigned char (*blocks)[SECTOR]; /* the first is zeros */
	size_t block_count, block_room;
};

/* Room for one element more. */
static void *grow(void *array, size_t count, size_t *room, size_t one)
{
	if (count < *room)
		return array;
	*room = *room ? 2 * *room : 4;
	array = realloc(array, *room * one);
	assert_non_null(array);
	return array;
}

/* ---- cells ---- */

static uint64_t latest(const struct cell *c)
{
	return c->count > 0 ? c->versions[c->count - 1].value : c->durable;
}

static void set(struct cell *c, uint64_t value, uint64_t at)
{
	c->versions = grow(c->versions, c->count, &c->room, sizeof(*c->versions));
	c->versions[c->count++] = (struct version){ .at = at, .value = value };
}

/* What was there when the sync began is durable, but not what was forgotten. */
static void cover(struct cell *c, uint64_t begun)
{
	size_t n = c->count;

	while (n > 0 && c->versions[n - 1].at >= begun)
		n--;
	if (n == 0 || c->versions[n - 1].forgotten)
		return;
	c->durable = c->versions[n - 1].value;
	c->count -= n;
	memmove(c->versions, c->versions + n, c->count * sizeof(*c->versions));
}

static void forget(struct cell *c)
{
	for (size_t i = 0; i < c->count; i++)
		c->versions[i].forgotten = true;
}

static void each_cell(struct file *f, void (*act)(struct cell *c, uint64_t begun), uint64_t begun)
{
	act(&f->size, begun);
	for (size_t i = 0; i < f->sector_count; i++)
		act(&f->sectors[i], begun);
	for (size_t i = 0; i < f->name_count; i++)
		act(&f->names[i].file, begun);
}

static void forget_cb(struct cell *c, uint64_t begun)
{
	(void)begun;
	forget(c);
}

static void free_cb(struct cell *c, uint64_t begun)
{
	(void)begun;
	free(c->versions);
}

/* ---- luck ---- */

static uint64_t mix(uint64_t x)
{
	x ^= x >> 33;
	x *= 0xff51afd7ed558ccdULL;
	x ^= x >> 33;
	x *= 0xc4ceb9fe1a85ec53ULL;
	return x ^ (x >> 33);
}

/* key tells the cells apart. */
static uint64_t pick(const struct cell *c, enum fault_luck luck, uint32_t seed, uint64_t key)
{
	uint64_t draw = mix(key * 0x9e3779b97f4a7c15ULL + seed);
	uint64_t any;

	if (c->count == 0)
		return c->durable;
	any = draw % (c->count + 1);
	any = any == c->count ? c->durable : c->versions[any].value;
	switch (luck) {
	case LUCK_NOTHING:
		return c->durable;
	case LUCK_ALL:
		return latest(c);
	case LUCK_MOST:
		return (draw >> 32) % 8 ? latest(c) : any;
	case LUCK_LITTLE:
		return (draw >> 32) % 8 ? c->durable : any;
	case LUCK_WRITES:
		for (size_t i = c->count; i-- > 0;)
			if (mix(c->versions[i].at + seed) & 1)
				return c->versions[i].value;
		return c->durable;
	default:
		return any;
	}
}

/* ---- files ---- */

static uint64_t new_file(struct fault_image *im, uint64_t inode, bool folder)
{
	im->files = grow(im->files, im->file_count, &im->file_room, sizeof(*im->files));
	im->files[im->file_count] = (struct file){ .inode = inode, .folder = folder };
	return im->file_count++;
}

/* The latest that has the inode number. */
static struct file *file_of(struct fault_image *im, uint64_t inode)
{
	for (size_t i = im->file_count; i-- > 0;)
		if (im->files[i].inode == inode)
			return &im->files[i];
	fail_msg("the log speaks of inode %llu, which it did not see made", (unsigned long long)inode);
	return NULL;
}

static struct cell *name_of(struct file *folder, const char *text, size_t size)
{
	struct name *n;

	assert_true(size < NAME_MAX_ && folder->folder);
	for (size_t i = 0; i < folder->name_count; i++)
		if (strncmp(folder->names[i].text, text, size) == 0 && folder->names[i].text[size] == '\0')
			return &folder->names[i].file;
	folder->names = grow(folder->names, folder->name_count, &folder->name_room, sizeof(*folder->names));
	n = &folder->names[folder->name_count++];
	*n = (struct name){ .text = "" };
	memcpy(n->text, text, size);
	return &n->file;
}

static struct cell *sector_of(struct file *f, size_t i)
{
	while (f->sector_count <= i) {
		f->sectors = grow(f->sectors, f->sector_count, &f->sector_room, sizeof(*f->sectors));
		f->sectors[f->sector_count++] = (struct cell){ .durable = 0 };
	}
	return &f->sectors[i];
}

/* The bytes that a write leaves in a piece. */
static uint64_t new_block(struct fault_image *im, uint64_t before, size_t at, const unsigned char *data, size_t size)
{
	im->blocks = grow(im->blocks, im->block_count, &im->block_room, sizeof(*im->blocks));
	memcpy(im->blocks[im->block_count], im->blocks[before], SECTOR);
	if (size > 0)
		memcpy(im->blocks[im->block_count] + at, data, size);
	return im->block_count++;
}

static void write_data(struct fault_image *im, const struct fault_entry *e, const unsigned char *data, uint64_t at)
{
	struct file *f = file_of(im, e->inode);

	for (uint64_t done = 0; done < e->size;) {
		uint64_t offset = e->offset + done;
		size_t within = offset % SECTOR;
		size_t n = SECTOR - within < e->size - done ? SECTOR - within : (size_t)(e->size - done);
		struct cell *sector = sector_of(f, offset / SECTOR);

		set(sector, new_block(im, latest(sector), within, data + done, n), at);
		done += n;
	}
	if (e->offset + e->size > latest(&f->size))
		set(&f->size, e->offset + e->size, at);
}

/* ---- what happens ---- */

/* In the log it need not be aligned. */
static struct fault_entry entry_at(const struct fault_image *im, uint64_t i)
{
	struct fault_entry e;

	memcpy(&e, im->log + im->offsets[i], sizeof(e));
	return e;
}

/* The entry as far as it happens before its call returns. */
static void begin_entry(struct fault_image *im, uint64_t i)
{
	const unsigned char *data = im->log + im->offsets[i] + sizeof(struct fault_entry);
	const struct fault_entry copy = entry_at(im, i), *e = &copy;
	const char *text = (const char *)data;
	uint64_t made;

	switch ((enum fault_log_kind)e->kind) {
	case FAULT_LOG_CREATE:
	case FAULT_LOG_MKDIR:
		made = new_file(im, e->inode, e->kind == FAULT_LOG_MKDIR);
		set(name_of(file_of(im, e->folder), text, e->size), made, im->offsets[i]);
		break;
	case FAULT_LOG_WRITE:
	case FAULT_LOG_WRITE_SYNC:
		write_data(im, e, data, im->offsets[i]);
		break;
	case FAULT_LOG_TRUNCATE:
		set(&file_of(im, e->inode)->size, e->offset, im->offsets[i]);
		break;
	case FAULT_LOG_RENAME:
		made = latest(name_of(file_of(im, e->folder), text, strlen(text)));
		set(name_of(file_of(im, e->folder), text, strlen(text)), 0, im->offsets[i]);
		text += strlen(text) + 1;
		set(name_of(file_of(im, e->to_folder), text, strlen(text)), made, im->offsets[i]);
		break;
	case FAULT_LOG_UNLINK:
		set(name_of(file_of(im, e->folder), text, e->size), 0, im->offsets[i]);
		break;
	case FAULT_LOG_SYNC_BEGIN:
	case FAULT_LOG_SYNC_END:
	case FAULT_LOG_SYNC_FAILED:
		break;
	}
}

/* A write that was synced by itself covers its own pieces alone. */
static void cover_write(struct fault_image *im, const struct fault_entry *e, uint64_t end)
{
	struct file *f = file_of(im, e->inode);

	cover(&f->size, end);
	for (uint64_t s = e->offset / SECTOR; s <= (e->offset + e->size - 1) / SECTOR; s++)
		cover(&f->sectors[s], end);
}

/* What its end adds. */
static void end_entry(struct fault_image *im, uint64_t i)
{
	const struct fault_entry e = entry_at(im, i);

	if (e.kind == FAULT_LOG_WRITE_SYNC && e.size > 0)
		cover_write(im, &e, im->offsets[i + 1]);
	else if (e.kind == FAULT_LOG_SYNC_END)
		each_cell(file_of(im, e.inode), cover, e.offset);
	else if (e.kind == FAULT_LOG_SYNC_FAILED)
		each_cell(file_of(im, e.inode), forget_cb, 0);
}

void fault_image_advance(struct fault_image *im, uint64_t cut)
{
	while (im->next < im->entries && im->offsets[im->next] < cut) {
		if (!im->begun)
			begin_entry(im, im->next);
		im->begun = true;
		if (im->offsets[im->next + 1] > cut)
			return;
		end_entry(im, im->next);
		im->begun = false;
		im->next++;
	}
}

/* ---- the log ---- */

static void index_log(struct fault_image *im)
{
	uint64_t at = 0;

	while (at + sizeof(struct fault_entry) <= im->log_size) {
		struct fault_entry e;

		memcpy(&e, im->log + at, sizeof(e));
		im->offsets = grow(im->offsets, im->entries, &im->entry_room, sizeof(*im->offsets));
		im->offsets[im->entries++] = at;
		at += sizeof(e) + e.size;
	}
	im->offsets = grow(im->offsets, im->entries, &im->entry_room, sizeof(*im->offsets));
	im->offsets[im->entries] = at;
	assert_int_equal(at, im->log_size);
}

struct fault_image *fault_image_new(const char *log, uint64_t root)
{
	struct fault_image *im = calloc(1, sizeof(*im));
	int fd = open(log, O_RDONLY | O_CLOEXEC);
	struct stat st;
	void *map;

	assert_non_null(im);
	if (fd < 0 || fstat(fd, &st) < 0 || st.st_size == 0)
		fail_msg("cannot read the log %s: %s", log, strerror(errno));
	im->log_size = (size_t)st.st_size;
	map = mmap(NULL, im->log_size, PROT_READ, MAP_PRIVATE, fd, 0);
	assert_true(map != MAP_FAILED);
	close(fd);
	im->log = map;
	index_log(im);
	new_file(im, 0, false);
	new_file(im, root, true);
	im->blocks = grow(im->blocks, 0, &im->block_room, sizeof(*im->blocks));
	memset(im->blocks[im->block_count++], 0, SECTOR);
	return im;
}

void fault_image_free(struct fault_image *im)
{
	for (size_t i = 0; i < im->file_count; i++) {
		each_cell(&im->files[i], free_cb, 0);
		free(im->files[i].sectors);
		free(im->files[i].names);
	}
	munmap((void *)(uintptr_t)im->log, im->log_size);
	free(im->offsets);
	free(im->files);
	free(im->blocks);
	free(im);
}

uint64_t fault_image_entries(const struct fault_image *im)
{
	return im->entries;
}

uint64_t fault_image_end(const struct fault_image *im, uint64_t i)
{
	return im->offsets[i + 1];
}

bool fault_image_is_of_note(const struct fault_image *im, uint64_t i)
{
	return entry_at(im, i).kind != FAULT_LOG_MKDIR || i % 32 == 0;
}

bool fault_image_failed(const struct fault_image *im, uint64_t i)
{
	return entry_at(im, i).kind == FAULT_LOG_SYNC_FAILED;
}

/* ---- writing an image ---- */

struct writing {
	const struct fault_image *im;
	enum fault_luck luck;
	uint32_t seed;
};

static enum fault_luck luck_of_names(enum fault_luck luck)
{
	return luck == LUCK_NAMES ? LUCK_ALL : luck == LUCK_BYTES ? LUCK_NOTHING : luck;
}

static enum fault_luck luck_of_bytes(enum fault_luck luck)
{
	return luck == LUCK_NAMES ? LUCK_NOTHING : luck == LUCK_BYTES ? LUCK_ALL : luck;
}

static enum fault_luck luck_of_sizes(enum fault_luck luck)
{
	return luck == LUCK_NAMES || luck == LUCK_BYTES ? LUCK_ALL : luck;
}

/* The database's lock file is written through its map, which the layer does not see: it may hold anything. */
static bool is_unseen(const char *path)
{
	size_t size = strlen(path);

	return size > 5 && strcmp(path + size - 5, "-lock") == 0;
}

static void write_file(const struct writing *w, uint64_t index, const char *path)
{
	const struct file *f = &w->im->files[index];
	size_t size = (size_t)pick(&f->size, luck_of_sizes(w->luck), w->seed, index << 32);
	size_t sectors = (size + SECTOR - 1) / SECTOR;
	unsigned char *bytes = calloc(sectors + 1, SECTOR);
	FILE *out = fopen(path, "wxe");

	assert_true(bytes && out);
	for (size_t i = 0; i < sectors && i < f->sector_count; i++) {
		uint64_t block = pick(&f->sectors[i], luck_of_bytes(w->luck), w->seed, (index << 32) + i + 1);

		memcpy(bytes + i * SECTOR, w->im->blocks[block], SECTOR);
	}
	for (size_t i = 0; is_unseen(path) && i < size; i++)
		bytes[i] = (unsigned char)mix(w->seed + i);
	assert_int_equal(fwrite(bytes, 1, size, out), size);
	assert_int_equal(fclose(out), 0);
	assert_int_equal(chmod(path, 0600), 0);
	free(bytes);
}

static void write_folder(const struct writing *w, uint64_t index, const char *path)
{
	const struct file *f = &w->im->files[index];

	for (size_t i = 0; i < f->name_count; i++) {
		uint64_t child = pick(&f->names[i].file, luck_of_names(w->luck), w->seed, (index << 32) + i);
		char below[PATH_SIZE];

		if (child == 0)
			continue;
		assert_true(snprintf(below, sizeof(below), "%s/%s", path, f->names[i].text) < (int)sizeof(below));
		if (!w->im->files[child].folder) {
			write_file(w, child, below);
			continue;
		}
		assert_int_equal(mkdir(below, 0700), 0);
		write_folder(w, child, below);
	}
}

void fault_image_write(const struct fault_image *im, enum fault_luck luck, uint32_t seed, const char *dir)
{
	const struct writing w = { .im = im, .luck = luck, .seed = seed };

	write_folder(&w, 1, dir);
}
