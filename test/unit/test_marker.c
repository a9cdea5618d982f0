/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The crash marker: what it says, on which boot, and of which files. */
#include <criterion/criterion.h>
#include <criterion/parameterized.h>

#include "test/unit/marker.h"

TestSuite(marker, .init = backing_make, .fini = backing_remove);

static const struct file_id id_a = {.type = 1, .len = 3, .bytes = {0x0a, 0x1b, 0x2c}};
static const struct file_id id_b = {.type = 1, .len = 3, .bytes = {0xff, 0x00, 0x01}};
static const struct file_id no_id;

static const struct concerned all = {.kind = MARKER_MOUNT};
static const struct concerned images = {.kind = MARKER_PATTERN, .text = "vm/*.img"};
static const struct concerned file_a = {.kind = MARKER_FILE,
					.text = "vm/a.img",
					.id = {.type = 1, .len = 3, .bytes = {0x0a, 0x1b, 0x2c}}};

/* ---- begin and end ---- */

Test(marker, nothing_is_made_before_something_begins)
{
	cr_assert_eq(boot("a"), MARKER_CLEAN);
	cr_assert_eq(marker_resolve(m, 0), 0);
	cr_assert_eq(marker_seen(m), 0);
	cr_assert_eq(marker_end(m), 0);
	cr_assert_eq(marker_trust_all(m), 0);
	cr_assert_eq(marker_trust_file(m, &id_a, "x"), 0);
	cr_assert(!backing_has(PRIVATE_DIR));
	cr_assert(!marker_active(m));
	cr_assert(!marker_tainted(m));
	cr_assert(!concerns(&id_a, "x"));
}

Test(marker, it_begins_and_ends)
{
	boot("a");
	cr_assert_eq(marker_begin(m, &images), 0);
	expect_lines(HEAD "boot a\npattern \"vm/*.img\"\n" TAIL);
	cr_assert(marker_active(m));
	cr_assert(!marker_tainted(m));
	cr_assert(!concerns(&id_a, "vm/a.img"), "its own boot");
	cr_assert_eq(marker_begin(m, &file_a), 0);
	expect_lines(HEAD "boot a\npattern \"vm/*.img\"\nfile 1-0a1b2c \"vm/a.img\"\n" TAIL);
	cr_assert_eq(marker_begin(m, &all), 0);
	expect_lines(HEAD "boot a\nmount\n" TAIL);
	cr_assert_eq(marker_end(m), 0);
	cr_assert_null(marker_text());
	cr_assert(!marker_active(m));
	cr_assert_eq(marker_begin(m, &file_a), 0);
	expect_lines(HEAD "boot a\nfile 1-0a1b2c \"vm/a.img\"\n" TAIL);
}

Test(marker, the_end_minds_who_has_begun_since)
{
	uint64_t begun;

	boot("a");
	cr_assert_eq(marker_begin(m, &all), 0);
	begun = marker_begun(m);
	cr_assert_eq(marker_begin(m, &all), 0);
	cr_assert_eq(marker_end_since(m, begun), -EAGAIN);
	cr_assert(marker_active(m));
	expect_lines(HEAD "boot a\nmount\n" TAIL);
	cr_assert_eq(marker_end_since(m, marker_begun(m)), 0);
	cr_assert_null(marker_text());
}

Test(marker, no_pattern)
{
	struct concerned c = {.kind = MARKER_PATTERN, .text = "["};

	boot("a");
	cr_assert_eq(marker_begin(m, &c), -EINVAL);
	cr_assert(!marker_active(m));
	cr_assert(!backing_has(PRIVATE_DIR));
}

