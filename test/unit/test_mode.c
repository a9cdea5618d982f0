/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cachefs.h"
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

/* TEXT: what mode_parse() takes; DESCRIBED: what it makes of it, or empty where it refuses. */
static const struct parsed {
	char text[72], described[64];
} parsed[] = {
    {"none", "none"},
    {" none\t", "none"},
    {",none,,", "none"},
    {"none,cache.no-flush=on", "cache.direct=on,cache.writeback=on,cache.no-flush=on"},
    {"none cache.no-flush=on", "cache.direct=on,cache.writeback=on,cache.no-flush=on"},
    {"cache.direct=on", "none"},
    {"cache.writeback=off", "writethrough"},
    {"cache.no-flush=on", "unsafe"},
    {"cache.direct=off", "writeback"},
    {"unsafe,cache.no-flush=off,cache.writeback=off", "writethrough"},
    {"unsafe,cache.writeback=off,cache.no-flush=off", "writethrough"},
    {"cache.direct=on,cache.direct=off", "writeback"},
    {"cache.direct=on,cache.writeback=off,cache.no-flush=off", "directsync"},
    {"", ""},
    {" ,\t", ""},
    {"nonee", ""},
    {"non", ""},
    {"None", ""},
    {"none\n", ""},
    {"none,none", ""},
    {"cache.direct=on,none", ""},
    {"none,unsafe", ""},
    {"none,bogus", ""},
    {"none,cache.direct", ""},
    {"none,cache.direct=", ""},
    {"none,cache.direct=yes", ""},
    {"none,cache.direct=onn", ""},
    {"none,cache.direct=of", ""},
    {"none,cache.directx=on", ""},
    {"none,direct=on", ""},
    {"=on", ""},
    {"writethrough,cache.no-flush=on", ""},
    {"unsafe,cache.writeback=off", ""},
    {"cache.writeback=off,cache.no-flush=on", ""},
};

ParameterizedTestParameters(mode, parse)
{
	return cr_make_param_array(struct parsed, (void *)parsed,
				   sizeof(parsed) / sizeof(parsed[0]), NULL);
}

ParameterizedTest(struct parsed *row, mode, parse)
{
	const struct switches before = {true, false, true};
	struct switches sw = before;
	char text[64];
	int result = mode_parse(row->text, strlen(row->text), &sw);

	if (!*row->described) {
		cr_assert_eq(result, -EINVAL, "%s", row->text);
		cr_assert(switches_equal(sw, before));
		return;
	}
	cr_assert_eq(result, 0, "%s", row->text);
	mode_describe(sw, text, sizeof(text));
	cr_assert_str_eq(text, row->described);
}

Test(mode, parse_ends_at_its_length_and_takes_one_nul_there)
{
	struct switches sw;

	cr_assert_eq(mode_parse("nonesuch", 4, &sw), 0);
	cr_assert_str_eq(mode_name(sw), "none");
	cr_assert_eq(mode_parse("none,cache.direct=off", 20, &sw), -EINVAL);
	cr_assert_eq(mode_parse("unsafe", 7, &sw), 0);
	cr_assert_str_eq(mode_name(sw), "unsafe");
	cr_assert_eq(mode_parse("none\0", 6, &sw), -EINVAL);
	cr_assert_eq(mode_parse("", 1, &sw), -EINVAL);
	cr_assert_eq(mode_parse("\0none", 5, &sw), -EINVAL);
	cr_assert_eq(mode_parse("none\0unsafe", 11, &sw), -EINVAL);
}

Test(mode, described_means_the_same_again)
{
	for (unsigned bits = 0; bits < 8; bits++) {
		struct switches sw = switches_unpack(bits), again;
		char text[64];
		int len = mode_describe(sw, text, sizeof(text));

		if (!switches_valid(sw)) {
			cr_assert_eq(mode_parse(text, (size_t)len, &again), -EINVAL);
			continue;
		}
		cr_assert_eq(mode_parse(text, (size_t)len, &again), 0, "%s", text);
		cr_assert(switches_equal(sw, again), "%s", text);
	}
}

/* The bits are those of the public header. */
Test(mode, packed)
{
	cr_assert_eq(switches_pack((struct switches){.direct = true}), CACHEFS_DIRECT);
	cr_assert_eq(switches_pack((struct switches){.writeback = true}), CACHEFS_WRITEBACK);
	cr_assert_eq(switches_pack((struct switches){.no_flush = true}), CACHEFS_NO_FLUSH);
	for (unsigned bits = 0; bits < 8; bits++)
		cr_assert_eq(switches_pack(switches_unpack(bits)), bits);
	cr_assert_eq(switches_pack(switches_unpack(~0u)), 7);
}

/* Of any two of these the first promises more. */
Test(mode, strength)
{
	static const char *const ranking[] = {"directsync", "writethrough",	      "none",
					      "writeback",  "none,cache.no-flush=on", "unsafe"};
	unsigned last = ~0u;

	for (size_t i = 0; i < sizeof(ranking) / sizeof(ranking[0]); i++) {
		struct switches sw;

		cr_assert_eq(mode_parse(ranking[i], strlen(ranking[i]), &sw), 0);
		cr_assert_lt(switches_strength(sw), last, "%s", ranking[i]);
		last = switches_strength(sw);
	}
}
