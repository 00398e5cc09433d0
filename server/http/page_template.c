#include "page_template.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/clean.h"
#include "proto/base/text.h"

#define DEPTH_MAX 16
#define NAME_MAX  32
#define TEST_MAX  262144 /* of what a section's slot gives, which is thrown away */

enum node_kind { NODE_TEXT, NODE_SLOT, NODE_IF, NODE_UNLESS };

struct node {
	enum node_kind kind;
	enum page_slot slot;
	struct slice text; /* in the copy */
	size_t end;	   /* of a section: the node after it */
};

struct page_template {
	char *copy;
	struct node *nodes;
	size_t count, capacity;
};

struct parser {
	struct page_template *t;
	const char *file;
	enum page_kind kind;
	const char *at, *end; /* what is still to be read */
	int line;
	struct {
		size_t node;
		int line;
	} open[DEPTH_MAX];
	size_t depth;
	struct error_info *info;
};

static const struct {
	const char *name;
	int pages;
} slots[PAGE_SLOTS] = {
#define SLOT(name, pages) { #name, pages },
	PAGE_SLOT_TABLE(SLOT)
#undef SLOT
};

static int complain(const struct parser *p, int line, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
static int complain(const struct parser *p, int line, const char *fmt, ...)
{
	const char *file = strlen(p->file) > 100 ? p->file + strlen(p->file) - 100 : p->file;
	char what[100];
	va_list args;

	va_start(args, fmt);
	vsnprintf(what, sizeof(what), fmt, args);
	va_end(args);
	return error_set(p->info, ERR_CONFIG, NULL, "%s:%d: %s", file, line, what);
}

static int add(struct parser *p, struct node node)
{
	struct page_template *t = p->t;

	if (t->count == t->capacity) {
		size_t capacity = t->capacity ? 2 * t->capacity : 64;
		struct node *grown = realloc(t->nodes, capacity * sizeof(*grown));

		if (!grown)
			return ERR_NO_MEMORY;
		t->nodes = grown;
		t->capacity = capacity;
	}
	t->nodes[t->count++] = node;
	return 0;
}

static void count_lines(struct parser *p, const char *to)
{
	for (; p->at < to; p->at++)
		p->line += *p->at == '\n';
}

/* ---- what stands between {{ and }} ---- */

static int find_slot(struct parser *p, const char *name, enum page_slot *ret)
{
	for (int i = 0; i < PAGE_SLOTS; i++) {
		if (strcmp(slots[i].name, name) != 0)
			continue;
		if (!(slots[i].pages & (int)p->kind))
			return complain(p, p->line, "{{%s}} is none of this page's", name);
		*ret = (enum page_slot)i;
		return 0;
	}
	return complain(p, p->line, "there is no {{%.40s}}", name);
}

static int close_section(struct parser *p, enum page_slot slot)
{
	struct node *section;

	if (p->depth == 0)
		return complain(p, p->line, "{{/%s}} ends nothing", slots[slot].name);
	section = &p->t->nodes[p->open[p->depth - 1].node];
	if (section->slot != slot)
		return complain(p, p->line, "{{/%s}} stands where {{/%s}} should, for line %d", slots[slot].name,
				slots[section->slot].name, p->open[p->depth - 1].line);
	section->end = p->t->count;
	p->depth--;
	return 0;
}

static int open_section(struct parser *p, enum node_kind kind, enum page_slot slot)
{
	if (p->depth == DEPTH_MAX)
		return complain(p, p->line, "there are more than %d sections in one another", DEPTH_MAX);
	p->open[p->depth].node = p->t->count;
	p->open[p->depth++].line = p->line;
	return add(p, (struct node){ .kind = kind, .slot = slot });
}

static int take_tag(struct parser *p, const char *tag, size_t size)
{
	char sign = size > 0 && strchr("#^/!", tag[0]) ? tag[0] : '\0';
	enum page_slot slot = PAGE_SLOTS;
	char name[NAME_MAX];
	int rc;

	if (sign == '!')
		return 0;
	if (sign) {
		tag++;
		size--;
	}
	while (size > 0 && (*tag == ' ' || *tag == '\t')) {
		tag++;
		size--;
	}
	while (size > 0 && (tag[size - 1] == ' ' || tag[size - 1] == '\t'))
		size--;
	if (size == 0 || size >= sizeof(name))
		return complain(p, p->line, "between {{ and }} stands no name");
	snprintf(name, sizeof(name), "%.*s", (int)size, tag);
	rc = find_slot(p, name, &slot);
	if (rc < 0)
		return rc;
	if (sign == '/')
		return close_section(p, slot);
	if (sign)
		return open_section(p, sign == '#' ? NODE_IF : NODE_UNLESS, slot);
	return add(p, (struct node){ .kind = NODE_SLOT, .slot = slot });
}

/* Text up to the next {{, and that up to its }}. */
static int step(struct parser *p)
{
	const char *tag = memmem(p->at, (size_t)(p->end - p->at), "{{", 2), *close;
	const char *text_end = tag ? tag : p->end;
	int rc = 0;

	if (text_end > p->at)
		rc = add(p, (struct node){ .kind = NODE_TEXT, .text = slice_of(p->at, (size_t)(text_end - p->at)) });
	count_lines(p, text_end);
	if (rc < 0 || !tag)
		return rc;
	tag += 2;
	close = memmem(tag, (size_t)(p->end - tag), "}}", 2);
	if (!close)
		return complain(p, p->line, "{{ without }}");
	rc = take_tag(p, tag, (size_t)(close - tag));
	count_lines(p, close + 2);
	return rc;
}

int page_template_parse(const char *file, struct slice text, enum page_kind kind, struct page_template **ret,
			struct error_info *info)
{
	struct page_template *t = calloc(1, sizeof(*t));
	struct parser p = { .t = t, .file = file, .kind = kind, .line = 1, .info = info };
	int rc = 0;

	if (t)
		t->copy = malloc(text.size + 1);
	if (!t || !t->copy) {
		page_template_free(t);
		return ERR_NO_MEMORY;
	}
	memcpy(t->copy, text.data, text.size);
	p.at = t->copy;
	p.end = t->copy + text.size;
	if (!utf8_valid(text))
		rc = complain(&p, 1, "the file is not UTF-8");
	while (rc == 0 && p.at < p.end)
		rc = step(&p);
	if (rc == 0 && p.depth > 0)
		rc = complain(&p, p.open[p.depth - 1].line, "the section {{#%s}} is never ended",
			      slots[t->nodes[p.open[p.depth - 1].node].slot].name);
	if (rc < 0)
		page_template_free(t);
	else
		*ret = t;
	return rc;
}

void page_template_free(struct page_template *t)
{
	if (!t)
		return;
	free(t->copy);
	free(t->nodes);
	free(t);
}

/* ---- writing ---- */

static bool is_empty(enum page_slot slot, page_slot_cb fill, const void *user)
{
	_cleanup_(buf_done) struct buf scratch;

	buf_init(&scratch, TEST_MAX);
	fill(&scratch, slot, user);
	return scratch.size == 0;
}

int page_template_write(const struct page_template *t, struct buf *out, page_slot_cb fill, const void *user)
{
	for (size_t i = 0; i < t->count; i++) {
		const struct node *n = &t->nodes[i];

		if (n->kind == NODE_TEXT)
			buf_append(out, n->text.data, n->text.size);
		else if (n->kind == NODE_SLOT)
			fill(out, n->slot, user);
		else if (is_empty(n->slot, fill, user) == (n->kind == NODE_IF))
			i = n->end - 1;
	}
	return buf_error(out);
}
