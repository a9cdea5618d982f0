/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The crash marker when names change: what was said by a name stays said of the file. */
#include <criterion/criterion.h>
#include <criterion/parameterized.h>

#include "test/unit/marker.h"

TestSuite(names, .init = backing_make, .fini = backing_remove);

static const struct file_id id_a = {.type = 1, .len = 3, .bytes = {0x0a, 0x1b, 0x2c}};
static const struct file_id id_b = {.type = 1, .len = 3, .bytes = {0xff, 0x00, 0x01}};
static const struct file_id no_id;

static const struct concerned all = {.kind = MARKER_MOUNT};
static const struct concerned images = {.kind = MARKER_PATTERN, .text = "vm/*.img"};
static const struct concerned file_a = {.kind = MARKER_FILE,
					.text = "vm/a.img",
					.id = {.type = 1, .len = 3, .bytes = {0x0a, 0x1b, 0x2c}}};
static const struct statx old = {.stx_mask = STATX_BTIME, .stx_btime = {.tv_sec = 1000}};

/* ---- this boot ---- */

Test(names, out_of_a_pattern)
{
	boot("a");
	cr_assert_eq(marker_begin(m, &images), 0);
	sync_calls = 0;
	cr_assert_eq(marker_begin_name(m, &id_a, "vm/b.img"), 0, "inside");
	cr_assert_eq(sync_calls, 0);
	cr_assert_eq(marker_begin_name(m, &id_a, "vm/b.raw"), 0);
	expect_lines(HEAD "boot a\npattern \"vm/*.img\"\nfile 1-0a1b2c \"vm/b.raw\"\n" TAIL);
	sync_calls = 0;
	cr_assert_eq(marker_begin_name(m, &id_a, "c"), 0, "its id is there");
	cr_assert_eq(marker_begin(m, &file_a), 0);
	cr_assert_eq(sync_calls, 0);
	cr_assert(marker_names(m, &id_a, "any\0"));
	cr_assert(marker_names(m, &id_b, "other\0vm/x.img\0"));
	cr_assert(!marker_names(m, &id_b, "other\0"));
	cr_assert(!marker_names(m, &id_b, ""), "a file without a name has no pattern's");
	boot("b");
	cr_assert(concerns(&id_a, "elsewhere"));
}

Test(names, nothing_is_said_yet)
{
	boot("a");
	cr_assert_eq(marker_begin_name(m, &id_a, "a"), 0);
	expect_lines(HEAD "boot a\nfile 1-0a1b2c \"a\"\n" TAIL);
	cr_assert_eq(marker_end(m), 0);
	cr_assert_eq(marker_begin_below(m, "vm", "vm2"), 0);
	cr_assert_null(marker_text());
}

Test(names, the_mount_has_all)
{
	boot("a");
	cr_assert_eq(marker_begin(m, &all), 0);
	sync_calls = 0;
	cr_assert_eq(marker_begin_name(m, &id_a, "a"), 0);
	cr_assert_eq(marker_begin_name(m, &no_id, "a"), 0);
	cr_assert_eq(marker_begin_below(m, "vm", "vm2"), 0);
	cr_assert_eq(sync_calls, 0);
}

Test(names, without_an_id_each_name_counts)
{
	boot("a");
	cr_assert_eq(marker_begin(m, &images), 0);
	cr_assert_eq(marker_begin_name(m, &no_id, "b"), 0);
	cr_assert_eq(marker_begin_name(m, &no_id, "c"), 0);
	cr_assert_eq(marker_begin_name(m, &no_id, "vm/c.img"), 0);
	expect_lines(HEAD "boot a\npattern \"vm/*.img\"\nfile 0- \"b\"\nfile 0- \"c\"\n" TAIL);
}

Test(names, many_are_said_by_their_directory)
{
	struct file_id id = id_a;
	char path[64];

	boot("a");
	sync_nothing = true;
	for (int i = 0; i < 2000; i++) {
		memcpy(id.bytes, &i, 2);
		snprintf(path, sizeof(path), "new [1]/%d", i);
		cr_assert_eq(marker_begin_name(m, &id, path), 0);
	}
	cr_assert_leq(sync_calls, 40);
	cr_assert_eq(marker_begin_name(m, &id_b, "top"), 0);
	cr_assert_eq(boot("b"), MARKER_TAINTED);
	cr_assert(concerns(&id, "new [1]/7"));
	cr_assert(concerns(&no_id, "new [1]/anything"));
	cr_assert(!concerns(&no_id, "new [1]/below/it"));
	cr_assert(!concerns(&no_id, "new 1/anything"));
	cr_assert(concerns(&id_b, "top"));
	cr_assert(!concerns(&no_id, "other/top"));
}

