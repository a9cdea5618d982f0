/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The crash marker under many threads, several daemons, and a backing that fails. */
#include <criterion/criterion.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "durability/marker_internal.h"
#include "test/unit/marker.h"
#include "wait.h"

TestSuite(turn, .init = backing_make, .fini = backing_remove);

#define THREADS 100

static const struct concerned all = {.kind = MARKER_MOUNT};
static const struct concerned images = {.kind = MARKER_PATTERN, .text = "*.img"};
static const struct concerned disks = {.kind = MARKER_PATTERN, .text = "*.qcow2"};

static bool says(const char *what)
{
	_cleanup_free_ char *text = marker_text();

	return text && strstr(text, what);
}

static struct concerned numbered(char path[32], int i)
{
	struct concerned c = {.kind = MARKER_FILE, .text = path, .id = {.type = 1, .len = 4}};

	snprintf(path, 32, "\"file-%d\"", i);
	memcpy(c.id.bytes, &i, sizeof(i));
	return c;
}

/* ---- threads ---- */

static sem_t writing;

static int changes_waiting(void)
{
	int n = 0;

	pthread_mutex_lock(&m->mutex);
	for (const struct change *c = m->changes; c; c = c->next)
		n++;
	pthread_mutex_unlock(&m->mutex);
	return n;
}

/* The first one is being written, and no other had come: all of them wait for the next turn. */
static void wait_for_all(void)
{
	if (sync_calls)
		return;
	sem_post(&writing);
	while (changes_waiting() < THREADS - 1)
		usleep(1000);
}

static void *begin_one(void *arg)
{
	char path[32], quoted[48];
	struct concerned c = numbered(path, *(int *)arg);

	snprintf(quoted, sizeof(quoted), "\"\\\"file-%d\\\"\"\n", *(int *)arg);
	return marker_begin(m, &c) || !says(quoted) ? arg : NULL;
}

Test(turn, many_who_begin_share_a_write)
{
	pthread_t threads[THREADS];
	int numbers[THREADS];
	void *failed;

	boot("a");
	sem_init(&writing, 0, 0);
	sync_hook = wait_for_all;
	for (int i = 0; i < THREADS; i++) {
		numbers[i] = i;
		cr_assert_eq(pthread_create(&threads[i], NULL, begin_one, &numbers[i]), 0);
		if (i == 0)
			cr_assert(wait_for(&writing));
	}
	for (int i = 0; i < THREADS; i++) {
		cr_assert_eq(pthread_join(threads[i], &failed), 0);
		cr_assert_null(failed);
	}
	cr_assert_eq(sync_calls, 2, "%u writes", sync_calls);
}

/* In a process that may only read, write and exit. */
static void begin_without_system_calls(void)
{
	char path[32];
	struct concerned c = numbered(path, 7);

	if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT))
		syscall(SYS_exit, 2);
	for (int i = 0; i < 1000; i++)
		if (marker_begin(m, &c) || marker_begin(m, &images))
			syscall(SYS_exit, 1);
	syscall(SYS_exit, 0);
}

Test(turn, who_is_covered_makes_no_system_call)
{
	struct concerned c;
	char path[32];
	int status;
	pid_t pid;

	boot("a");
	c = numbered(path, 7);
	cr_assert_eq(marker_begin(m, &c), 0);
	cr_assert_eq(marker_begin(m, &images), 0);
	pid = fork();
	if (pid == 0)
		begin_without_system_calls();
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	cr_assert(WIFEXITED(status), "killed by signal %d", WTERMSIG(status));
	cr_assert_eq(WEXITSTATUS(status), 0);
}

static atomic_int writers;
static atomic_bool stop;

