/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Our own directory: what survives a crash, and what others may have put there. */
#include "private_dir.h"

#include <errno.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "base/cap.h"

/* ---- the library's calls come through here ---- */

static char calls[256]; /* one letter each: f(ile synced), d(irectory synced), r(enamed) */
static bool die_at_rename;
static int file_sync_error;

int fsync(int fd)
{
	struct stat st;
	bool dir = fstat(fd, &st) == 0 && S_ISDIR(st.st_mode);

	if (strlen(calls) < sizeof(calls) - 1)
		calls[strlen(calls)] = dir ? 'd' : 'f';
	if (!dir && file_sync_error) {
		errno = file_sync_error;
		return -1;
	}
	return (int)syscall(SYS_fsync, fd);
}

int renameat(int from_fd, const char *from, int to_fd, const char *to)
{
	if (die_at_rename)
		_exit(7);
	if (strlen(calls) < sizeof(calls) - 1)
		calls[strlen(calls)] = 'r';
	return (int)syscall(SYS_renameat2, from_fd, from, to_fd, to, 0);
}

/* ---- made when needed ---- */

Test(private_dir, touches_nothing_before_it_is_needed)
{
	char *text;
	size_t len;

	cr_assert_eq(private_dir_fd(p), -ENOENT);
	cr_assert_eq(private_dir_own_existing(p), -ENOENT);
	cr_assert_eq(private_dir_try_own_existing(p), -ENOENT);
	cr_assert_eq(private_dir_read(p, "f", 10, &text, &len), -ENOENT);
	cr_assert(!exists(PRIVATE_DIR));
}

Test(private_dir, is_made_with_mode_0700_durably)
{
	struct stat st;

	umask(0);
	cr_assert_eq(private_dir_own(p), 0);
	cr_assert_str_eq(calls, "dd"); /* itself, and its name */
	cr_assert_eq(fstatat(root_fd, PRIVATE_DIR, &st, 0), 0);
	cr_assert_eq(st.st_mode, S_IFDIR | 0700);
	cr_assert_eq(st.st_uid, geteuid());
	cr_assert_geq(private_dir_fd(p), 0);
}

Test(private_dir, is_ours_though_a_thread_acts_as_somebody_else)
{
	struct stat st;

	if (geteuid())
		cr_skip("needs root");
	cr_assert_eq(fchmod(root_fd, 0777), 0);
	cr_assert_eq(syscall(SYS_setfsuid, 1234), 0);
	cr_assert_eq(private_dir_own(p), -EPERM); /* no right to give it to us: it cannot stay */
	cr_assert(!exists(PRIVATE_DIR));
	cap_thread_raise(UINT32_MAX); /* as the daemon's threads do */
	cr_assert_eq(private_dir_own(p), 0);
	cr_assert_eq(fstatat(root_fd, PRIVATE_DIR, &st, 0), 0);
	cr_assert_eq(st.st_uid, 0);
	cr_assert_eq(syscall(SYS_setfsuid, 0), 1234);
}

/* ---- files ---- */

Test(private_dir, a_file_is_replaced_atomically_and_durably)
{
	cr_assert_eq(private_dir_own(p), 0);
	memset(calls, 0, sizeof(calls));
	cr_assert_eq(write_text("first"), 0);
	cr_assert_str_eq(calls, "frd");
	expect_text("f", "first");
	cr_assert_eq(write_text("2"), 0);
	expect_text("f", "2");
	memset(calls, 0, sizeof(calls));
	cr_assert_eq(private_dir_remove(p, "f"), 0);
	cr_assert_str_eq(calls, "d");
	cr_assert(!exists(PRIVATE_DIR "/f"));
	cr_assert_eq(private_dir_remove(p, "f"), 0);
}

static int die_while_writing(struct private_dir *own, int arg)
{
	(void)arg;
	if (private_dir_own(own))
		return 99;
	die_at_rename = true;
	return private_dir_write(own, "f", "torn", 4);
}

Test(private_dir, a_crash_before_the_rename_leaves_the_old_text)
{
	cr_assert_eq(private_dir_own(p), 0);
	cr_assert_eq(write_text("old"), 0);
	private_dir_disown(p);
	cr_assert_eq(ended(start(die_while_writing, 0)), 7);
	cr_assert(exists(PRIVATE_DIR "/f.new"));
	expect_text("f", "old");
	cr_assert_eq(private_dir_own(p), 0);
	cr_assert_eq(write_text("next"), 0);
	cr_assert(!exists(PRIVATE_DIR "/f.new"));
	expect_text("f", "next");
}

Test(private_dir, an_error_leaves_the_old_text)
{
	cr_assert_eq(private_dir_own(p), 0);
	cr_assert_eq(write_text("old"), 0);
	file_sync_error = ENOSPC;
	cr_assert_eq(write_text("new"), -ENOSPC);
	expect_text("f", "old");
	cr_assert(!exists(PRIVATE_DIR "/f.new"));
	file_sync_error = 0;
	cr_assert_eq(private_dir_write(p, "no/such", "", 0), -ENOENT);
	cr_assert_eq(private_dir_write(p,
				       "a-name-that-is-longer-than-what-anybody-here-would-ever-"
				       "give-a-file",
				       "", 0),
		     -ENAMETOOLONG);
}