Test(marker, too_many_files_become_all)
{
	struct concerned c = file_a;
	char path[32];

	boot("a");
	sync_nothing = true;
	for (int i = 0; i <= MARKER_FILES_MAX; i++) {
		snprintf(path, sizeof(path), "file-%d", i);
		c.text = path;
		memcpy(c.id.bytes, &i, 2);
		cr_assert_eq(marker_begin(m, &c), 0);
		if (i == MARKER_FILES_MAX - 1) {
			_cleanup_free_ char *text = marker_text();

			cr_assert_not_null(strstr(text, "file-999"));
			cr_assert_null(strstr(text, "**"));
		}
	}
	expect_lines(HEAD "boot a\npattern \"**\"\n" TAIL);
	sync_calls = 0;
	cr_assert_eq(marker_begin(m, &file_a), 0);
	cr_assert_eq(marker_begin(m, &images), 0);
	cr_assert_eq(sync_calls, 0);
	cr_assert_eq(marker_begin(m, &all), 0);
	expect_lines(HEAD "boot a\nmount\n" TAIL);
}

Test(marker, long_paths_become_all_sooner)
{
	struct concerned c = {.kind = MARKER_FILE};
	char path[4096];

	boot("a");
	sync_nothing = true;
	memset(path, 1, sizeof(path));
	path[sizeof(path) - 1] = '\0';
	c.text = path;
	for (int i = 0; i < 70; i++) {
		path[0] = (char)('0' + i);
		cr_assert_eq(marker_begin(m, &c), 0);
	}
	expect_lines(HEAD "boot a\npattern \"**\"\n" TAIL);
}

/* ---- boots ---- */

Test(marker, a_dead_process_of_this_boot)
{
	boot("a");
	cr_assert_eq(marker_begin(m, &all), 0);
	cr_assert_eq(boot("a"), MARKER_SAME_BOOT);
	cr_assert(!marker_tainted(m));
	cr_assert(!marker_active(m));
	cr_assert_eq(marker_begin(m, &file_a), 0);
	expect_lines(HEAD "boot a\nmount\nboot a\nfile 1-0a1b2c \"vm/a.img\"\n" TAIL);
	cr_assert_eq(marker_resolve(m, 0), 0);
	expect_lines(HEAD "boot a\nfile 1-0a1b2c \"vm/a.img\"\n" TAIL);
	cr_assert_eq(boot("a"), MARKER_SAME_BOOT);
	cr_assert_eq(marker_resolve(m, 0), 0);
	cr_assert_null(marker_text());
	cr_assert_eq(boot("a"), MARKER_CLEAN);
}

Test(marker, a_dead_process_whose_section_is_ours)
{
	const struct concerned lost = {.kind = MARKER_FILE, .text = "b.img", .id = id_b};

	boot("z");
	cr_assert_eq(marker_begin(m, &images), 0);
	cr_assert_eq(boot("a"), MARKER_TAINTED);
	cr_assert_eq(marker_begin(m, &file_a), 0);
	cr_assert_eq(marker_error(m, &lost), 0);
	cr_assert_eq(boot("a"), MARKER_TAINTED);
	sync_calls = 0;
	cr_assert_eq(marker_adopt(m), 0);
	cr_assert_eq(sync_calls, 0);
	cr_assert(marker_active(m));
	cr_assert(concerns(&id_b, "b.img"));
	cr_assert(concerns(&id_a, "vm/a.img"), "by the other boot");
	cr_assert(!concerns(&id_a, "a"), "not by this one");
	cr_assert_eq(marker_confirm(m), 0);
	cr_assert_eq(sync_calls, 1);
	cr_assert_eq(marker_begin(m, &file_a), 0);
	cr_assert_eq(sync_calls, 1, "it is covered");
	expect_lines(HEAD "boot z\npattern \"vm/*.img\"\n"
			  "boot a\nfile 1-0a1b2c \"vm/a.img\"\n"
			  "boot a\nfile 1-ff0001 \"b.img\"\nseen\nerror\n" TAIL);
	cr_assert_eq(marker_end(m), 0);
	cr_assert(!marker_active(m));
	expect_lines(HEAD "boot z\npattern \"vm/*.img\"\n"
			  "boot a\nfile 1-ff0001 \"b.img\"\nseen\nerror\n" TAIL);
}

