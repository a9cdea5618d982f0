/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "config/mode.h"

/* The contract's table, written down a second time on purpose. */
static const struct expected {
	char name[16];
	bool direct, writeback, no_flush;
} table[] = {
    {"writethrough", false, false, false}, {"writeback", false, true, false},
    {"none", true, true, false},	   {"directsync", true, false, false},
    {"unsafe", false, true, true},
};

ParameterizedTestParameters(mode, table_row)
{
	return cr_make_param_array(struct expected, (void *)table, sizeof(table) / sizeof(table[0]),
				   NULL);
}

ParameterizedTest(struct expected *row, mode, table_row)
{
	struct switches sw = {!row->direct, !row->writeback, !row->no_flush};
	char text[64];

	cr_assert_eq(mode_by_name(row->name, strlen(row->name), &sw), 0);
	cr_assert_eq(sw.direct, row->direct);
	cr_assert_eq(sw.writeback, row->writeback);
	cr_assert_eq(sw.no_flush, row->no_flush);
	cr_assert_str_eq(mode_name(sw), row->name);
	cr_assert_eq(mode_describe(sw, text, sizeof(text)), (int)strlen(row->name));
	cr_assert_str_eq(text, row->name);
	cr_assert(switches_valid(sw));
}

Test(mode, table_is_complete_and_has_the_default_first)
{
	cr_assert_eq(cache_modes_count, sizeof(table) / sizeof(table[0]));
	cr_assert_str_eq(cache_modes[0].name, "writeback");
	for (size_t i = 0; i < cache_modes_count; i++)
		cr_assert(strlen(cache_modes[i].summary) > 0);
}

Test(mode, unknown_names_change_nothing)
{
	static const char *const unknown[] = {"", "WRITEBACK", "writebac", "writebackx", "off"};
	const struct switches before = {true, false, true};

	for (size_t i = 0; i < sizeof(unknown) / sizeof(unknown[0]); i++) {
		struct switches sw = before;

		cr_assert_eq(mode_by_name(unknown[i], strlen(unknown[i]), &sw), -EINVAL);
		cr_assert(switches_equal(sw, before));
	}
}

Test(mode, name_ends_at_its_length)
{
	struct switches sw = {false, false, false};

	cr_assert_eq(mode_by_name("nonesuch", 4, &sw), 0);
	cr_assert_str_eq(mode_name(sw), "none");
}

Test(mode, combinations_without_a_name)
{
	const struct switches bypass_unsafe = {true, true, true};
	const struct switches contradiction = {false, false, true};
	static const char text[] = "cache.direct=on,cache.writeback=on,cache.no-flush=on";
	char buf[64], small[8];

	cr_assert_null(mode_name(bypass_unsafe));
	cr_assert(switches_valid(bypass_unsafe));
	cr_assert_eq(mode_describe(bypass_unsafe, buf, sizeof(buf)), (int)strlen(text));
	cr_assert_str_eq(buf, text);
	cr_assert_eq(mode_describe(bypass_unsafe, small, sizeof(small)), (int)strlen(text));
	cr_assert_str_eq(small, "cache.d");
	cr_assert_null(mode_name(contradiction));
	cr_assert_not(switches_valid(contradiction));
}

Test(mode, equality_looks_at_every_switch)
{
	for (int a = 0; a < 8; a++)
		for (int b = 0; b < 8; b++) {
			struct switches left = {a & 1, a & 2, a & 4};
			struct switches right = {b & 1, b & 2, b & 4};

			cr_assert_eq(switches_equal(left, right), a == b);
		}
}
