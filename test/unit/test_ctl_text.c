/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Text for people, and tables that fit. */
#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cachefs.h"
#include "ctl/table.h"
#include "ctl/text.h"

static const struct escaped {
	char raw[32], shown[64];
} escaped[] = {
    {"plain", "plain"},
    {"a b", "a b"},
    {"back\\slash", "back\\\\slash"},
    {"new\nline", "new\\x0aline"},
    {"\033[31mred", "\\x1b[31mred"},
    {"\177", "\\x7f"},
    {"gr\303\274n", "gr\303\274n"},
    {"\303", "\\xc3"},
    {"\303x", "\\xc3x"},
    {"\377\376", "\\xff\\xfe"},
    {"\302\233x", "\\xc2\\x9bx"},		  /* C1: CSI */
    {"\300\257", "\\xc0\\xaf"},			  /* overlong */
    {"\355\240\200", "\\xed\\xa0\\x80"},	  /* a surrogate */
    {"\364\220\200\200", "\\xf4\\x90\\x80\\x80"}, /* above U+10FFFF */
    {"\360\237\220\247", "\360\237\220\247"},
    {"", ""},
};

ParameterizedTestParameters(ctl_text, escapes)
{
	return cr_make_param_array(struct escaped, (void *)escaped,
				   sizeof(escaped) / sizeof(escaped[0]), NULL);
}

ParameterizedTest(struct escaped *row, ctl_text, escapes)
{
	char *shown = text_escape(row->raw), *valid = text_valid(row->raw);

	cr_assert_str_eq(shown, row->shown);
	text_unescape_bytes(valid);
	cr_assert_str_eq(valid, row->raw, "back from JSON");
	free(shown);
	free(valid);
}

static const struct age {
	uint64_t seconds;
	char text[16];
} ages[] = {
    {0, "0 seconds"},	  {1, "1 second"},	 {119, "119 seconds"},
    {120, "2 minutes"},	  {7199, "119 minutes"}, {7200, "2 hours"},
    {172799, "47 hours"}, {172800, "2 days"},	 {31536000, "365 days"},
};

ParameterizedTestParameters(ctl_text, ages)
{
	return cr_make_param_array(struct age, (void *)ages, sizeof(ages) / sizeof(ages[0]), NULL);
}

ParameterizedTest(struct age *row, ctl_text, ages)
{
	char buf[TEXT_SMALL];

	cr_assert_str_eq(text_age(row->seconds, buf), row->text);
}

static const struct size {
	uint64_t bytes;
	char text[16];
} sizes[] = {
    {0, "0"},
    {1, "1 B"},
    {1023, "1023 B"},
    {1024, "1.0 KiB"},
    {4096, "4.0 KiB"},
    {10188, "9.9 KiB"},
    {10240, "10 KiB"},
    {(1 << 20) - 1, "1.0 MiB"},
    {1 << 20, "1.0 MiB"},
    {150ull << 20, "150 MiB"},
    {20ull << 30, "20 GiB"},
    {3ull << 40, "3.0 TiB"},
    {CACHEFS_UNKNOWN - 1, "16 EiB"},
    {CACHEFS_UNKNOWN, "-"},
};

ParameterizedTestParameters(ctl_text, sizes)
{
	return cr_make_param_array(struct size, (void *)sizes, sizeof(sizes) / sizeof(sizes[0]),
				   NULL);
}

ParameterizedTest(struct size *row, ctl_text, sizes)
{
	char buf[TEXT_SMALL];

	cr_assert_str_eq(text_bytes(row->bytes, buf), row->text);
}

Test(ctl_text, decimals)
{
	char buf[TEXT_SMALL];

	cr_assert_str_eq(text_decimal(NAN, buf), "-");
	cr_assert_str_eq(text_decimal(0, buf), "0");
	cr_assert_str_eq(text_decimal(0.0314, buf), "0.031");
	cr_assert_str_eq(text_decimal(0.9996, buf), "1.0");
	cr_assert_str_eq(text_decimal(12.34, buf), "12.3");
	cr_assert_str_eq(text_decimal(99.96, buf), "100");
	cr_assert_str_eq(text_decimal(1234567, buf), "1234567");
}

Test(ctl_text, shortens_in_the_middle)
{
	static const char path[] = "/srv/images/production/database-master.qcow2";

	for (size_t width = 0; width < 60; width++) {
		char *text = text_shorten(path, width);

		cr_assert_leq(text_width(text), width);
		if (width >= strlen(path))
			cr_assert_str_eq(text, path);
		else if (width >= 5) {
			const char *dots = strstr(text, "...");

			cr_assert_eq(text_width(text), width);
			cr_assert_not_null(dots);
			cr_assert_eq(strncmp(text, path, (size_t)(dots - text)), 0);
			cr_assert_str_eq(dots + 3, path + strlen(path) - strlen(dots + 3));
		}
		free(text);
	}
}