/* Its last change may have been seen by nobody but the page cache. */
Test(marker, an_adopted_section_is_relied_on_when_it_is_durable)
{
	boot("a");
	cr_assert_eq(marker_begin(m, &file_a), 0);
	boot("a");
	cr_assert_eq(marker_adopt(m), 0);
	sync_error = EIO;
	cr_assert_eq(marker_begin(m, &file_a), -EIO);
	sync_error = 0;
	sync_calls = 0;
	cr_assert_eq(marker_begin(m, &file_a), 0);
	cr_assert_eq(sync_calls, 1);
	cr_assert_eq(marker_begin(m, &file_a), 0);
	cr_assert_eq(sync_calls, 1);
	cr_assert_eq(marker_end(m), 0);
	cr_assert_null(marker_text());
}

Test(marker, nothing_to_adopt)
{
	boot("a");
	cr_assert_eq(marker_adopt(m), 0);
	cr_assert_eq(marker_confirm(m), 0);
	cr_assert(!marker_active(m));
	cr_assert(!backing_has(PRIVATE_DIR));
	cr_assert_eq(marker_begin(m, &file_a), 0);
	expect_lines(HEAD "boot a\nfile 1-0a1b2c \"vm/a.img\"\n" TAIL);
}

Test(marker, a_dead_process_and_a_failed_flush)
{
	boot("a");
	cr_assert_eq(marker_begin(m, &images), 0);
	cr_assert_eq(boot("a"), MARKER_SAME_BOOT);
	cr_assert_eq(marker_resolve(m, EIO), 0);
	expect_lines(HEAD "boot a\npattern \"vm/*.img\"\nerror\n" TAIL);
	cr_assert(concerns(&id_a, "vm/a.img"));
	cr_assert_eq(boot("a"), MARKER_TAINTED);
	cr_assert(concerns(&id_a, "vm/a.img"));
	cr_assert(!concerns(&id_a, "vm/a.iso"));
}

Test(marker, boots_are_kept_apart)
{
	boot("a");
	cr_assert_eq(marker_begin(m, &images), 0);
	cr_assert_eq(boot("b"), MARKER_TAINTED);
	cr_assert_eq(marker_begin(m, &file_a), 0);
	cr_assert_eq(marker_seen(m), 0);
	expect_lines(HEAD "boot a\npattern \"vm/*.img\"\nseen\n"
			  "boot b\nfile 1-0a1b2c \"vm/a.img\"\n" TAIL);
	cr_assert_eq(boot("b"), MARKER_TAINTED, "and of this boot");
	cr_assert_eq(marker_resolve(m, 0), 0);
	expect_lines(HEAD "boot a\npattern \"vm/*.img\"\nseen\n" TAIL);
	cr_assert_eq(marker_begin(m, &file_a), 0);
	cr_assert_eq(marker_end(m), 0);
	expect_lines(HEAD "boot a\npattern \"vm/*.img\"\nseen\n" TAIL);
	cr_assert_eq(marker_begin(m, &file_a), 0);
	cr_assert_eq(boot("c"), MARKER_TAINTED);
	cr_assert(concerns(&id_a, "renamed"));
	cr_assert(concerns(&id_b, "vm/b.img"));
	cr_assert(!concerns(&id_b, "b.img"));
	cr_assert_eq(boot("a"), MARKER_TAINTED, "a boot id does not come again, but then");
	cr_assert(concerns(&id_a, "renamed"));
}

Test(marker, boots_without_end_become_one)
{
	_cleanup_free_ char *text = NULL;
	char id[32];

	sync_nothing = true;
	for (int i = 0; i < 40; i++) {
		snprintf(id, sizeof(id), "boot-%d", i);
		cr_assert_eq(boot(id), i ? MARKER_TAINTED : MARKER_CLEAN);
		cr_assert_eq(marker_begin(m, &file_a), 0);
	}
	cr_assert_eq(boot("z"), MARKER_TAINTED);
	cr_assert(concerns(&id_b, "anything"));
	cr_assert_eq(marker_seen(m), 0);
	text = marker_text();
	cr_assert_lt(strlen(text), 2000);
}

Test(marker, the_boot_id_of_the_kernel)
{
	enum marker_found found;

	cr_assert_eq(marker_create(own, NULL, &m, &found), 0);
	cr_assert_eq(marker_begin(m, &all), 0);
	marker_destroy(m);
	cr_assert_eq(marker_create(own, NULL, &m, &found), 0);
	cr_assert_eq(found, MARKER_SAME_BOOT);
	marker_destroy(m);
	cr_assert_eq(marker_create(own, "no id", &m, &found), -EINVAL);
	cr_assert_eq(marker_create(own, "", &m, &found), -EINVAL);
}

