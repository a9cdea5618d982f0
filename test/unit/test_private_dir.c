/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Our own directory: who owns it, what survives a crash, and what others may have put there. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cap.h"
#include "base/util.h"
#include "durability/private_dir.h"

static char root[64];
static int root_fd;
static struct private_dir *p;

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

/* ---- a backing directory ---- */

static void setup(void)
{
	strcpy(root, "/var/tmp/cachefs-unit.XXXXXX");
	cr_assert_not_null(mkdtemp(root));
	root_fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cr_assert_geq(root_fd, 0);
	cr_assert_eq(private_dir_create(root_fd, &p), 0);
}

static void teardown(void)
{
	char command[128];

	private_dir_destroy(p);
	close(root_fd);
	snprintf(command, sizeof(command), "rm -rf %s", root);
	cr_assert_eq(system(command), 0);
}

TestSuite(private_dir, .init = setup, .fini = teardown);

static bool exists(const char *name)
{
	return faccessat(root_fd, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

static void make_file(const char *name)
{
	int fd = openat(root_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	cr_assert_geq(fd, 0);
	close(fd);
}

static void expect_text(const char *name, const char *text)
{
	size_t len = 0;
	char *got = NULL;

	cr_assert_eq(private_dir_read(p, name, 1000, &got, &len), 0);
	cr_assert_str_eq(got, text);
	cr_assert_eq(len, strlen(text));
	free(got);
}

static int write_text(const char *text)
{
	return private_dir_write(p, "f", text, strlen(text));
}

/* The exit status of CHILD, run with a private_dir of its own. */
static pid_t start(int (*child)(struct private_dir *own, int arg), int arg)
{
	pid_t pid = fork();

	if (pid == 0) {
		struct private_dir *own;
		int fd = open(root, O_RDONLY | O_DIRECTORY);

		_exit(private_dir_create(fd, &own) ? 99 : child(own, arg));
	}
	cr_assert_gt(pid, 0);
	return pid;
}

static int ended(pid_t pid)
{
	int status;

	cr_assert_eq(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
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

/* ---- the owner ---- */

Test(private_dir, only_the_owner_changes_things)
{
	cr_assert_eq(mkdirat(root_fd, PRIVATE_DIR, 0700), 0);
	cr_assert_geq(private_dir_fd(p), 0);
	cr_assert_eq(write_text("x"), -EPERM);
	cr_assert_eq(private_dir_remove(p, "f"), -EPERM);
	cr_assert_eq(private_dir_sub(p, "d"), -EPERM);
	cr_assert_eq(private_dir_own_existing(p), 0);
	cr_assert_eq(write_text("x"), 0);
	private_dir_disown(p);
	cr_assert_eq(write_text("y"), -EPERM);
	expect_text("f", "x");
}

static int try_it(struct private_dir *own, int arg)
{
	int err = private_dir_try_own_existing(own);

	(void)arg;
	return err == -EBUSY ? 16 : err ? 99 : 0;
}

Test(private_dir, ownership_goes_with_the_last_who_gives_it_up)
{
	cr_assert_eq(private_dir_own(p), 0);
	cr_assert_eq(private_dir_own(p), 0);
	cr_assert_eq(private_dir_try_own_existing(p), 0);
	for (int i = 0; i < 3; i++) {
		cr_assert_eq(ended(start(try_it, 0)), 16);
		private_dir_disown(p);
	}
	cr_assert_eq(ended(start(try_it, 0)), 0);
	cr_assert_eq(private_dir_own(p), 0);
	cr_assert_eq(ended(start(try_it, 0)), 16);
	private_dir_destroy(p);
	p = NULL;
	cr_assert_eq(ended(start(try_it, 0)), 0);
}

static int own_and_stay(struct private_dir *own, int told)
{
	char byte = 0;

	if (private_dir_own(own))
		return 99;
	if (write(told, &byte, 1) != 1 || read(told, &byte, 1) != 1)
		return 98;
	usleep(400000);
	return 0; /* the kernel gives it up */
}

/* As private_dir_own(), which waits for seconds only: others may have the processor for longer. */
static int own_patiently(struct private_dir *own)
{
	int err = private_dir_own(own);

	for (int i = 0; err == -EBUSY && i < 12; i++)
		err = private_dir_own(own);
	return err;
}

Test(private_dir, one_that_is_about_to_end_is_waited_for)
{
	int ends[2];
	char byte;
	pid_t pid;

	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
	pid = start(own_and_stay, ends[1]);
	cr_assert_eq(read(ends[0], &byte, 1), 1);
	cr_assert_eq(private_dir_try_own_existing(p), -EBUSY);
	cr_assert_eq(write(ends[0], &byte, 1), 1);
	cr_assert_eq(own_patiently(p), 0);
	cr_assert_eq(ended(pid), 0);
}

Test(private_dir, one_that_stays_is_not_waited_for_forever)
{
	struct private_dir *other;

	cr_assert_eq(private_dir_create(root_fd, &other), 0);
	cr_assert_eq(private_dir_own(other), 0);
	cr_assert_eq(private_dir_own(p), -EBUSY);
	cr_assert_eq(write_text("x"), -EPERM);
	private_dir_destroy(other);
	cr_assert_eq(private_dir_own(p), 0);
}

/* Reads a number and writes the next one ARG times, each time as a new owner. */
static int count_up(struct private_dir *own, int arg)
{
	for (int i = 0; i < arg; i++) {
		char *text = NULL, next[16];
		size_t len;
		int err;

		if (own_patiently(own))
			return 1;
		err = private_dir_read(own, "n", 100, &text, &len);
		if (err && err != -ENOENT)
			return 2;
		snprintf(next, sizeof(next), "%d", (err ? 0 : atoi(text)) + 1);
		free(text);
		if (private_dir_write(own, "n", next, strlen(next)))
			return 3;
		private_dir_disown(own);
	}
	return 0;
}

Test(private_dir, processes_that_fight_for_it_take_turns)
{
	pid_t pids[4];

	for (size_t i = 0; i < ARRAY_SIZE(pids); i++)
		pids[i] = start(count_up, 10);
	for (size_t i = 0; i < ARRAY_SIZE(pids); i++)
		cr_assert_eq(ended(pids[i]), 0);
	expect_text("n", "40");
}

static void *own_in_thread(void *arg)
{
	(void)arg;
	for (int i = 0; i < 50; i++) {
		if (private_dir_own(p))
			return p;
		private_dir_disown(p);
	}
	return private_dir_own(p) ? p : NULL;
}

Test(private_dir, threads_do_not_exclude_each_other)
{
	pthread_t threads[16];
	void *result;

	for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
		cr_assert_eq(pthread_create(&threads[i], NULL, own_in_thread, NULL), 0);
	for (size_t i = 0; i < ARRAY_SIZE(threads); i++) {
		cr_assert_eq(pthread_join(threads[i], &result), 0);
		cr_assert_null(result);
	}
	cr_assert_eq(ended(start(try_it, 0)), 16);
}

Test(private_dir, a_new_owner_sees_the_directory_of_now)
{
	int fd;

	cr_assert_eq(private_dir_own(p), 0);
	fd = private_dir_fd(p);
	cr_assert_eq(write_text("old"), 0);
	private_dir_disown(p);
	cr_assert_eq(renameat(root_fd, PRIVATE_DIR, root_fd, "away"), 0);
	cr_assert_eq(private_dir_own(p), 0);
	cr_assert_eq(private_dir_fd(p), fd, "who borrowed it has the right one");
	cr_assert_eq(write_text("new"), 0);
	cr_assert(exists(PRIVATE_DIR "/f"));
	expect_text("f", "new");
}

/* ---- the owner is killed, and its descriptors stay open ---- */

static atomic_int record;
static struct private_dir *dead[2]; /* nothing of them is closed */

static void abandon(void)
{
	dead[dead[0] != NULL] = p;
	p = NULL;
}

static void killed(void)
{
	abandon();
	cr_assert_eq(private_dir_create(root_fd, &p), 0);
	cr_assert_eq(private_dir_record(p, &record), 0);
}

Test(private_dir, the_lock_is_recorded_as_long_as_it_is_held)
{
	cr_assert_eq(private_dir_record(p, &record), 0);
	cr_assert_eq(record, 0);
	cr_assert_eq(private_dir_own(p), 0);
	cr_assert_geq(fcntl(record - 1, F_GETFD), 0);
	private_dir_disown(p);
	cr_assert_eq(record, 0);
	cr_assert_eq(private_dir_own(p), 0);
	cr_assert_neq(record, 0);
	private_dir_destroy(p);
	p = NULL;
	cr_assert_eq(record, 0);
}

Test(private_dir, the_lock_of_a_killed_owner_is_never_free)
{
	int fd;

	cr_assert_eq(private_dir_record(p, &record), 0);
	cr_assert_eq(private_dir_own(p), 0);
	fd = record;
	killed();
	cr_assert_eq(ended(start(try_it, 0)), 16, "before anybody claims it");
	cr_assert_eq(write_text("x"), -EPERM, "nor may anybody change anything");
	cr_assert_eq(private_dir_own(p), 0);
	cr_assert_eq(record, fd);
	private_dir_settle(p);
	cr_assert_eq(ended(start(try_it, 0)), 16);
	cr_assert_eq(write_text("x"), 0);
	killed();
	cr_assert_eq(private_dir_own_existing(p), 0, "again");
	private_dir_settle(p);
	private_dir_disown(p);
	cr_assert_eq(record, 0);
	cr_assert_eq(ended(start(try_it, 0)), 0);
}

Test(private_dir, the_lock_of_a_killed_owner_outlives_short_owners)
{
	int fd;

	cr_assert_eq(private_dir_record(p, &record), 0);
	cr_assert_eq(private_dir_own(p), 0);
	fd = record;
	killed();
	cr_assert_eq(private_dir_try_own_existing(p), 0);
	private_dir_disown(p);
	cr_assert_eq(record, fd);
	cr_assert_eq(ended(start(try_it, 0)), 16, "others are still to claim it");
	cr_assert_eq(private_dir_own(p), 0);
	private_dir_settle(p);
	cr_assert_eq(record, fd);
	private_dir_disown(p);
	cr_assert_eq(record, 0);
	cr_assert_eq(ended(start(try_it, 0)), 0);
}

Test(private_dir, the_lock_of_a_killed_owner_goes_when_nobody_claims_it)
{
	cr_assert_eq(private_dir_record(p, &record), 0);
	cr_assert_eq(private_dir_own(p), 0);
	killed();
	private_dir_settle(p);
	cr_assert_eq(record, 0);
	cr_assert_eq(ended(start(try_it, 0)), 0);
}

Test(private_dir, a_lock_in_a_directory_that_is_gone_is_worth_nothing)
{
	cr_assert_eq(private_dir_record(p, &record), 0);
	cr_assert_eq(private_dir_own(p), 0);
	cr_assert_eq(renameat(root_fd, PRIVATE_DIR, root_fd, "away"), 0);
	abandon();
	cr_assert_eq(private_dir_create(root_fd, &p), 0);
	cr_assert_eq(private_dir_record(p, &record), -ENOENT);
	cr_assert_eq(record, 0);
	cr_assert_eq(private_dir_own(p), 0);
	abandon();
	cr_assert_eq(renameat(root_fd, PRIVATE_DIR, root_fd, "away2"), 0);
	cr_assert_eq(mkdirat(root_fd, PRIVATE_DIR, 0700), 0);
	make_file(PRIVATE_DIR "/lock");
	cr_assert_eq(private_dir_create(root_fd, &p), 0);
	cr_assert_eq(private_dir_record(p, &record), -ESTALE);
	cr_assert_eq(record, 0);
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