/* Opens and closes; NULL: whenever it had a file open, the marker said so. */
static void *open_and_close(void *arg)
{
	char path[32], quoted[48];
	struct concerned c = numbered(path, *(int *)arg);
	uint64_t rounds = 0;

	snprintf(quoted, sizeof(quoted), "\"\\\"file-%d\\\"\"\n", *(int *)arg);
	for (; !atomic_load(&stop); rounds++) {
		atomic_fetch_add(&writers, 1);
		if (marker_begin(m, &c) || !says(quoted))
			return arg;
		atomic_fetch_sub(&writers, 1);
		usleep(rounds % 7 * 100);
	}
	return NULL;
}

Test(turn, nobody_writes_unsaid_though_others_end)
{
	pthread_t threads[4];
	int numbers[4], ended = 0, held = 0;
	uint64_t start = clock_nsec();
	void *failed;

	boot("a");
	sync_nothing = true;
	for (int i = 0; i < 4; i++) {
		numbers[i] = i;
		cr_assert_eq(pthread_create(&threads[i], NULL, open_and_close, &numbers[i]), 0);
	}
	while ((ended < 300 || held < 1) && clock_nsec() - start < 300000000000u) {
		uint64_t begun = marker_begun(m);
		int err;

		if (atomic_load(&writers)) {
			sched_yield();
			continue;
		}
		usleep((ended + held) % 2 * 50); /* a flush, in which others begin */
		err = marker_end_since(m, begun);
		cr_assert(!err || err == -EAGAIN);
		if (err)
			held++;
		else
			ended++;
	}
	atomic_store(&stop, true);
	for (int i = 0; i < 4; i++) {
		cr_assert_eq(pthread_join(threads[i], &failed), 0);
		cr_assert_null(failed);
	}
	cr_assert_geq(ended, 300);
	cr_assert_geq(held, 1);
	cr_assert_eq(marker_end(m), 0);
	cr_assert(!says("boot"));
}

/* ---- several daemons ---- */

static struct private_dir *other_dir(void)
{
	struct private_dir *p;

	cr_assert_eq(private_dir_create(root_fd, &p), 0);
	return p;
}

Test(turn, another_daemon_has_it)
{
	struct private_dir *theirs = other_dir();
	enum marker_found found;
	struct marker *second;

	cr_assert_eq(marker_create(theirs, "a", &second, &found), 0);
	boot("a");
	cr_assert_eq(marker_begin(m, &all), 0);
	cr_assert_eq(marker_begin(second, &images), -EBUSY);
	cr_assert(!marker_active(second));
	marker_destroy(second);
	cr_assert_eq(marker_create(theirs, "a", &second, &found), 0);
	cr_assert_eq(found, MARKER_CLEAN, "what it has unflushed is its own");
	cr_assert_eq(marker_begin(second, &images), -EBUSY);
	marker_destroy(second);
	cr_assert_eq(marker_error(m, &all), 0);
	cr_assert_eq(marker_create(theirs, "a", &second, &found), -EBUSY, "tainted");
	cr_assert_eq(marker_trust_all(m), 0);
	cr_assert_eq(marker_end(m), 0);
	cr_assert_eq(marker_create(theirs, "a", &second, &found), 0, "there is no marker");
	cr_assert_eq(marker_begin(second, &images), -EBUSY, "until the mount ends");
	marker_destroy(m);
	m = NULL;
	cr_assert_eq(marker_begin(second, &images), 0);
	cr_assert(says("*.img"));
	marker_destroy(second);
	private_dir_destroy(theirs);
}

Test(turn, what_another_daemon_left_meanwhile_is_kept)
{
	static const char text[] = "cachefs crash marker 1\nboot x 2026-11-21T05:50:00Z\nmount\n"
				   "boot a 2026-11-21T05:50:00Z\npattern \"*.raw\"\n"
				   "boot a 2026-11-21T05:50:01Z\npattern \"*.vdi\"\nend\n";

	cr_assert_eq(boot("a"), MARKER_CLEAN);
	marker_put(text, sizeof(text) - 1);
	cr_assert_eq(marker_begin(m, &images), 0);
	cr_assert(says("\"*.raw\"") && says("\"*.vdi\"") && says("\"*.img\"") && says("boot x"));
	cr_assert(marker_tainted(m));
	cr_assert_eq(marker_end(m), 0);
	cr_assert(!says("boot a") && says("boot x"));
}

