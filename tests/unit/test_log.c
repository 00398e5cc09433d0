/* Log lines: one an event and one write each, escaped such that no input forges another line or breaks the JSON. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include <jansson.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proto/base/clean.h"
#include "proto/base/log.h"
#include "proto/base/text.h"
#include "proto/error.h"

/* Standard error is one end of a datagram socket while a test runs, so that each write arrives as one datagram. */
static struct {
	int saved, reader;
	char line[8192];
	size_t size;
} capture;

static int setup(void **state)
{
	int ends[2];

	(void)state;
	if (socketpair(AF_UNIX, SOCK_DGRAM, 0, ends) < 0)
		return -1;
	capture.saved = dup(STDERR_FILENO);
	capture.reader = ends[0];
	if (capture.saved < 0 || dup2(ends[1], STDERR_FILENO) < 0)
		return -1;
	close(ends[1]);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	dup2(capture.saved, STDERR_FILENO);
	close(capture.saved);
	close(capture.reader);
	return 0;
}

/* True for a write that came, which is then in capture. */
static bool captured(void)
{
	ssize_t n = recv(capture.reader, capture.line, sizeof(capture.line) - 1, MSG_DONTWAIT);

	capture.size = n < 0 ? 0 : (size_t)n;
	capture.line[capture.size] = '\0';
	return n >= 0;
}

/* One line came, in one write, that is text through and through. */
static void assert_one_line(void)
{
	assert_true(captured());
	assert_in_range(capture.size, 2, 4096);
	assert_int_equal(capture.line[capture.size - 1], '\n');
	capture.line[--capture.size] = '\0';
	assert_int_equal(strlen(capture.line), capture.size);
	assert_true(utf8_valid(slice_of(capture.line, capture.size)));
	for (size_t i = 0; i < capture.size; i++) {
		unsigned char c = (unsigned char)capture.line[i];

		assert_false(c < 0x20 || c == 0x7f);
		assert_false(c == 0xc2 && (unsigned char)capture.line[i + 1] < 0xa0);
	}
}

static json_t *assert_one_json(void)
{
	json_error_t error;
	json_t *line;

	assert_one_line();
	line = json_loadb(capture.line, capture.size, JSON_REJECT_DUPLICATES, &error);
	if (!line)
		fail_msg("%s in %s", error.text, capture.line);
	return line;
}

static void json_freep(json_t **j)
{
	json_decref(*j);
}

static const char *member(json_t *line, const char *key)
{
	return json_string_value(json_object_get(line, key));
}

static void test_words(void **state)
{
	enum log_level level = LOG_DEBUG;
	enum log_format format = LOG_TEXT;

	(void)state;
	assert_int_equal(log_parse_level("error", &level), 0);
	assert_int_equal(level, LOG_ERROR);
	assert_int_equal(log_parse_level("warning", &level), 0);
	assert_int_equal(level, LOG_WARNING);
	assert_int_equal(log_parse_level("info", &level), 0);
	assert_int_equal(level, LOG_INFO);
	assert_int_equal(log_parse_level("debug", &level), 0);
	assert_int_equal(level, LOG_DEBUG);
	assert_int_equal(log_parse_level("Error", &level), ERR_BAD_REQUEST);
	assert_int_equal(log_parse_level("", &level), ERR_BAD_REQUEST);
	assert_int_equal(level, LOG_DEBUG);
	assert_int_equal(log_parse_format("json", &format), 0);
	assert_int_equal(format, LOG_JSON);
	assert_int_equal(log_parse_format("text", &format), 0);
	assert_int_equal(format, LOG_TEXT);
	assert_int_equal(log_parse_format("yaml", &format), ERR_BAD_REQUEST);
	assert_int_equal(format, LOG_TEXT);
}

static void test_levels_above_the_threshold_are_not_written(void **state)
{
	(void)state;
	for (int threshold = LOG_ERROR; threshold <= LOG_DEBUG; threshold++) {
		log_init((enum log_level)threshold, LOG_TEXT);
		for (int level = LOG_ERROR; level <= LOG_DEBUG; level++) {
			assert_int_equal(log_enabled((enum log_level)level), level <= threshold);
			log_write((enum log_level)level, "said");
			assert_int_equal(captured(), level <= threshold);
			log_event((enum log_level)level, NULL, 0, "said");
			assert_int_equal(captured(), level <= threshold);
		}
	}
}

static void test_a_line_of_text(void **state)
{
	const struct log_field fields[] = { { "queue", "videos" }, { "absent", NULL }, { "id", "7" } };

	(void)state;
	log_init(LOG_INFO, LOG_TEXT);
	log_event(LOG_WARNING, fields, ARRAY_SIZE(fields), "%d jobs wait", 3);
	assert_one_line();
	/* 2025-06-15T12:00:00.000Z and a blank */
	assert_int_equal(capture.line[10], 'T');
	assert_int_equal(capture.line[23], 'Z');
	assert_string_equal(capture.line + 25, "warning 3 jobs wait queue=\"videos\" id=\"7\"");
	log_error("and %s", "this");
	assert_one_line();
	assert_string_equal(capture.line + 25, "error   and this");
}

/* Only what stands in quotes has its own escaped. */
static void test_quotes_in_a_message_are_plain(void **state)
{
	const struct log_field field = { "file", "a \"b\"" };

	(void)state;
	log_init(LOG_INFO, LOG_TEXT);
	log_event(LOG_INFO, &field, 1, "cannot say \"ready\"");
	assert_one_line();
	assert_string_equal(capture.line + 33, "cannot say \"ready\" file=\"a \\\"b\\\"\"");
}