Test(private_dir, reads_up_to_the_limit)
{
	char text[10001], *got;
	size_t len;

	memset(text, 'x', sizeof(text));
	cr_assert_eq(private_dir_own(p), 0);
	cr_assert_eq(private_dir_write(p, "f", text, sizeof(text)), 0);
	cr_assert_eq(private_dir_read(p, "f", sizeof(text) - 1, &got, &len), -EFBIG);
	cr_assert_eq(private_dir_read(p, "f", sizeof(text), &got, &len), 0);
	cr_assert_eq(len, sizeof(text));
	cr_assert_eq(memcmp(got, text, len), 0);
	cr_assert_eq(got[len], '\0');
	free(got);
	cr_assert_eq(write_text(""), 0);
	expect_text("f", "");
}

Test(private_dir, a_directory_in_it)
{
	struct stat st;
	int fd;

	cr_assert_eq(private_dir_own(p), 0);
	memset(calls, 0, sizeof(calls));
	fd = private_dir_sub(p, "d");
	cr_assert_geq(fd, 0);
	cr_assert_str_eq(calls, "d");
	cr_assert_eq(fstat(fd, &st), 0);
	cr_assert_eq(st.st_mode, S_IFDIR | 0700);
	close(fd);
	fd = private_dir_sub(p, "d");
	cr_assert_geq(fd, 0);
	close(fd);
	cr_assert_eq(write_text("x"), 0);
	cr_assert_eq(private_dir_sub(p, "f"), -ENOTDIR);
}

/* ---- what somebody else put there ---- */

static void expect_refused(int error)
{
	char *text;
	size_t len;

	cr_assert_eq(private_dir_own(p), error);
	cr_assert_eq(private_dir_own_existing(p), error);
	cr_assert_eq(private_dir_try_own_existing(p), error);
	cr_assert_eq(private_dir_fd(p), error);
	cr_assert_eq(private_dir_read(p, "f", 10, &text, &len), error);
}

Test(private_dir, a_file_of_that_name)
{
	make_file(PRIVATE_DIR);
	expect_refused(-ENOTDIR);
}

Test(private_dir, a_link_of_that_name)
{
	cr_assert_eq(mkdirat(root_fd, "elsewhere", 0700), 0);
	cr_assert_eq(symlinkat("elsewhere", root_fd, PRIVATE_DIR), 0);
	expect_refused(-ENOTDIR);
	cr_assert(!exists("elsewhere/"
			  "lock"));
}

Test(private_dir, one_that_others_may_write_to)
{
	cr_assert_eq(mkdirat(root_fd, PRIVATE_DIR, 0700), 0);
	cr_assert_eq(fchmodat(root_fd, PRIVATE_DIR, 0770, 0), 0);
	expect_refused(-EPERM);
	cr_assert_eq(fchmodat(root_fd, PRIVATE_DIR, 0702, 0), 0);
	expect_refused(-EPERM);
	cr_assert_eq(fchmodat(root_fd, PRIVATE_DIR, 0755, 0), 0);
	cr_assert_eq(private_dir_own(p), 0);
}

Test(private_dir, one_that_belongs_to_somebody_else)
{
	if (geteuid())
		cr_skip("needs root");
	cr_assert_eq(mkdirat(root_fd, PRIVATE_DIR, 0700), 0);
	cr_assert_eq(fchownat(root_fd, PRIVATE_DIR, 1234, (gid_t)-1, 0), 0);
	expect_refused(-EPERM);
	cr_assert_eq(fchownat(root_fd, PRIVATE_DIR, 0, (gid_t)-1, 0), 0);
	cr_assert_eq(private_dir_own(p), 0);
}

Test(private_dir, links_inside_are_not_followed)
{
	char *text;
	size_t len;
	int dir;

	make_file("target");
	cr_assert_eq(mkdirat(root_fd, PRIVATE_DIR, 0700), 0);
	dir = private_dir_fd(p);
	cr_assert_eq(symlinkat("../target", dir, "lock"), 0);
	cr_assert_eq(private_dir_own(p), -ELOOP);
	cr_assert_eq(unlinkat(dir, "lock", 0), 0);
	cr_assert_eq(private_dir_own(p), 0);
	cr_assert_eq(symlinkat("../target", dir, "f"), 0);
	cr_assert_eq(symlinkat("../target", dir, "f.new"), 0);
	cr_assert_eq(symlinkat("..", dir, "d"), 0);
	cr_assert_eq(private_dir_read(p, "f", 10, &text, &len), -ELOOP);
	cr_assert_eq(private_dir_sub(p, "d"), -ENOTDIR);
	cr_assert_eq(write_text("x"), 0);
	expect_text("f", "x");
	cr_assert_eq(unlinkat(dir, "f", 0), 0);
	cr_assert_eq(mkfifoat(dir, "f", 0600), 0);
	cr_assert_eq(private_dir_read(p, "f", 10, &text, &len), -EINVAL);
}
