#include "page_texts.h"

#define PAGE_TEXT_DEFAULT(key, words) words,
static const char *const defaults[PAGE_TEXTS] = { PAGE_TEXT_TABLE(PAGE_TEXT_DEFAULT) };

const char *page_text(const struct page_settings *page, enum page_text which)
{
	return page->texts[which] ? page->texts[which] : defaults[which];
}
