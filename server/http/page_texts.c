#include "page_texts.h"

#include <string.h>

#define ENGLISH(key, english, german) english,
#define GERMAN(key, english, german)  german,
/* Long sentences are two literals beside each other. */
static const char *const defaults[PAGE_LANGUAGES][PAGE_TEXTS] = {
	/* NOLINTNEXTLINE(bugprone-suspicious-missing-comma) */
	[PAGE_ENGLISH] = { PAGE_TEXT_TABLE(ENGLISH) },
	/* NOLINTNEXTLINE(bugprone-suspicious-missing-comma) */
	[PAGE_GERMAN] = { PAGE_TEXT_TABLE(GERMAN) },
};

const char *page_text(const struct page_settings *page, enum page_text which)
{
	return page->texts[which] ? page->texts[which] : defaults[page->language][which];
}

bool page_language_find(const char *code, enum page_language *ret)
{
	for (int i = 0; i < PAGE_LANGUAGES; i++) {
		if (strcmp(defaults[i][PAGE_TEXT_language], code) != 0)
			continue;
		*ret = (enum page_language)i;
		return true;
	}
	return false;
}