static void test_what_happens_often_is_said_once(void **state)
{
	struct log_pause pause = { 0 };
	struct log_unsaid unsaid;

	(void)state;
	assert_true(log_after_pause(&pause, &unsaid));
	assert_string_equal(unsaid.text, "");
	assert_false(log_after_pause(&pause, &unsaid));
	assert_false(log_after_pause(&pause, &unsaid));
	/* long ago */
	atomic_store(&pause.said_at_ms, atomic_load(&pause.said_at_ms) - 3600000);
	assert_true(log_after_pause(&pause, &unsaid));
	assert_string_equal(unsaid.text, " (and 2 more since the last such line)");
}

static void test_a_line_of_json(void **state)
{
	const struct log_field fields[] = { { "queue", "videos" }, { "absent", NULL }, { "id", "7" } };
	_cleanup_(json_freep) json_t *line = NULL;

	(void)state;
	log_init(LOG_INFO, LOG_JSON);
	log_event(LOG_INFO, fields, ARRAY_SIZE(fields), "a \"quoted\" \\ word\nand a line");
	line = assert_one_json();
	assert_int_equal(json_object_size(line), 5);
	assert_int_equal(strlen(member(line, "time")), 24);
	assert_string_equal(member(line, "level"), "info");
	assert_string_equal(member(line, "message"), "a \"quoted\" \\ word\nand a line");
	assert_string_equal(member(line, "queue"), "videos");
	assert_string_equal(member(line, "id"), "7");
}

static void test_no_byte_forges_a_line(void **state)
{
	(void)state;
	for (int format = LOG_TEXT; format <= LOG_JSON; format++) {
		log_init(LOG_INFO, (enum log_format)format);
		for (int c = 1; c < 256; c++) {
			char text[] = { 'a', (char)c, 'b', (char)c, '\0' };
			const struct log_field field = { "key", text };

			log_event(LOG_INFO, &field, 1, "%s", text);
			if (format == LOG_JSON)
				json_decref(assert_one_json());
			else
				assert_one_line();
			/* both are told of, whatever stands between */
			assert_non_null(strchr(strstr(capture.line, "key"), 'b'));
			assert_false(captured());
		}
	}
}

static void test_text_beyond_ascii_is_kept_and_its_controls_are_not(void **state)
{
	_cleanup_(json_freep) json_t *line = NULL;

	(void)state;
	log_init(LOG_INFO, LOG_TEXT);
	log_info("Gr\xc3\xbc\xc3\x9f"
		 "e \xf0\x9f\x8e\xac \xc2\x9b"
		 "31m \xff\xe2\x82");
	assert_one_line();
	assert_string_equal(capture.line + 33, "Gr\xc3\xbc\xc3\x9f"
					       "e \xf0\x9f\x8e\xac \\u009b31m \\ufffd\\ufffd\\ufffd");
	log_init(LOG_INFO, LOG_JSON);
	log_info("\xc2\x9b"
		 "31m \xff");
	line = assert_one_json();
	assert_string_equal(member(line, "message"), "\xc2\x9b"
						     "31m \xef\xbf\xbd");
}

/* However long and however much of it has to be escaped: one write that a pipe takes whole, and still JSON. */
static void test_long_lines_are_cut_and_stay_whole(void **state)
{
	static char texts[][5000] = { "m", "\x01", "\"", "\xff", "\xf0\x9f\x8e\xac" };

	(void)state;
	for (size_t t = 0; t < ARRAY_SIZE(texts); t++) {
		size_t unit = strlen(texts[t]);

		for (size_t at = unit; at + unit < sizeof(texts[t]); at += unit)
			memcpy(texts[t] + at, texts[t], unit);
		for (size_t cut = 0; cut < 40; cut++) {
			const struct log_field fields[] = {
				{ "peer", "127.0.0.1" }, { "a", texts[t] + unit * cut }, { "b", texts[t] }, { "c", "d" }
			};
			_cleanup_(json_freep) json_t *line = NULL;

			log_init(LOG_INFO, LOG_JSON);
			log_event(LOG_INFO, fields, ARRAY_SIZE(fields), "%s", texts[t] + unit * cut);
			line = assert_one_json();
			/* no message is so long that it hides who caused it */
			assert_string_equal(member(line, "peer"), "127.0.0.1");
			log_init(LOG_INFO, LOG_TEXT);
			log_event(LOG_INFO, fields, ARRAY_SIZE(fields), "%s", texts[t]);
			assert_one_line();
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_words),
		cmocka_unit_test_setup_teardown(test_levels_above_the_threshold_are_not_written, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_line_of_text, setup, teardown),
		cmocka_unit_test_setup_teardown(test_quotes_in_a_message_are_plain, setup, teardown),
		cmocka_unit_test(test_what_happens_often_is_said_once),
		cmocka_unit_test_setup_teardown(test_a_line_of_json, setup, teardown),
		cmocka_unit_test_setup_teardown(test_no_byte_forges_a_line, setup, teardown),
		cmocka_unit_test_setup_teardown(test_text_beyond_ascii_is_kept_and_its_controls_are_not, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_long_lines_are_cut_and_stay_whole, setup, teardown),
	};

	return cmocka_run_group_tests_name("log", tests, NULL, NULL);
}
