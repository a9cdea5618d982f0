/* SPDX-License-Identifier: GPL-2.0-or-later */
/* /proc/self/mountinfo, and which mount a path lies on. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>

#include "ctl/mounts.h"

static const char text[] =
    "22 1 254:1 / / rw,relatime shared:1 - ext4 /dev/vda1 rw\n"
    "30 22 0:50 / /srv/images rw,nosuid shared:9 master:2 - fuse.cachefs /srv/images rw,user_id=0\n"
    "31 22 0:51 / /mnt/with\\040blank\\134 rw - fuse.cachefs /data/a\\011b rw\n"
    "32 22 0:50 /sub /bind rw shared:9 - fuse.cachefs /srv/images rw\n"
    "33 22 0:52 / /mnt/sshfs rw - fuse.sshfs host:/ rw\n"
    "34 30 0:53 / /srv/images/inner rw - fuse.cachefs /fast rw\n"
    "a line that is none\n"
    "35 22 0:54 / /cut rw - fuse.cachefs\n";

static struct mounts parsed(void)
{
	struct mounts m;

	cr_assert_eq(mounts_parse(text, &m), 0);
	return m;
}

Test(ctl_mounts, takes_ours_and_unescapes)
{
	struct mounts m = parsed();

	cr_assert_eq(m.count, 4);
	cr_assert_str_eq(m.entries[0].point, "/srv/images");
	cr_assert_str_eq(m.entries[0].source, "/srv/images");
	cr_assert_str_eq(m.entries[0].root, "/");
	cr_assert_eq(m.entries[0].id, 30);
	cr_assert_eq(m.entries[0].dev, makedev(0, 50));
	cr_assert_str_eq(m.entries[1].point, "/mnt/with blank\\");
	cr_assert_str_eq(m.entries[1].source, "/data/a\tb");
	cr_assert_str_eq(m.entries[2].root, "/sub");
	mounts_free(&m);
	cr_assert_eq(mounts_parse("", &m), 0);
	cr_assert_eq(m.count, 0);
	mounts_free(&m);
}

static const char *find(const struct mounts *m, int dev_minor, const char *path, char **below)
{
	const struct mount_entry *e = mounts_find(m, makedev(0, (unsigned)dev_minor), path, below);

	return e ? e->point : "";
}

Test(ctl_mounts, finds_the_mount_of_a_path)
{
	struct mounts m = parsed();
	char *below = NULL;

	cr_assert_str_eq(find(&m, 50, "/srv/images/a/b.img", &below), "/srv/images");
	cr_assert_str_eq(below, "a/b.img");
	free(below);
	cr_assert_str_eq(find(&m, 50, "/srv/images", &below), "/srv/images");
	cr_assert_str_eq(below, "");
	free(below);
	/* what a bind mount shows has its path in the filesystem */
	cr_assert_str_eq(find(&m, 50, "/bind/b.img", &below), "/bind");
	cr_assert_str_eq(below, "sub/b.img");
	free(below);
	cr_assert_str_eq(find(&m, 50, "/bind", &below), "/bind");
	cr_assert_str_eq(below, "sub");
	free(below);
	/* by the filesystem, not by the name alone */
	cr_assert_str_eq(find(&m, 53, "/srv/images/inner/x", &below), "/srv/images/inner");
	cr_assert_str_eq(below, "x");
	free(below);
	below = NULL;
	cr_assert_str_eq(find(&m, 50, "/srv/images2/x", &below), "");
	cr_assert_str_eq(find(&m, 99, "/srv/images/x", &below), "");
	cr_assert_null(below);
	mounts_free(&m);
}

Test(ctl_mounts, whole_mounts_are_no_bind_mounts)
{
	struct mounts m = parsed();

	cr_assert_str_eq(mounts_whole(&m, makedev(0, 50))->point, "/srv/images");
	cr_assert_null(mounts_whole(&m, makedev(0, 52)));
	mounts_free(&m);
}

Test(ctl_mounts, below)
{
	cr_assert_str_eq(path_below("/a/b/c", "/a"), "b/c");
	cr_assert_str_eq(path_below("/a/b/c", "/a/"), "b/c");
	cr_assert_str_eq(path_below("/a", "/a"), "");
	cr_assert_str_eq(path_below("/a", "/"), "a");
	cr_assert_null(path_below("/ab", "/a"));
	cr_assert_null(path_below("/a", "/a/b"));
}