Test(names, what_cannot_be_written_is_not_said)
{
	boot("a");
	cr_assert_eq(marker_begin(m, &images), 0);
	sync_error = EIO;
	cr_assert_eq(marker_begin_name(m, &id_a, "a"), -EIO);
	cr_assert_eq(marker_begin_below(m, "vm", "vm2"), -EIO);
	sync_error = 0;
	expect_lines(HEAD "boot a\npattern \"vm/*.img\"\n" TAIL);
	cr_assert_eq(marker_begin_name(m, &id_a, "a"), 0);
	expect_lines(HEAD "boot a\npattern \"vm/*.img\"\nfile 1-0a1b2c \"a\"\n" TAIL);
}

Test(names, inherited_until_it_ends)
{
	boot("a");
	cr_assert(!marker_inherited(m));
	cr_assert_eq(marker_begin(m, &images), 0);
	cr_assert(!marker_inherited(m));
	cr_assert_eq(boot("a"), MARKER_SAME_BOOT);
	cr_assert_eq(marker_adopt(m), 0);
	cr_assert(marker_inherited(m));
	cr_assert(marker_names(m, &id_a, "vm/x.img\0"));
	cr_assert_eq(marker_end(m), 0);
	cr_assert(!marker_inherited(m));
}

/* ---- directories ---- */

struct move {
	char pattern[32], from[16], to[16];
	char said[32]; /* "": nothing */
};

ParameterizedTestParameters(names, a_directory_takes_its_files_with_it)
{
	static struct move rows[] = {
	    {"vm/*.img", "vm", "vm2", "vm2/**"},
	    {"/vm/*.img", "vm", "a/vm2", "a/vm2/**"},
	    {"vm/a.img", "vm", "vm2", "vm2/**"},
	    {"vm/x/*.img", "vm", "vm2", "vm2/**"},
	    {"vm/**", "vm/x", "other", "other/**"},
	    {"vm/**", "vm", "a*b[c]", "a\\\\*b\\\\[c\\\\]/**"},
	    {"**/x", "any", "other", "other/**"},
	    {"*/x", "any", "other", "other/**"},
	    {"v\\m/x", "vm", "other", "other/**"},
	    {"a/**/x", "a/b/c", "d", "d/**"},
	    /* they go by the name alone */
	    {"*.img", "vm", "vm2", ""},
	    /* not below it */
	    {"vm/*.img", "vm/sub", "vm2", ""},
	    {"vm/*.img", "v", "vm2", ""},
	    {"vm/*.img", "vmx", "vm2", ""},
	    {"/*.img", "vm", "vm2", ""},
	    {"vm", "vm", "vm2", ""},
	    /* and at its new place as well */
	    {"vm/**", "vm/a", "vm/b", ""},
	    {"/vm/**", "vm/a", "vm/b/c", ""},
	    {"**/tmp/**", "x/tmp", "tmp", ""},
	    {"**", "vm", "vm2", ""},
	    /* but for some */
	    {"vm/*/x", "vm/a", "vm/b", "vm/b/**"},
	    {"vm/x/**", "vm", "vm2", "vm2/**"},
	};

	return cr_make_param_array(struct move, rows, ARRAY_SIZE(rows));
}

static void expect_move(const struct move *row, const char *head)
{
	char text[256], quoted[64], *end = quoted;

	for (const char *p = row->pattern; *p; p++) {
		if (*p == '\\')
			*end++ = '\\';
		*end++ = *p;
	}
	*end = '\0';
	snprintf(text, sizeof(text), HEAD "%spattern \"%s\"\n%s%s%s" TAIL, head, quoted,
		 *row->said ? "pattern \"" : "", row->said, *row->said ? "\"\n" : "");
	expect_lines(text);
}

ParameterizedTest(struct move *row, names, a_directory_takes_its_files_with_it)
{
	struct concerned c = {.kind = MARKER_PATTERN, .text = row->pattern};

	boot("a");
	cr_assert_eq(marker_begin(m, &c), 0);
	cr_assert_eq(marker_begin_below(m, row->from, row->to), 0);
	expect_move(row, "boot a\n");
	sync_calls = 0;
	cr_assert_eq(marker_begin_below(m, row->from, row->to), 0);
	cr_assert_eq(sync_calls, 0, "once");
}

