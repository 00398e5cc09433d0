#include "tests/harness/page_made.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

char *page_made(struct page_content content, struct msg_job *job)
{
	struct buf out;

	job->has_link = true;
	job->link = slice_str(PAGE_MADE_LINK);
	content.job = job;
	content.token = "TOKEN";
	content.nonce = "NONCE";
	content.now_ms = PAGE_MADE_NOW;
	buf_init(&out, PAGE_MAX_BYTES);
	assert_int_equal(page_html_job(&out, &content), 0);
	assert_int_equal(buf_append(&out, "", 1), 0);
	assert_int_equal(strlen((const char *)out.data), out.size - 1);
	return (char *)out.data;
}

void page_has(const char *page, const char *what)
{
	if (!strstr(page, what))
		fail_msg("the page lacks %s", what);
}

void page_lacks(const char *page, const char *what)
{
	if (strstr(page, what))
		fail_msg("the page has %s", what);
}
