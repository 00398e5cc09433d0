#include "table.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "text.h"

#define GAP    2  /* between columns */
#define ENOUGH 12 /* of a cell that is cut, while that does */
#define LEAST  4  /* with less, nothing of it is left */

void table_init(struct table *t, const char *const *titles, size_t columns, uint32_t right, bool colour)
{
	assert(columns > 0 && columns <= TABLE_MAX_COLUMNS);
	*t = (struct table){ .titles = titles, .columns = columns, .right = right, .colour = colour };
}

void table_done(struct table *t)
{
	for (size_t i = 0; i < t->count; i++)
		free(t->cells[i]);
	free(t->cells);
	free(t->colours);
	*t = (struct table){ 0 };
}

void table_fit(struct table *t, size_t width, uint32_t whole)
{
	t->width = width;
	t->whole = whole;
}

static bool grow(struct table *t)
{
	size_t capacity = t->capacity ? t->capacity * 2 : 64;
	char **cells = realloc(t->cells, capacity * sizeof(*cells));
	const char **colours;

	if (!cells)
		return false;
	t->cells = cells;
	colours = realloc(t->colours, capacity * sizeof(*colours));
	if (!colours)
		return false;
	t->colours = colours;
	t->capacity = capacity;
	return true;
}

void table_add_coloured(struct table *t, const char *text, const char *colour)
{
	if (t->failed || (t->count == t->capacity && !grow(t))) {
		t->failed = true;
		return;
	}
	if (text && *text)
		t->filled |= 1u << (t->count % t->columns);
	t->cells[t->count] = strdup(text ? text : "-");
	t->colours[t->count] = colour;
	if (t->cells[t->count])
		t->count++;
	else
		t->failed = true;
}

void table_add(struct table *t, const char *text)
{
	table_add_coloured(t, text, NULL);
}

void table_add_number(struct table *t, int64_t number)
{
	char text[32];

	snprintf(text, sizeof(text), "%lld", (long long)number);
	table_add(t, text);
}

static size_t cell_width(const char *text)
{
	size_t width = text_width(text);

	return width < TABLE_MAX_WIDTH ? width : TABLE_MAX_WIDTH;
}

/* ---- how wide each column is; 0: it is left out ---- */

static void measure(const struct table *t, size_t *widths)
{
	for (size_t column = 0; column < t->columns; column++) {
		widths[column] = cell_width(t->titles[column]);
		for (size_t i = column; i < t->count; i += t->columns)
			if (cell_width(t->cells[i]) > widths[column])
				widths[column] = cell_width(t->cells[i]);
	}
}

static size_t line_width(const struct table *t, const size_t *widths)
{
	size_t width = 0;

	for (size_t column = 0; column < t->columns; column++)
		if (widths[column] > 0)
			width += widths[column] + (width > 0 ? GAP : 0);
	return width;
}

/* Cuts columns to no less than floor, from the right, as far as is needed. */
static void cut(const struct table *t, size_t *widths, size_t floor)
{
	size_t width = line_width(t, widths);

	for (size_t column = t->columns; column-- > 0 && width > t->width;) {
		size_t excess = width - t->width;
		size_t spare = widths[column] > floor ? widths[column] - floor : 0;

		if ((t->right | t->whole) & (1u << column))
			continue;
		widths[column] -= spare < excess ? spare : excess;
		width -= spare < excess ? spare : excess;
	}
}

static void fit(const struct table *t, size_t *widths)
{
	if (t->width == 0)
		return;
	for (size_t column = 0; t->count > 0 && column < t->columns; column++)
		if (!(t->filled & (1u << column)))
			widths[column] = 0;
	for (size_t floor = ENOUGH; floor >= LEAST; floor--)
		cut(t, widths, floor);
	for (size_t column = t->columns; column-- > 1 && line_width(t, widths) > t->width;)
		widths[column] = 0;
}

/* ---- printing ---- */

static void pad(FILE *out, size_t columns)
{
	fprintf(out, "%*s", (int)columns, "");
}

/* Returns the blanks that are due before the next cell: there are none at the end of a line. */
static size_t print_cell(const struct table *t, FILE *out, size_t column, const char *text, const char *colour,
			 size_t width)
{
	bool right = t->right & (1u << column);
	size_t used = cell_width(text);

	if (right)
		pad(out, width - used);
	if (colour && t->colour)
		fprintf(out, "\033[%sm", colour);
	used = text_print_cut(out, text, width);
	if (colour && t->colour)
		fputs("\033[0m", out);
	return right ? GAP : width - used + GAP;
}

/* colours may be NULL: all are as a title's. */
static void print_row(const struct table *t, FILE *out, const size_t *widths, const char *const *cells,
		      const char *const *colours)
{
	size_t due = 0;

	for (size_t column = 0; column < t->columns; column++) {
		if (widths[column] == 0)
			continue;
		pad(out, due);
		due = print_cell(t, out, column, cells[column], colours ? colours[column] : "1", widths[column]);
	}
	fputc('\n', out);
}

bool table_print(const struct table *t, FILE *out)
{
	size_t widths[TABLE_MAX_COLUMNS];

	if (t->failed)
		return false;
	measure(t, widths);
	fit(t, widths);
	print_row(t, out, widths, t->titles, NULL);
	for (size_t at = 0; at + t->columns <= t->count; at += t->columns)
		print_row(t, out, widths, (const char *const *)&t->cells[at], &t->colours[at]);
	return true;
}
