/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The crash marker's text: written as it is read, and nothing that we did not write is believed. */
#include <criterion/criterion.h>
#include <criterion/parameterized.h>

#include "test/unit/marker.h"

TestSuite(marker_text, .init = backing_make, .fini = backing_remove);

static const struct file_id id_b = {.type = 1, .len = 3, .bytes = {0xff, 0x00, 0x01}};
static const struct file_id no_id;

static const struct concerned images = {.kind = MARKER_PATTERN, .text = "vm/*.img"};

/* ---- the text ---- */

static const struct good {
	char text[400];
} goods[] = {
    {HEAD BOOT_A "mount\n" TAIL},
    {HEAD BOOT_A "pattern \"vm/*.img\"\npattern \"*.qcow2\"\n" TAIL},
    {HEAD BOOT_A "file 1-0a1b2c \"vm/a.img\"\nfile 0- \"b\"\n" TAIL},
    {HEAD BOOT_A "file 1-0a \"\\\"\\\\\\n\\001\\177\\t\"\n" TAIL},
    {HEAD BOOT_A "file 1-0a \"\xc3\xa4\xff\"\n" TAIL},
    {HEAD BOOT_A "mount\nseen 2026-11-21T06:00:00.000000001Z\ntrusted 1-0a \"x\"\n" TAIL},
    {HEAD BOOT_A "mount\nerror\n" TAIL},
    {HEAD BOOT_A "mount\n" BOOT_B "pattern \"x\"\nfile 1-00 \"y\"\nerror\n" TAIL},
};

ParameterizedTestParameters(marker_text, says_again_what_it_read)
{
	return cr_make_param_array(struct good, (void *)goods, ARRAY_SIZE(goods), NULL);
}

ParameterizedTest(struct good *row, marker_text, says_again_what_it_read)
{
	char text[512], *tab = strstr(row->text, "\\t");

	if (tab)
		memcpy(tab, "tt", 2);
	marker_put(row->text, strlen(row->text));
	cr_assert_eq(boot("c"), MARKER_TAINTED);
	cr_assert_eq(marker_begin(m, &images), 0); /* a change, so that it is written */
	snprintf(text, sizeof(text), "%s", row->text);
	cr_assert_eq(marker_end(m), 0);
	expect_marker(text);
	cr_assert_eq(marker_trust_all(m), 0);
	cr_assert_null(marker_text());
}

static const struct bad {
	char text[300];
} bads[] = {
    {""},
    {"\n"},
    {HEAD},
    {HEAD BOOT_A "mount\n"},
    {HEAD BOOT_A "mount\nend"},
    {HEAD BOOT_A "mount\nend\nend\n"},
    {HEAD "mount\n" TAIL},
    {HEAD "boot a\nmount\n" TAIL},
    {HEAD "boot  2026-11-21T05:50:00Z\nmount\n" TAIL},
    {HEAD "boot a/b 2026-11-21T05:50:00Z\nmount\n" TAIL},
    {HEAD "boot a 2026-11-31T05:50:00Z\nmount\n" TAIL},
    {HEAD "boot a 2026-11-21T05:60:00Z\nmount\n" TAIL},
    {HEAD "boot a 2026-11-21T05:50:00.5Z\nmount\n" TAIL},
    {HEAD "boot a 2026-11-21T05:50:00\nmount\n" TAIL},
    {HEAD "boot a 1969-12-31T05:50:00Z\nmount\n" TAIL},
    {HEAD BOOT_A "mount x\n" TAIL},
    {HEAD BOOT_A "mounts\n" TAIL},
    {HEAD BOOT_A "Mount\n" TAIL},
    {HEAD BOOT_A "pattern x\n" TAIL},
    {HEAD BOOT_A "pattern \"x\n" TAIL},
    {HEAD BOOT_A "pattern \"x\" \n" TAIL},
    {HEAD BOOT_A "pattern \"[\"\n" TAIL},
    {HEAD BOOT_A "pattern \"\"\n" TAIL},
    {HEAD BOOT_A "pattern \"\t\"\n" TAIL},
    {HEAD BOOT_A "file \"x\"\n" TAIL},
    {HEAD BOOT_A "file 1-0 \"x\"\n" TAIL},
    {HEAD BOOT_A "file 1-00\n" TAIL},
    {HEAD BOOT_A "file 1-00 x\n" TAIL},
    {HEAD BOOT_A "file 1-00 \"\\x\"\n" TAIL},
    {HEAD BOOT_A "file 1-00 \"\\000\"\n" TAIL},
    {HEAD BOOT_A "file 1-00 \"\\777\"\n" TAIL},
    {HEAD BOOT_A "file 1-00 \"\\\n" TAIL},
    {HEAD BOOT_A "seen\n" TAIL},
    {HEAD BOOT_A "trusted 1-00\n" TAIL},
    {HEAD BOOT_A "mount\ntrusted 1-00 \"x\"\nfile 1-00 \"x\"\n" TAIL},
    {"cachefs crash marker 2\n" BOOT_A "mount\n" TAIL},
};