/* ---- who is concerned ---- */

Test(marker, names_of_a_file)
{
	struct statx st = {0};

	boot("a");
	cr_assert_eq(marker_begin(m, &images), 0);
	boot("b");
	cr_assert(marker_concerns(m, &id_a, "x\0vm/a.img\0", &st), "a second name");
	cr_assert(!marker_concerns(m, &id_a, "x\0vm/a/b.img\0", &st));
	cr_assert(marker_concerns(m, &id_a, NULL, &st), "not known");
	cr_assert(marker_concerns(m, &id_a, "\0", &st), "none");
}

Test(marker, a_file_has_its_id_under_every_name)
{
	boot("a");
	cr_assert_eq(marker_begin(m, &file_a), 0);
	boot("b");
	cr_assert(concerns(&id_a, "renamed"));
	cr_assert(!concerns(&id_b, "vm/a.img"), "another file took its name");
	cr_assert(concerns(&no_id, "vm/a.img"), "who knows");
	cr_assert(!concerns(&no_id, "renamed"));
}

static bool born(int64_t sec, uint32_t nsec, unsigned mask)
{
	struct statx st = {.stx_mask = mask, .stx_btime = {.tv_sec = sec, .tv_nsec = nsec}};

	return !marker_concerns(m, &id_a, "new", &st);
}

Test(marker, files_born_after_it_was_seen_are_not_concerned)
{
	static const char text[] = HEAD BOOT_A "mount\nseen 2020-01-01T00:00:00.500000000Z\n" TAIL;
	const int64_t seen = 1577836800;

	marker_put(text, sizeof(text) - 1);
	boot("b");
	cr_assert(!born(seen - 1, 900000000, STATX_BTIME));
	cr_assert(!born(seen, 499999999, STATX_BTIME));
	cr_assert(born(seen, 500000000, STATX_BTIME));
	cr_assert(born(seen + 1, 1, STATX_BTIME));
	cr_assert(born(seen, 0, STATX_BTIME), "a filesystem that counts seconds");
	cr_assert(!born(seen - 1, 0, STATX_BTIME));
	cr_assert(!born(seen + 1, 1, 0), "not known");
	cr_assert(!born(time(NULL) + 1000, 1, STATX_BTIME), "by a wrong clock");
}

Test(marker, a_file_made_at_once_is_born_later)
{
	struct statx old, new;

	boot("a");
	cr_assert_eq(marker_begin(m, &all), 0);
	backing_file("old", &old);
	boot("b");
	cr_assert(marker_concerns(m, &id_a, "old\0", &old));
	usleep(20000); /* a tick of the clock that filesystems use */
	cr_assert_eq(marker_seen(m), 0);
	backing_file("new", &new);
	cr_assert(marker_concerns(m, &id_a, "old\0", &old));
	cr_assert_eq(marker_concerns(m, &id_b, "new\0", &new), !(new.stx_mask &STATX_BTIME));
	cr_assert_eq(marker_seen(m), 0);
	boot("c");
	cr_assert(marker_concerns(m, &id_a, "old\0", &old));
	cr_assert_eq(marker_concerns(m, &id_b, "new\0", &new), !(new.stx_mask &STATX_BTIME),
		     "seen once is seen");
}

/* ---- trust ---- */

