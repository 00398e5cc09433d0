#include "table.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "text.h"

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

static void pad(FILE *out, size_t columns)
{
	fprintf(out, "%*s", (int)columns, "");
}

static void print_cell(const struct table *t, FILE *out, size_t column, const char *text, const char *colour,
		       size_t width)
{
	size_t gap = width - cell_width(text);
	bool last = column + 1 == t->columns;

	if (t->right & (1u << column))
		pad(out, gap);
	if (colour && t->colour)
		fprintf(out, "\033[%sm", colour);
	text_print_cut(out, text, TABLE_MAX_WIDTH);
	if (colour && t->colour)
		fputs("\033[0m", out);
	/* No blanks at the end of a line. */
	if (!last && !(t->right & (1u << column)))
		pad(out, gap);
	fputs(last ? "\n" : "  ", out);
}

bool table_print(const struct table *t, FILE *out)
{
	size_t widths[TABLE_MAX_COLUMNS];

	if (t->failed)
		return false;
	for (size_t column = 0; column < t->columns; column++) {
		widths[column] = cell_width(t->titles[column]);
		for (size_t i = column; i < t->count; i += t->columns)
			if (cell_width(t->cells[i]) > widths[column])
				widths[column] = cell_width(t->cells[i]);
	}
	for (size_t column = 0; column < t->columns; column++)
		print_cell(t, out, column, t->titles[column], "1", widths[column]);
	for (size_t row = 0; row < t->count; row += t->columns)
		for (size_t column = 0; column < t->columns && row + column < t->count; column++)
			print_cell(t, out, column, t->cells[row + column], t->colours[row + column], widths[column]);
	return true;
}