ParameterizedTestParameters(marker_text, what_we_did_not_write_taints_all)
{
	return cr_make_param_array(struct bad, (void *)bads, ARRAY_SIZE(bads), NULL);
}

ParameterizedTest(struct bad *row, marker_text, what_we_did_not_write_taints_all)
{
	marker_put(row->text, strlen(row->text));
	cr_assert_eq(boot("a"), MARKER_TAINTED, "%s", row->text);
	cr_assert(concerns(&id_b, "anything"));
	expect_marker(row->text);
	cr_assert_eq(marker_seen(m), 0);
	expect_lines(HEAD "boot unknown\nmount\nseen\n" TAIL);
	cr_assert_eq(boot("a"), MARKER_TAINTED);
	cr_assert_eq(marker_trust_all(m), 0);
	cr_assert_eq(boot("a"), MARKER_CLEAN);
}

Test(marker_text, every_cut_taints_all)
{
	for (size_t row = 0; row < ARRAY_SIZE(goods) - 1; row++)
		for (size_t len = 0; len < strlen(goods[row].text); len++) {
			marker_put(goods[row].text, len);
			cr_assert_eq(boot("a"), MARKER_TAINTED);
			cr_assert(concerns(&id_b, "anything"), "%zu %zu", row, len);
		}
}

Test(marker_text, a_zero_byte_taints_all)
{
	static const char text[] = HEAD BOOT_A "file 1-00 \"x\0y\"\n" TAIL;

	marker_put(text, sizeof(text) - 1);
	cr_assert_eq(boot("b"), MARKER_TAINTED);
	cr_assert(concerns(&id_b, "anything"));
}

Test(marker_text, what_is_no_file_taints_all)
{
	cr_assert_eq(private_dir_own(own), 0);
	cr_assert_eq(mkfifoat(private_dir_fd(own), "crash-marker", 0600), 0);
	cr_assert_eq(boot("a"), MARKER_TAINTED);
	cr_assert(concerns(&id_b, "anything"));
	cr_assert_eq(marker_trust_all(m), 0);
	cr_assert_eq(boot("a"), MARKER_CLEAN);
}

Test(marker_text, paths_of_all_bytes)
{
	struct concerned c = {.kind = MARKER_FILE};
	char path[256];

	for (int i = 1; i < 256; i++)
		path[i - 1] = (char)i;
	path[255] = '\0';
	c.text = path;
	boot("a");
	cr_assert_eq(marker_begin(m, &c), 0);
	boot("b");
	cr_assert(concerns(&no_id, path));
	cr_assert(!concerns(&no_id, path + 1));
	cr_assert_eq(marker_trust_file(m, &no_id, path), 0);
	cr_assert_null(marker_text());
}
