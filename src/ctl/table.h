/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A table of text, fitted to the width of a terminal. Memory that lacks ends the process. */
#ifndef CACHEFS_CTL_TABLE_H
#define CACHEFS_CTL_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

enum table_colour { COLOUR_NONE, COLOUR_BOLD, COLOUR_RED, COLOUR_YELLOW, COLOUR_GREEN };

struct table_column {
	const char *title;
	bool right;   /* aligned to the right */
	bool shorten; /* may be cut in its middle, down to TABLE_SHORTEST columns */
	int drop;     /* left out where there is no room, the highest first; 0: never */
};
#define TABLE_SHORTEST 16

struct table_cell {
	const char *text; /* UTF-8 without control characters (text_escape()) */
	enum table_colour colour;
};

struct table;

/* COLUMNS must outlive it. */
struct table *table_new(const struct table_column *columns, size_t count);
void table_free(struct table *t);

/* A cell for each column; copied. */
void table_add(struct table *t, const struct table_cell *cells);

/* WIDTH 0: without a limit. ROWS: at most so many of the table's, 0: all; the title is not one. */
void table_print(const struct table *t, FILE *out, size_t width, size_t rows, bool colours);

#endif
