/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Our own directory: who owns it, also when the owner is killed. */
#include "private_dir.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <sys/stat.h>

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
