/* Pointers of any text into any JSON: what passes the check finds what is there or nothing, the same each time; what is
 * put at a place is found there.
 */
#include "tests/fuzz/fuzz_text.h"

#include "proto/base/clean.h"
#include "proto/error.h"
#include "worker/config/pointer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_free_ char *text = NULL;
	json_t *root, *value, *found;
	struct slice pointer;
	size_t length;
	int rc;

	text = take_line(&data, &size, &length);
	pointer = slice_of(text, length);
	root = rest_as_json(data, size);
	if (pointer_check(pointer) == 0 && root) {
		found = pointer_find(root, pointer);
		must(found == pointer_find(root, pointer));
		must(length > 0 || found == root);
		value = json_string("put");
		rc = pointer_set(root, pointer, json_incref(value));
		must(rc == 0 || rc == ERR_BAD_REQUEST);
		/* A star is looked for elsewhere first, and an empty pointer is refused. */
		if (rc == 0 && !memchr(text, '*', length))
			must(pointer_find(root, pointer) == value);
		json_decref(value);
	}
	json_decref(root);
	return 0;
}
