/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * moderace SECONDS FILE: one thread switches the mode of FILE while others open and close it. After
 * each switch that was reported as made, the file must have that mode, and nobody have it open
 * on the kernel path with flags that do not mean it. In turns the file is kept open beside
 * the kernel path (O_APPEND), and by nobody else. Prints "switches=N opens=N"; exit status 1 and
 * one line for what must not be.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

#include "cachefs.h"

#define OPENERS 3
/* Switches in a row with the file kept open, and without. */
#define TURN 50

static const char *path;
static atomic_bool stop, bad;
static atomic_ulong opens;

static void wrong(const char *what, const char *detail)
{
	if (!atomic_exchange(&bad, true))
		fprintf(stderr, "moderace: %s: %s: %s\n", path, what, detail);
	atomic_store(&stop, true);
}

static void *open_and_close(void *arg)
{
	(void)arg;
	while (!atomic_load(&stop)) {
		int fd = open(path, O_RDWR | O_CLOEXEC);

		if (fd < 0) {
			wrong("open", strerror(errno));
			break;
		}
		atomic_fetch_add(&opens, 1);
		close(fd);
	}
	return NULL;
}

/* By path, so that it opens nothing itself. Was it made? */
static bool set_now(const char *mode)
{
	if (setxattr(path, CACHEFS_XATTR_NOW, mode, strlen(mode), 0) == 0)
		return true;
	if (errno != EBUSY)
		wrong(mode, strerror(errno));
	return false;
}

static void check_now(const char *mode)
{
	char now[128] = "";

	if (getxattr(path, CACHEFS_XATTR_NOW, now, sizeof(now) - 1) < 0)
		wrong("its mode", strerror(errno));
	else if (strcmp(now, mode) != 0)
		wrong("was set to another mode than it has now", now);
}

/* By the descriptor of who keeps it open. */
static void check_clients(int fd)
{
	static struct cachefs_status s;

	if (ioctl(fd, CACHEFS_IOC_STATUS, &s) < 0) {
		wrong("status", strerror(errno));
		return;
	}
	for (unsigned i = 0; i < s.clients_shown; i++)
		if (s.clients[i].kernel_path && s.switches & CACHEFS_DIRECT && !s.pending &&
		    !(s.clients[i].flags & O_DIRECT))
			wrong("cache.direct=on, and open",
			      "on the kernel path, which uses the page cache");
}

/* KEPT: a descriptor of it, or -1. How many were made. */
static unsigned long switch_modes(int kept, const char *to)
{
	unsigned long made = 0;

	for (int i = 0; i < TURN && !atomic_load(&stop); i++) {
		const char *mode = i % 2 ? "writeback" : to;

		if (!set_now(mode))
			continue;
		made++;
		check_now(mode);
		if (kept >= 0)
			check_clients(kept);
	}
	set_now("writeback");
	return made;
}

static unsigned long turn(void)
{
	unsigned long made;
	int fd = open(path, O_RDWR | O_APPEND | O_CLOEXEC);

	if (fd < 0) {
		wrong("open", strerror(errno));
		return 0;
	}
	made = switch_modes(fd, "none");
	close(fd);
	return made + switch_modes(-1, "writethrough") + switch_modes(-1, "unsafe");
}

int main(int argc, char **argv)
{
	pthread_t threads[OPENERS];
	unsigned long made = 0;
	time_t end;

	if (argc != 3) {
		fputs("usage: moderace SECONDS FILE\n", stderr);
		return 2;
	}
	path = argv[2];
	end = time(NULL) + atoi(argv[1]);
	for (int i = 0; i < OPENERS; i++)
		if (pthread_create(&threads[i], NULL, open_and_close, NULL))
			return 2;
	while (time(NULL) < end && !atomic_load(&stop))
		made += turn();
	atomic_store(&stop, true);
	for (int i = 0; i < OPENERS; i++)
		pthread_join(threads[i], NULL);
	printf("switches=%lu opens=%lu\n", made, atomic_load(&opens));
	if (!made)
		wrong("no switch was made", "every one was refused");
	return atomic_load(&bad);
}
