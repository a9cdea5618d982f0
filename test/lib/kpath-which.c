/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Who serves which open? While the daemon is stopped, what the kernel does by itself goes on, and
 * what the daemon has to do waits.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "kpath.h"

/* Seconds for what the kernel does by itself in microseconds: once a request waits, and while none
 * does. */
#define WAIT 0.25
#define WAIT_ALONE 20 /* the machine may be busy with something else */
#define KINDS 16

enum action { READ, WRITE, MAP, ACTIONS };

struct attempt {
	enum action action;
	int fd;
	char *buf;
	volatile char *map;
	atomic_int done;
	int failed;
};

static pid_t daemon_pid;
static char waiting_path[4200]; /* of the FUSE connection */

/* Whatever happens here, the daemon goes on. */
static void resume(int sig)
{
	kill(daemon_pid, SIGCONT);
	if (sig)
		_exit(1);
}

static void resume_at_exit(void)
{
	resume(0);
}

static int thread_stopped(const char *task)
{
	char path[300], line[512], *state;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/task/%s/stat", daemon_pid, task);
	f = fopen(path, "re");
	if (!f)
		return 1; /* ended */
	state = fgets(line, sizeof(line), f) ? strrchr(line, ')') : NULL;
	fclose(f);
	return state && state[2] == 'T';
}

static int all_stopped(void)
{
	char path[64];
	struct dirent *e;
	int stopped = 1;
	DIR *d;

	snprintf(path, sizeof(path), "/proc/%d/task", daemon_pid);
	d = opendir(path);
	if (!d)
		die(path);
	while ((e = readdir(d)))
		stopped = stopped && (e->d_name[0] == '.' || thread_stopped(e->d_name));
	closedir(d);
	return stopped;
}

static void stop(void)
{
	if (kill(daemon_pid, SIGSTOP))
		die("cannot stop the daemon");
	while (!all_stopped())
		usleep(1000);
}

static void find_connection(const char *connections, int fd)
{
	struct stat st;

	if (fstat(fd, &st))
		die("fstat");
	snprintf(waiting_path, sizeof(waiting_path), "%s/%u/waiting", connections,
		 minor(st.st_dev));
}

/* How many requests the kernel has for the daemon. */
static int waiting(void)
{
	FILE *f = fopen(waiting_path, "re");
	int n;

	if (!f || fscanf(f, "%d", &n) != 1)
		die(waiting_path);
	fclose(f);
	return n;
}

/* Stops it with no request of before, a readahead say, under way. */
static void stop_idle(void)
{
	for (stop(); waiting() > 0; stop()) {
		resume(0);
		usleep(1000);
	}
}

static void *attempt_main(void *arg)
{
	struct attempt *a = arg;

	if (a->action == READ)
		a->failed = pread(a->fd, a->buf, BLOCK, 0) != BLOCK;
	else if (a->action == WRITE)
		a->failed = pwrite(a->fd, a->buf, BLOCK, 0) != BLOCK;
	else
		a->buf[0] = *a->map;
	atomic_store(&a->done, 1);
	return NULL;
}

/* 'k' or 'd' for who did it, or 'e' when it failed. */
static char try(struct attempt *a)
{
	double begin, asked = 0;
	pthread_t thread;
	int alone;

	atomic_store(&a->done, 0);
	stop_idle();
	if (pthread_create(&thread, NULL, attempt_main, a))
		die("no thread");
	for (begin = now(); !atomic_load(&a->done) && now() < begin + WAIT_ALONE;) {
		if (asked == 0 && waiting() > 0)
			asked = now();
		if (asked > 0 && now() > asked + WAIT)
			break;
		usleep(500);
	}
	alone = atomic_load(&a->done);
	resume(0);
	pthread_join(thread, NULL);
	return a->failed ? 'e' : alone ? 'k' : 'd';
}

/*
 * Prints "KIND=rwm ..." with a letter for read, write and mapping: k the kernel, d the daemon. Each
 * mapping is touched in a page of its own that nobody read before.
 */
int run_which(int argc, char **argv)
{
	struct attempt a[KINDS] = {0};
	size_t n = 0;

	(void)argc;
	daemon_pid = atoi(argv[1]);
	signal(SIGALRM, resume);
	atexit(resume_at_exit);
	alarm(300);
	for (; client_kinds[n].name; n++) {
		char *map;

		a[n].fd = must_open(argv[2], O_RDWR | client_kinds[n].flags);
		a[n].buf = blocks(1);
		find_connection(argv[3], a[n].fd);
		/* for the first write to an inode the kernel asks for its capabilities */
		if (pwrite(a[n].fd, a[n].buf, BLOCK, 0) != BLOCK)
			die("write");
		map = mmap(NULL, 4096 * BLOCK, PROT_READ, MAP_SHARED, a[n].fd, 0);
		if (map == MAP_FAILED)
			die("mmap");
		madvise(map, 4096 * BLOCK, MADV_RANDOM);
		a[n].map = map + (n + 1) * 64 * BLOCK;
	}
	for (size_t i = 0; i < n; i++) {
		printf("%s%s=", i ? " " : "", client_kinds[i].name);
		for (a[i].action = READ; a[i].action < ACTIONS; a[i].action++)
			putchar(try(&a[i]));
	}
	putchar('\n');
	return 0;
}