ParameterizedTestParameters(names, and_what_is_tainted)
{
	static struct move rows[] = {{"vm/*.img", "vm", "vm2", "vm2/**"},
				     {"*.img", "vm", "vm2", ""},
				     {"vm/**", "vm/a", "vm/b", ""}};

	return cr_make_param_array(struct move, rows, ARRAY_SIZE(rows));
}

ParameterizedTest(struct move *row, names, and_what_is_tainted)
{
	struct concerned c = {.kind = MARKER_PATTERN, .text = row->pattern};

	boot("a");
	cr_assert_eq(marker_begin(m, &c), 0);
	boot("b");
	cr_assert_eq(marker_keep_below(m, row->from, row->to), 0);
	expect_move(row, "boot a\n");
}

Test(names, a_directory_of_files_without_ids)
{
	struct concerned c = {.kind = MARKER_FILE, .text = "vm/a"};

	boot("a");
	cr_assert_eq(marker_begin(m, &c), 0);
	cr_assert_eq(marker_begin_below(m, "v", "w"), 0);
	cr_assert_eq(marker_begin_below(m, "vm", "vm2"), 0);
	expect_lines(HEAD "boot a\npattern \"vm2/**\"\nfile 0- \"vm/a\"\n" TAIL);
}

Test(names, a_path_that_is_too_long_for_a_pattern)
{
	char to[4096];

	boot("a");
	cr_assert_eq(marker_begin(m, &images), 0);
	memset(to, '*', sizeof(to));
	to[sizeof(to) - 1] = '\0';
	cr_assert_eq(marker_begin_below(m, "vm", to), 0);
	expect_lines(HEAD "boot a\npattern \"**\"\n" TAIL);
}

/* ---- what is tainted ---- */

Test(names, a_tainted_file_stays_tainted)
{
	boot("a");
	cr_assert_eq(marker_begin(m, &images), 0);
	boot("b");
	cr_assert_eq(marker_keep(m, &id_b, "other\0", &old, "vm/x.raw"), 0, "it is not");
	cr_assert_eq(marker_keep(m, &id_a, "vm/a.img\0", &old, "vm/b.img"), 0, "by its name");
	expect_lines(HEAD "boot a\npattern \"vm/*.img\"\n" TAIL);
	cr_assert_eq(marker_keep(m, &id_a, "vm/a.img\0", &old, "b.raw"), 0);
	expect_lines(HEAD "boot a\npattern \"vm/*.img\"\nfile 1-0a1b2c \"b.raw\"\n" TAIL);
	cr_assert_eq(marker_keep(m, &id_b, "vm/b.img\0", &old, NULL), 0);
	cr_assert(concerns(&id_a, "any"));
	cr_assert(concerns(&id_b, "any"));
	cr_assert_eq(marker_trust_file(m, &id_a, "b.raw"), 0);
	cr_assert(!concerns(&id_a, "b.raw"));
	cr_assert_eq(marker_keep(m, &id_a, "vm/a.img\0", &old, "c.raw"), 0, "trusted stays so");
	cr_assert(!concerns(&id_a, "c.raw"));
}

Test(names, a_file_born_later_is_not_tainted_by_a_name)
{
	struct statx st;

	boot("a");
	cr_assert_eq(marker_begin(m, &images), 0);
	boot("b");
	cr_assert_eq(marker_seen(m), 0);
	backing_file("new", &st);
	cr_assert_eq(marker_keep(m, &id_a, "vm/new.img\0", &st, "elsewhere"), 0);
	cr_assert(!concerns(&id_a, "elsewhere"));
}

Test(names, what_this_boot_may_lose_is_not_tainted)
{
	boot("a");
	cr_assert_eq(marker_begin(m, &images), 0);
	cr_assert_eq(marker_keep(m, &id_a, "vm/a.img\0", &old, "b.raw"), 0);
	cr_assert_eq(marker_keep_below(m, "vm", "vm2"), 0);
	expect_lines(HEAD "boot a\npattern \"vm/*.img\"\n" TAIL);
}

Test(names, more_patterns_than_can_be_said)
{
	char from[32], to[32];

	boot("a");
	sync_nothing = true;
	cr_assert_eq(marker_begin(m, &images), 0);
	for (int i = 0; i <= MARKER_FILES_MAX; i++) {
		snprintf(from, sizeof(from), "%d", i);
		snprintf(to, sizeof(to), "%d", i + 1);
		cr_assert_eq(marker_begin_below(m, i ? from : "vm", to), 0);
	}
	expect_lines(HEAD "boot a\npattern \"**\"\n" TAIL);
}
