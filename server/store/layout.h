/* layout.h: what a data directory consists of, for whoever makes, copies or looks at one as files.
 *
 *   raincheck.mdb         every record; raincheck.mdb-lock is LMDB's and means nothing after its process
 *   blobs/                artifacts that are too large for the map (blob.h)
 *   link.key              the secret of the links, so that a copy of the records alone opens none
 *   lock                  held by the process that uses the directory
 */
#ifndef RAINCHECK_STORE_LAYOUT_H
#define RAINCHECK_STORE_LAYOUT_H

#define LAYOUT_RECORDS	"raincheck.mdb"
#define LAYOUT_LINK_KEY "link.key"
#define LAYOUT_LOCK	"lock"

/* Words of TABLE_META. */
#define META_FORMAT	 "format"      /* the version of all that is stored: 32 bits, as the machine has them */
#define META_LINK_SECRET "link_secret" /* the secret's fingerprint: LINK_FINGERPRINT_CHARS characters */

#define LINK_SECRET_BYTES      32
#define LINK_FINGERPRINT_CHARS 16 /* hexadecimal digits: the beginning of the secret's SHA-256 */

#endif
