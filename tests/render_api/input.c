/* Parsing of a submit's body. Jansson has vetted the UTF-8 and refuses NUL inside strings, so a name here is a proper C
 * string; everything else about a name is left as it is, however odd, because odd names are what is to be tested. */
#include "input.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

#include "hook.h"

#define DEFAULT_COLOUR 0x2f6fdeU

static const struct {
	const char *name;
	uint32_t colour;
} colours[] = {
	{ "black", 0x000000 },	{ "white", 0xffffff },	{ "gray", 0x808080 },	 { "grey", 0x808080 },
	{ "red", 0xff0000 },	{ "green", 0x008000 },	{ "blue", 0x0000ff },	 { "yellow", 0xffff00 },
	{ "orange", 0xffa500 }, { "purple", 0x800080 }, { "pink", 0xffc0cb },	 { "teal", 0x008080 },
	{ "navy", 0x000080 },	{ "gold", 0xffd700 },	{ "tomato", 0xff6347 },	 { "seagreen", 0x2e8b57 },
	{ "coral", 0xff7f50 },	{ "indigo", 0x4b0082 }, { "crimson", 0xdc143c }, { "rebeccapurple", 0x663399 },
};

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

static int parse_hex_colour(const char *digits, uint32_t *ret_colour)
{
	size_t n = strlen(digits);
	uint32_t colour = 0;

	if (n != 3 && n != 6)
		return -EINVAL;
	for (size_t i = 0; i < n; i++) {
		int digit = hex_digit(digits[i]);

		if (digit < 0)
			return -EINVAL;
		colour = colour << 4 | (uint32_t)digit;
		if (n == 3)
			colour = colour << 4 | (uint32_t)digit;
	}
	*ret_colour = colour;
	return 0;
}

int input_parse_colour(const char *text, uint32_t *ret_colour)
{
	if (text[0] == '#')
		return parse_hex_colour(text + 1, ret_colour);
	for (size_t i = 0; i < ARRAY_SIZE(colours); i++) {
		if (strcasecmp(colours[i].name, text) == 0) {
			*ret_colour = colours[i].colour;
			return 0;
		}
	}
	return -EINVAL;
}

static int take_name(struct input *in, const json_t *name, struct fault *f)
{
	size_t bytes = json_string_length(name);

	if (!json_is_string(name) || bytes == 0 || bytes > INPUT_NAME_MAX_BYTES)
		return fault_set(f, -EINVAL, "name must be a string of 1 to %d bytes", INPUT_NAME_MAX_BYTES);
	in->name = strdup(json_string_value(name));
	return in->name == NULL ? -ENOMEM : 0;
}

static int take_colour(struct input *in, const json_t *colour, struct fault *f)
{
	in->colour = DEFAULT_COLOUR;
	if (colour == NULL || json_is_null(colour))
		return 0;
	if (!json_is_string(colour) || input_parse_colour(json_string_value(colour), &in->colour) < 0)
		return fault_set(f, -EINVAL, "colour must be #rrggbb or a colour's name");
	return 0;
}

static int take_webhook(struct input *in, const json_t *webhook, struct fault *f)
{
	if (webhook == NULL || json_is_null(webhook))
		return 0;
	if (!json_is_string(webhook) || hook_url_check(json_string_value(webhook)) < 0)
		return fault_set(f, -EINVAL, "webhook must be a plain http URL on a loopback address");
	in->webhook = strdup(json_string_value(webhook));
	return in->webhook == NULL ? -ENOMEM : 0;
}

static int take_json(struct input *in, const json_t *root)
{
	in->json = json_dumps(root, JSON_COMPACT | JSON_PRESERVE_ORDER);
	if (in->json == NULL)
		return -ENOMEM;
	in->json_bytes = strlen(in->json);
	return 0;
}

int input_parse(const char *body, size_t bytes, const struct behave *defaults, struct input **ret_input,
		struct fault *f)
{
	_cleanup_(input_freep) struct input *in = NULL;
	_cleanup_(json_freep) json_t *root = NULL;
	const json_t *behave;
	json_error_t error;
	int rc;

	root = json_loadb(body, bytes, JSON_REJECT_DUPLICATES, &error);
	if (root == NULL)
		return fault_set(f, -EINVAL, "the body is not JSON: %.160s at line %d", error.text, error.line);
	if (!json_is_object(root))
		return fault_set(f, -EINVAL, "the body must be a JSON object");

	in = calloc(1, sizeof(*in));
	if (in == NULL)
		return -ENOMEM;
	in->behave = *defaults;
	rc = take_name(in, json_object_get(root, "name"), f);
	if (rc == 0)
		rc = take_colour(in, json_object_get(root, "colour"), f);
	if (rc == 0)
		rc = take_webhook(in, json_object_get(root, "webhook"), f);
	behave = json_object_get(root, "behave");
	if (rc == 0 && behave != NULL)
		rc = behave_from_json(&in->behave, behave, f);
	if (rc == 0)
		rc = take_json(in, root);
	if (rc < 0)
		return rc;

	*ret_input = TAKE_PTR(in);
	return 0;
}

void input_free(struct input *in)
{
	if (in == NULL)
		return;
	free(in->name);
	free(in->webhook);
	free(in->json);
	free(in);
}