Test(turn, the_owner_before_us_ends_well_while_we_wait)
{
	struct private_dir *theirs = other_dir();
	enum marker_found found;
	struct marker *first;
	pid_t pid;
	int status;

	cr_assert_eq(marker_create(theirs, "a", &first, &found), 0);
	cr_assert_eq(marker_begin(first, &all), 0);
	pid = fork();
	if (pid == 0) {
		/* the lock is shared with this child: it goes with the last of the two */
		usleep(300000);
		_exit(marker_end(first) ? 1 : 0);
	}
	marker_destroy(first);
	private_dir_destroy(theirs);
	cr_assert_eq(boot("a"), MARKER_CLEAN);
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	cr_assert_eq(status, 0);
	theirs = other_dir();
	cr_assert_eq(private_dir_try_own_existing(theirs), 0, "and we do not keep it");
	private_dir_destroy(theirs);
}

/* ---- a backing that fails ---- */

Test(turn, what_cannot_be_written_has_not_begun)
{
	boot("a");
	sync_error = EIO;
	cr_assert_eq(marker_begin(m, &images), -EIO);
	cr_assert(!marker_active(m));
	cr_assert(!says("boot"));
	sync_error = 0;
	cr_assert_eq(marker_begin(m, &images), 0);
	cr_assert(says("*.img"));
	sync_error = ENOSPC;
	sync_calls = 0;
	cr_assert_eq(marker_begin(m, &disks), -ENOSPC);
	cr_assert_eq(marker_begin(m, &images), 0, "said before");
	cr_assert_eq(sync_calls, 1);
	cr_assert_eq(marker_error(m, &all), -ENOSPC);
	cr_assert(!marker_tainted(m));
	sync_error = 0;
	cr_assert_eq(marker_begin(m, &disks), 0);
	cr_assert(says("*.img") && says("*.qcow2"));
}

Test(turn, what_may_not_have_been_written_is_written_again)
{
	boot("a");
	cr_assert_eq(marker_begin(m, &images), 0);
	dir_error = EIO; /* when the new text has its name already */
	cr_assert_eq(marker_begin(m, &disks), -EIO);
	dir_error = 0;
	sync_calls = 0;
	cr_assert_eq(marker_begin(m, &images), 0);
	cr_assert_eq(sync_calls, 1);
	cr_assert(says("*.img"));
	cr_assert_eq(marker_begin(m, &images), 0);
	cr_assert_eq(sync_calls, 1);
}

Test(turn, an_end_that_fails_has_not_ended)
{
	boot("a");
	cr_assert_eq(marker_begin(m, &images), 0);
	dir_error = EIO;
	cr_assert_eq(marker_end(m), -EIO);
	cr_assert(marker_active(m));
	dir_error = 0;
	cr_assert_eq(marker_begin(m, &images), 0);
	cr_assert(says("*.img"));
	cr_assert_eq(marker_end(m), 0);
	cr_assert(!marker_active(m));
}

Test(turn, trust_that_cannot_be_written_is_none)
{
	struct statx st = {0};
	struct file_id id = {0};

	boot("a");
	cr_assert_eq(marker_begin(m, &all), 0);
	boot("b");
	sync_error = EDQUOT;
	cr_assert_eq(marker_trust_file(m, &id, "x"), -EDQUOT);
	cr_assert(marker_concerns(m, &id, "x\0", &st));
	sync_error = 0;
	dir_error = EIO;
	cr_assert_eq(marker_trust_all(m), -EIO);
	cr_assert(marker_concerns(m, &id, "x\0", &st));
	dir_error = 0;
	cr_assert_eq(marker_seen(m), 0);
	cr_assert(says("boot a"), "what may have gone is there again");
}

