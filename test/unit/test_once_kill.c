/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A worker that is killed at any moment, over and over: a row of requests of which none succeeds
 * twice, each sent until it is answered. Workers are forks of this process, which serves nothing.
 */
#include "once.h"

#include <sys/mman.h>
#include <sys/wait.h>

#define ROUNDS 400

TestSuite(once_kill, .init = begin, .fini = finish, .timeout = 300);

/* What the kernel would know. */
struct client {
	_Atomic uint64_t answered; /* the last request that was */
	_Atomic uint64_t failed;   /* the one that was answered with an error, */
	atomic_int error;
	atomic_uint begun, done; /* how often a request came again that was so */
};

static struct client *client;
static uint64_t file_id;

static int run_name(uint64_t i)
{
	static const struct fs_caller c;
	struct fs *fs = session.fs;
	struct fs_entry e;

	switch (i % 11) {
	case 0:
		return fs_mkdir(fs, 1, "d", 0700, &c, &e);
	case 1:
		return fs_rename(fs, 1, "d", 1, "e", 0);
	case 2:
		return fs_symlink(fs, 1, "l", "target", &c, &e);
	case 3:
		return fs_rename(fs, 1, "e", 1, "l", RENAME_EXCHANGE);
	case 4:
		return fs_unlink(fs, 1, "e"); /* fails where it is the directory */
	case 5:
		return fs_rmdir(fs, 1, "l");
	case 6:
		return fs_mknod(fs, 1, "n", S_IFREG | 0600, 0, &c, &e);
	case 7:
		return fs_rename(fs, 1, "n", 1, "m", RENAME_NOREPLACE);
	case 8:
		return fs_link(fs, file_id, 1, "n", &e);
	case 9:
		return fs_rename(fs, 1, "m", 1, "n", 0);
	default:
		return fs_unlink(fs, 1, "n");
	}
}

static int run_attribute(uint64_t i)
{
	if (i % 13 == 11)
		return fs_setxattr(session.fs, file_id, "user.t", "v", 1, XATTR_CREATE, false, 0);
	if (i % 13 == 12)
		return fs_removexattr(session.fs, file_id, "user.t", 0);
	return 0;
}

/* Two requests for each number: one of names, and one of attributes or nothing. */
static int run(uint64_t i)
{
	i--; /* they begin with 1 */
	return i % 2 ? run_attribute(i / 2) : run_name(i / 2);
}

static void answer(uint64_t i, bool resent)
{
	struct once o = {.unique = i, .resent = resent};
	int err;

	if (resent)
		once_found(&o, journal_find(session.journal, i));
	atomic_fetch_add(&client->begun, o.begun);
	atomic_fetch_add(&client->done, o.done);
	if (!o.entry)
		o.entry = journal_take(session.journal, i, 0, resent);
	fs_thread_once(&o);
	err = run(i);
	fs_thread_once(NULL);
	if (err) {
		client->error = err;
		client->failed = i;
		_exit(1);
	}
	atomic_store(&client->answered, i);
	journal_release(session.journal, o.entry);
}

static void work(int ready)
{
	struct fs_entry e;

	cred_thread_init();
	if (journal_resume(session.journal) || fs_lookup(session.fs, 1, "f", &e))
		_exit(2);
	file_id = e.id;
	if (write(ready, "r", 1) != 1)
		_exit(3);
	for (bool resent = true;; resent = false)
		answer(client->answered + 1, resent);
}

Test(once_kill, each_request_succeeds_once)
{
	unsigned seed = (unsigned)clock_nsec();
	int ready[2], status;
	char byte;

	client =
	    mmap(NULL, sizeof(*client), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	cr_assert(client != MAP_FAILED && pipe(ready) == 0);
	close(open("f", O_CREAT | O_WRONLY, 0600));
	for (int round = 0; round < ROUNDS; round++) {
		pid_t pid = fork();

		if (!pid)
			work(ready[1]);
		cr_assert_eq(read(ready[0], &byte, 1), 1);
		usleep((useconds_t)rand_r(&seed) % 1500);
		kill(pid, SIGKILL);
		cr_assert_eq(waitpid(pid, &status, 0), pid);
		cr_assert(WIFSIGNALED(status),
			  "seed %u, round %d: request %lu (%lu of its kind): %s", seed, round,
			  client->failed, (client->failed - 1) / 2 % 11, strerror(-client->error));
	}
	cr_log_info("%lu requests; of those that came again %u had been begun and %u done\n",
		    client->answered, client->begun, client->done);
	cr_assert_gt(client->begun + client->done, 0, "kills came at no moment that matters");
}
