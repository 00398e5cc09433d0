#include "broker_secret.h"

#include <errno.h>
#include <fcntl.h>
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proto/base/clean.h"
#include "proto/base/text.h"
#include "server/store/keys.h"
#include "server/store/layout.h"
#include "server/store/store.h"

#define PATH_BYTES 4200

struct fingerprint {
	char text[LINK_FINGERPRINT_CHARS + 1];
};

static void closep(int *fd)
{
	if (*fd >= 0)
		close(*fd);
}

static int io_error(struct error_info *info, const char *path)
{
	return error_set(info, ERR_IO, "data", "%.160s: %s", path, strerror(errno));
}

static int fingerprint_of(const uint8_t secret[LINK_SECRET_BYTES], struct fingerprint *ret)
{
	uint8_t digest[32];

	if (gnutls_hash_fast(GNUTLS_DIG_SHA256, secret, LINK_SECRET_BYTES, digest) < 0)
		return ERR_INTERNAL;
	hex_encode(digest, LINK_FINGERPRINT_CHARS / 2, ret->text);
	ret->text[LINK_FINGERPRINT_CHARS] = '\0';
	return 0;
}

/* ERR_NOT_FOUND where there is no file. */
static int read_secret(const char *path, uint8_t ret[LINK_SECRET_BYTES], struct error_info *info)
{
	_cleanup_(closep) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	uint8_t bytes[LINK_SECRET_BYTES + 1];
	struct stat st;
	ssize_t n;

	if (fd < 0)
		return errno == ENOENT ? ERR_NOT_FOUND : io_error(info, path);
	if (fstat(fd, &st) < 0)
		return io_error(info, path);
	if (st.st_mode & 077)
		return error_set(info, ERR_CONFIG, "data", "%.160s can be read by others: chmod 600", path);
	n = read(fd, bytes, sizeof(bytes));
	if (n < 0)
		return io_error(info, path);
	if (n != LINK_SECRET_BYTES)
		return error_set(info, ERR_CONFIG, "data", "%.160s is no secret of %d bytes", path, LINK_SECRET_BYTES);
	memcpy(ret, bytes, LINK_SECRET_BYTES);
	return 0;
}

static int sync_dir(const char *dir, struct error_info *info)
{
	_cleanup_(closep) int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0 || fsync(fd) < 0)
		return io_error(info, dir);
	return 0;
}

/* Complete and on disk under its name, or not there at all. */
static int write_secret(const char *dir, const char *path, const uint8_t secret[LINK_SECRET_BYTES],
			struct error_info *info)
{
	_cleanup_(closep) int fd = -1;
	char temp[PATH_BYTES];

	snprintf(temp, sizeof(temp), "%s.new", path);
	if (unlink(temp) < 0 && errno != ENOENT)
		return io_error(info, temp);
	fd = open(temp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return io_error(info, temp);
	if (write(fd, secret, LINK_SECRET_BYTES) != LINK_SECRET_BYTES || fsync(fd) < 0 || rename(temp, path) < 0)
		return io_error(info, temp);
	return sync_dir(dir, info);
}

static int make_secret(const char *dir, const char *path, uint8_t ret[LINK_SECRET_BYTES], struct error_info *info)
{
	uint8_t secret[LINK_SECRET_BYTES];
	int rc;

	if (gnutls_rnd(GNUTLS_RND_KEY, secret, sizeof(secret)) < 0)
		return error_set(info, ERR_INTERNAL, "data", "no random bytes to make %.160s of", path);
	rc = write_secret(dir, path, secret, info);
	if (rc < 0)
		return rc;
	memcpy(ret, secret, LINK_SECRET_BYTES);
	return 0;
}

static int store_failed(int rc, struct error_info *info)
{
	return error_set(info, rc, "data", "the store failed: %.160s", store_error_detail());
}

/* The fingerprint that the database knows; "" where it knows none. */
static int known_fingerprint(struct store *s, struct fingerprint *ret, struct error_info *info)
{
	_cleanup_(store_abortp) struct store_txn *t = NULL;
	struct key key = key_word(META_LINK_SECRET);
	struct slice value = { NULL, 0 };
	int rc;

	memset(ret, 0, sizeof(*ret));
	rc = store_begin_read(s, &t);
	if (rc == 0)
		rc = store_get(t, TABLE_META, key_slice(&key), &value);
	if (rc == ERR_NOT_FOUND)
		return 0;
	if (rc < 0)
		return store_failed(rc, info);
	if (value.size != LINK_FINGERPRINT_CHARS)
		return error_set(info, ERR_CORRUPT, "data",
				 "the fingerprint of the link secret is damaged: look with raincheckd --check");
	memcpy(ret->text, value.data, value.size);
	return 0;
}

static int remember_fingerprint(struct store *s, const struct fingerprint *f, struct error_info *info)
{
	struct key key = key_word(META_LINK_SECRET);
	struct store_txn *t;
	int rc;

	rc = store_begin_write(s, &t);
	if (rc < 0)
		return store_failed(rc, info);
	rc = store_put(t, TABLE_META, key_slice(&key), slice_str(f->text));
	if (rc < 0)
		store_abort(t);
	else
		rc = store_commit(t);
	return rc < 0 ? store_failed(rc, info) : 0;
}

/* Which of the two is wrong nobody can tell, but that no two secrets have fingerprints that differ in a single bit. */
static int wrong_secret(const char *path, const struct fingerprint *known, const struct fingerprint *found,
			struct error_info *info)
{
	int bits = 0;

	for (size_t i = 0; i < LINK_FINGERPRINT_CHARS; i++)
		bits += __builtin_popcount((unsigned)(uint8_t)(known->text[i] ^ found->text[i]));
	if (bits == 1)
		return error_set(info, ERR_CORRUPT, "data",
				 "a bit of the fingerprint of the links' secret (%.16s, %.70s has %.16s) flipped in "
				 "the records: look with raincheckd --check, mend with --compact",
				 known->text, path, found->text);
	return error_set(info, ERR_CONFIG, "data",
			 "%.60s (%.16s) is not the secret of these links (%.16s): put the right one back; if it is the "
			 "right one the records are damaged: look with raincheckd --check",
			 path, found->text, known->text);
}

int broker_secret_load(struct store *s, uint8_t ret_secret[32], struct error_info *info)
{
	struct fingerprint known, found;
	uint8_t secret[LINK_SECRET_BYTES];
	char path[PATH_BYTES - 8];
	int rc;

	snprintf(path, sizeof(path), "%s/" LAYOUT_LINK_KEY, store_dir(s));
	rc = known_fingerprint(s, &known, info);
	if (rc < 0)
		return rc;
	rc = read_secret(path, secret, info);
	if (rc == ERR_NOT_FOUND && known.text[0])
		return error_set(info, ERR_CONFIG, "data",
				 "%.120s is missing: put it back, for without it every link is dead", path);
	if (rc == ERR_NOT_FOUND)
		rc = make_secret(store_dir(s), path, secret, info);
	if (rc == 0)
		rc = fingerprint_of(secret, &found);
	if (rc < 0)
		return rc;
	if (known.text[0] && strcmp(known.text, found.text) != 0)
		return wrong_secret(path, &known, &found, info);
	if (!known.text[0])
		rc = remember_fingerprint(s, &found, info);
	if (rc < 0)
		return rc;
	memcpy(ret_secret, secret, LINK_SECRET_BYTES);
	return 0;
}