Test(turn, our_directory_cannot_be_trusted)
{
	enum marker_found found;

	boot("a");
	cr_assert_eq(mkdirat(root_fd, PRIVATE_DIR, 0700), 0);
	cr_assert_eq(fchmodat(root_fd, PRIVATE_DIR, 0777, 0), 0);
	cr_assert_eq(marker_begin(m, &all), -EPERM);
	marker_destroy(m);
	m = NULL;
	cr_assert_eq(marker_create(own, "a", &m, &found), -EPERM);
}

/* ---- a filesystem of its own, of 1 MiB ---- */

static void small_init(void)
{
	strcpy(root, "/var/tmp/cachefs-unit.XXXXXX");
	cr_assert_not_null(mkdtemp(root));
	if (geteuid())
		cr_skip("needs root");
	if (access("/dev/loop-control", F_OK))
		cr_skip("needs loop devices");
	run("truncate -s 1M %s.img && mkfs.ext4 -q -b 1024 -O ^has_journal -m 0 %s.img");
	run("mount -o loop %s.img %s");
	backing_open();
}

static void small_fini(void)
{
	if (own) {
		marker_destroy(m);
		backing_close();
		cr_assert_eq(umount(root), 0);
	}
	run("rm -rf %s %s.img");
}

TestSuite(small, .init = small_init, .fini = small_fini);

static void fill(void)
{
	int fd = openat(root_fd, "fill", O_WRONLY | O_CREAT, 0600);
	static const char block[1024];

	cr_assert_geq(fd, 0);
	while (write(fd, block, sizeof(block)) > 0)
		;
	cr_assert_eq(errno, ENOSPC);
	close(fd);
}

Test(small, a_full_filesystem)
{
	struct concerned c = {.kind = MARKER_FILE};
	char path[3000];
	char *before, *after;

	boot("a");
	cr_assert_eq(marker_begin(m, &images), 0);
	before = marker_text();
	fill();
	memset(path, 'x', sizeof(path));
	path[sizeof(path) - 1] = '\0';
	c.text = path;
	cr_assert_eq(marker_begin(m, &c), -ENOSPC);
	after = marker_text();
	cr_assert_str_eq(after, before);
	cr_assert_eq(marker_begin(m, &images), 0);
	cr_assert(marker_active(m));
	cr_assert_eq(marker_end(m), 0, "to remove it takes no space");
	cr_assert_eq(marker_begin(m, &c), -ENOSPC);
	cr_assert_eq(unlinkat(root_fd, "fill", 0), 0);
	cr_assert_eq(marker_begin(m, &c), 0);
	free(before);
	free(after);
}

Test(small, a_read_only_one)
{
	struct statx st = {0};
	struct file_id id = {0};

	boot("a");
	cr_assert_eq(marker_begin(m, &images), 0);
	marker_destroy(m);
	m = NULL;
	backing_close();
	cr_assert_eq(mount(NULL, root, NULL, MS_REMOUNT | MS_RDONLY, NULL), 0);
	backing_open();
	cr_assert_eq(boot("a"), MARKER_SAME_BOOT);
	cr_assert_eq(marker_resolve(m, 0), -EROFS);
	cr_assert_eq(boot("b"), MARKER_TAINTED);
	cr_assert(marker_concerns(m, &id, "a.img\0", &st));
	cr_assert_eq(marker_seen(m), -EROFS);
	cr_assert_eq(marker_trust_all(m), -EROFS);
	cr_assert(marker_concerns(m, &id, "a.img\0", &st));
	cr_assert_eq(marker_begin(m, &disks), -EROFS);
	cr_assert_eq(mount(NULL, root, NULL, MS_REMOUNT, NULL), 0);
	cr_assert_eq(marker_begin(m, &disks), 0);
	cr_assert(says("*.img") && says("*.qcow2"));
}
