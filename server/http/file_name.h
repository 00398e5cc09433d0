/* file_name.h: what a download is called, from a title that a stranger wrote. Any thread; no state. */
#ifndef RAINCHECK_HTTP_FILE_NAME_H
#define RAINCHECK_HTTP_FILE_NAME_H

struct file_name {
	char disposition[1024]; /* the whole Content-Disposition */
};

/* "attachment; filename=…" (and filename*, where the name is not plain ASCII), after the title or else fallback.
 * Slashes, control characters and whatever else could steer a shell or a file system become "_". */
void file_name_make(const char *title, const char *fallback, const char *extension, struct file_name *ret);

#endif
