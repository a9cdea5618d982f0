/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctl/table.h"

#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "ctl/text.h"

enum { GAP = 2 };

struct cell {
	char *text;
	enum table_colour colour;
};

struct table {
	const struct table_column *columns;
	size_t columns_count, rows, room;
	struct cell *cells; /* rows * columns_count */
};

static const char *const codes[] = {
    [COLOUR_NONE] = "",		  [COLOUR_BOLD] = "\033[1m",   [COLOUR_RED] = "\033[31m",
    [COLOUR_YELLOW] = "\033[33m", [COLOUR_GREEN] = "\033[32m",
};

struct table *table_new(const struct table_column *columns, size_t count)
{
	struct table *t = need_memory(calloc(1, sizeof(*t)));

	t->columns = columns;
	t->columns_count = count;
	return t;
}

void table_free(struct table *t)
{
	for (size_t i = 0; i < t->rows * t->columns_count; i++)
		free(t->cells[i].text);
	free(t->cells);
	free(t);
}

void table_add(struct table *t, const struct table_cell *cells)
{
	struct cell *row;

	if (t->rows == t->room) {
		t->room = t->room ? 2 * t->room : 16;
		t->cells =
		    need_memory(realloc(t->cells, t->room * t->columns_count * sizeof(*t->cells)));
	}
	row = &t->cells[t->rows++ * t->columns_count];
	for (size_t i = 0; i < t->columns_count; i++)
		row[i] = (struct cell){need_memory(strdup(cells[i].text)), cells[i].colour};
}

static size_t natural_width(const struct table *t, size_t column)
{
	size_t width = text_width(t->columns[column].title);

	for (size_t row = 0; row < t->rows; row++) {
		size_t n = text_width(t->cells[row * t->columns_count + column].text);

		width = MAX(width, n);
	}
	return width;
}

/* Of the columns that are shown (width not 0). */
static size_t total_width(const size_t *widths, size_t n)
{
	size_t total = 0;

	for (size_t i = 0; i < n; i++)
		total += widths[i] ? widths[i] + GAP : 0;
	return total ? total - GAP : 0;
}

/* What can be taken from the columns that may be cut, so that each keeps LEAST. */
static size_t spare(const struct table *t, const size_t *widths, size_t least)
{
	size_t sum = 0;

	for (size_t i = 0; i < t->columns_count; i++)
		if (t->columns[i].shorten && widths[i] > least)
			sum += widths[i] - least;
	return sum;
}

/* Takes OVER from them, always from the widest. */
static void cut(const struct table *t, size_t *widths, size_t over, size_t least)
{
	while (over--) {
		size_t widest = t->columns_count;

		for (size_t i = 0; i < t->columns_count; i++)
			if (t->columns[i].shorten && widths[i] > least &&
			    (widest == t->columns_count || widths[i] > widths[widest]))
				widest = i;
		if (widest == t->columns_count)
			return;
		widths[widest]--;
	}
}

/* The column that is left out next, or their number where none may be. */
static size_t least_important(const struct table *t, const size_t *widths)
{
	size_t least = t->columns_count;

	for (size_t i = 0; i < t->columns_count; i++)
		if (widths[i] && t->columns[i].drop > 0 &&
		    (least == t->columns_count || t->columns[i].drop >= t->columns[least].drop))
			least = i;
	return least;
}

/* First long names are cut, then columns are left out, then names are cut shorter still. */
static void fit(const struct table *t, size_t *widths, size_t limit)
{
	for (;;) {
		size_t total = total_width(widths, t->columns_count), last;
		size_t over = total > limit ? total - limit : 0;

		last = least_important(t, widths);
		if (over <= spare(t, widths, TABLE_SHORTEST) || last == t->columns_count) {
			cut(t, widths, MIN(over, spare(t, widths, TABLE_SHORTEST)), TABLE_SHORTEST);
			total = total_width(widths, t->columns_count);
			cut(t, widths, total > limit ? total - limit : 0, 1);
			return;
		}
		widths[last] = 0;
	}
}

static void print_cell(FILE *out, const struct table_column *column, const struct cell *cell,
		       size_t width, bool last, bool colours)
{
	_cleanup_free_ char *text = text_shorten(cell->text, width);
	size_t pad = width - text_width(text);
	bool colour = colours && cell->colour != COLOUR_NONE;

	if (column->right)
		fprintf(out, "%*s", (int)pad, "");
	fprintf(out, "%s%s%s", colour ? codes[cell->colour] : "", text, colour ? "\033[0m" : "");
	if (!last)
		fprintf(out, "%*s", (int)(column->right ? GAP : pad + GAP), "");
}

static void print_row(const struct table *t, FILE *out, const struct cell *cells,
		      const size_t *widths, bool colours)
{
	size_t last = 0;

	for (size_t i = 0; i < t->columns_count; i++)
		last = widths[i] ? i : last;
	for (size_t i = 0; i < t->columns_count; i++)
		if (widths[i])
			print_cell(out, &t->columns[i], &cells[i], widths[i], i == last, colours);
	putc('\n', out);
}

void table_print(const struct table *t, FILE *out, size_t width, size_t rows, bool colours)
{
	size_t *widths = need_memory(calloc(t->columns_count, sizeof(*widths)));
	struct cell *titles = need_memory(calloc(t->columns_count, sizeof(*titles)));

	for (size_t i = 0; i < t->columns_count; i++) {
		widths[i] = natural_width(t, i);
		titles[i] = (struct cell){(char *)t->columns[i].title, COLOUR_BOLD};
	}
	if (width)
		fit(t, widths, width);
	print_row(t, out, titles, widths, colours);
	for (size_t row = 0; row < t->rows && (!rows || row < rows); row++)
		print_row(t, out, &t->cells[row * t->columns_count], widths, colours);
	free(widths);
	free(titles);
}