Test(ctl_text, shortens_between_characters)
{
	/* 12 of two bytes each */
	char *text = text_shorten("\303\274\303\274\303\274\303\274\303\274\303\274"
				  "\303\274\303\274\303\274\303\274\303\274\303\274",
				  8);

	cr_assert_str_eq(text, "\303\274...\303\274\303\274\303\274\303\274");
	free(text);
}

Test(ctl_text, wraps_at_blanks)
{
	char *text;
	size_t len;
	FILE *f = open_memstream(&text, &len);

	text_wrap(f, "one two three anextremelylongword x", 2, 11);
	text_wrap(f, "not wrapped at all, since there is no width", 0, 0);
	fclose(f);
	cr_assert_str_eq(text, "  one two\n  three\n  anextremelylongword\n  x\n"
			       "not wrapped at all, since there is no width\n");
	free(text);
}

/* ---- tables ---- */

static const struct table_column columns[] = {
    {.title = "PATH", .shorten = true}, {.title = "MODE"},
    {.title = "NOTE", .drop = 1},	{.title = "DIRTY", .right = true},
    {.title = "FROM", .drop = 2},
};

static char *print(size_t width, size_t rows, bool colours)
{
	struct table *t = table_new(columns, 5);
	char *text;
	size_t len;
	FILE *f = open_memstream(&text, &len);

	table_add(t, (struct table_cell[]){{"a/very/long/path/to/an/image.qcow2", COLOUR_NONE},
					   {"writeback", COLOUR_NONE},
					   {"deleted", COLOUR_RED},
					   {"1.5 MiB", COLOUR_NONE},
					   {"runtime", COLOUR_NONE}});
	table_add(t, (struct table_cell[]){{"b", COLOUR_NONE},
					   {"none", COLOUR_NONE},
					   {"", COLOUR_NONE},
					   {"0", COLOUR_NONE},
					   {"mount", COLOUR_NONE}});
	table_print(t, f, width, rows, colours);
	fclose(f);
	table_free(t);
	return text;
}

static size_t longest(const char *text)
{
	size_t most = 0;

	for (; *text; text += strcspn(text, "\n") + 1)
		if (strcspn(text, "\n") > most)
			most = strcspn(text, "\n");
	return most;
}

Test(ctl_table, without_a_width_nothing_is_cut)
{
	char *text = print(0, 0, false);

	cr_assert_str_eq(
	    text, "PATH                                MODE       NOTE       DIRTY  FROM\n"
		  "a/very/long/path/to/an/image.qcow2  writeback  deleted  1.5 MiB  runtime\n"
		  "b                                   none                      0  mount\n");
	free(text);
}

Test(ctl_table, fits_every_width)
{
	/* 21: one column for the name, and what is never left out */
	for (size_t width = 21; width < 100; width++) {
		char *text = print(width, 0, false);

		cr_assert_leq(longest(text), width, "%zu:\n%s", width, text);
		cr_assert(strstr(text, "writeback") && strstr(text, "1.5 MiB"));
		cr_assert_eq(!!strstr(text, "FROM"), width >= 54, "%zu:\n%s", width, text);
		cr_assert_eq(!!strstr(text, "deleted"), width >= 45, "%zu:\n%s", width, text);
		cr_assert_eq(!strstr(text, "..."), width >= 72 || width < 25, "%zu:\n%s", width,
			     text);
		free(text);
	}
}

Test(ctl_table, colours_take_no_columns)
{
	char *plain = print(60, 0, false), *coloured = print(60, 0, true);

	cr_assert_null(strchr(plain, '\033'));
	cr_assert(strstr(coloured, "\033[31mdeleted\033[0m"));
	cr_assert(strstr(coloured, "\033[1mPATH\033[0m"));
	/* without its codes it is the same */
	for (char *p; (p = strchr(coloured, '\033'));)
		memmove(p, strchr(p, 'm') + 1, strlen(strchr(p, 'm')));
	cr_assert_str_eq(coloured, plain);
	free(plain);
	free(coloured);
}

Test(ctl_table, rows_are_limited)
{
	char *text = print(0, 1, false);

	cr_assert(strstr(text, "image.qcow2"));
	cr_assert_null(strstr(text, "\nb "));
	free(text);
}
