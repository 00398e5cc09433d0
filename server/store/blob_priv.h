/* blob_priv.h: what the files of blob.h share: the folders that the blobs lie in. Any thread; no state. */
#ifndef RAINCHECK_STORE_BLOB_PRIV_H
#define RAINCHECK_STORE_BLOB_PRIV_H

#define BLOB_FOLDERS 256 /* 00 to ff */

/* ERR_STORE_FULL, ERR_NO_MEMORY or ERR_IO, as errno says. */
int blob__from_errno(void);

/* What was made, renamed or removed in the folder of that name stays so. Errors as above. */
int blob__sync_folder(int blobs_fd, const char *name);

/* Makes those that are missing: tmp and 00 to ff. They are on disk afterwards, and the name of blobs_fd itself. Errors
 * as above. */
int blob__make_folders(int blobs_fd);

#endif