Test(marker, a_file_is_trusted)
{
	boot("a");
	cr_assert_eq(marker_begin(m, &images), 0);
	boot("b");
	cr_assert_eq(marker_begin(m, &file_a), 0);
	boot("c");
	cr_assert(concerns(&id_a, "vm/a.img"));
	cr_assert_eq(marker_trust_file(m, &id_a, "vm/a.img"), 0);
	cr_assert(!concerns(&id_a, "vm/a.img"));
	cr_assert(!concerns(&id_a, "vm/renamed.img"));
	cr_assert(concerns(&id_b, "vm/a.img"));
	expect_lines(HEAD "boot a\npattern \"vm/*.img\"\ntrusted 1-0a1b2c \"vm/a.img\"\n" TAIL);
	boot("d");
	cr_assert(!concerns(&id_a, "vm/a.img"));
	sync_calls = 0;
	cr_assert_eq(marker_trust_file(m, &id_a, "vm/a.img"), 0);
	cr_assert_eq(sync_calls, 0, "said before");
	cr_assert_eq(marker_begin(m, &file_a), 0);
	cr_assert_eq(marker_trust_all(m), 0);
	cr_assert(!marker_tainted(m));
	expect_lines(HEAD "boot d\nfile 1-0a1b2c \"vm/a.img\"\n" TAIL);
}

Test(marker, trust_does_not_outlive_another_crash)
{
	boot("a");
	cr_assert_eq(marker_begin(m, &all), 0);
	boot("b");
	cr_assert_eq(marker_trust_file(m, &id_a, "vm/a.img"), 0);
	cr_assert_eq(marker_begin(m, &all), 0);
	cr_assert(!concerns(&id_a, "vm/a.img"));
	boot("c");
	cr_assert(concerns(&id_a, "vm/a.img"));
}

Test(marker, files_trusted_one_by_one_have_a_limit)
{
	struct file_id id = id_a;
	int err = 0, i;
	char path[2000];

	boot("a");
	cr_assert_eq(marker_begin(m, &all), 0);
	boot("b");
	sync_nothing = true;
	memset(path, 'x', sizeof(path));
	path[sizeof(path) - 1] = '\0';
	for (i = 0; i < 1000 && !err; i++) {
		memcpy(id.bytes, &i, 2);
		err = marker_trust_file(m, &id, path);
	}
	cr_assert_eq(err, -EFBIG);
	cr_assert_gt(i, 50);
	cr_assert(concerns(&id, path));
	cr_assert_eq(marker_trust_all(m), 0);
	cr_assert(!concerns(&id, path));
}

/* ---- errors of the backing ---- */

Test(marker, an_error_taints_at_once)
{
	boot("a");
	cr_assert_eq(marker_begin(m, &all), 0);
	cr_assert_eq(marker_error(m, &file_a), 0);
	cr_assert(concerns(&id_a, "vm/a.img"));
	cr_assert(!concerns(&id_b, "vm/b.img"));
	cr_assert_eq(marker_end(m), 0);
	expect_lines(HEAD "boot a\nfile 1-0a1b2c \"vm/a.img\"\nseen\nerror\n" TAIL);
	cr_assert_eq(boot("a"), MARKER_TAINTED);
	cr_assert_eq(marker_error(m, &images), 0);
	cr_assert_eq(marker_trust_file(m, &id_a, "vm/a.img"), 0);
	cr_assert(!concerns(&id_a, "vm/a.img"));
	cr_assert_eq(marker_error(m, &file_a), 0);
	cr_assert(concerns(&id_a, "vm/a.img"), "once more");
	cr_assert_eq(marker_trust_file(m, &id_a, "vm/a.img"), 0);
	cr_assert_eq(marker_error(m, &all), 0);
	cr_assert(concerns(&id_a, "vm/a.img"));
	expect_lines(HEAD "boot a\nmount\nseen\nerror\n" TAIL);
}

/* ---- in words ---- */

Test(marker, in_words)
{
	static const char text[] = HEAD BOOT_A "mount\ntrusted 1-0a \"x\"\n" BOOT_B
					       "pattern \"vm/*\"\nfile 1-0a \"a\\n\"\n" TAIL;
	char buf[400], small[20];

	boot("a");
	marker_describe(m, buf, sizeof(buf));
	cr_assert_str_eq(buf, "");
	marker_put(text, sizeof(text) - 1);
	boot("c");
	marker_describe(m, buf, sizeof(buf));
	cr_assert_str_eq(buf, "all files of the mount but 1 trusted (2026-11-21T05:50:00Z); "
			      "files named \"vm/*\", \"a\\n\" (2026-11-21T06:50:00Z)");
	marker_describe(m, small, sizeof(small));
	cr_assert_str_eq(small, "all files of the...");
}
