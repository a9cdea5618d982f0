/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * umount.fuse.cachefs: what umount(8) calls. It flushes while the mount can still say that
 * something went wrong, unmounts, and returns when the server has ended, which it does when
 * everything is flushed.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "cachefs.h"

enum { EXIT_USAGE = 1, EXIT_SYSTEM = 2, EXIT_MOUNT = 32 };

struct arguments {
	const char *target;
	bool force, lazy, verbose;
};

static void complain(const char *target, const char *what, const char *advice)
{
	fprintf(stderr, "umount.fuse.cachefs: %s: %s%s%s\n", target, what, *advice ? ": " : "",
		advice);
}

/* Flags as umount(8) passes them: -f -l -n -r -v -N NS -t TYPE, before or after the target. */
static int parse(int argc, char **argv, struct arguments *a)
{
	int c;

	while ((c = getopt(argc, argv, "flnrvN:t:s")) != -1) {
		if (c == 'f')
			a->force = true;
		else if (c == 'l')
			a->lazy = true;
		else if (c == 'v')
			a->verbose = true;
		else if (c == '?')
			return EXIT_USAGE;
	}
	if (optind + 1 != argc) {
		fprintf(stderr, "usage: umount.fuse.cachefs [-flnrv] MOUNTPOINT\n");
		return EXIT_USAGE;
	}
	a->target = argv[optind];
	return 0;
}

/* The server as a pidfd, or -1 where it cannot be known (another pid namespace, not our mount). */
static int open_server(int fd)
{
	struct cachefs_info info;

	if (ioctl(fd, CACHEFS_IOC_INFO, &info) < 0)
		return -1;
	/* the one that serves may be replaced before all is flushed */
	return (int)syscall(SYS_pidfd_open,
			    (pid_t)(info.supervisor_pid ? info.supervisor_pid : info.pid), 0);
}

static int flush(const struct arguments *a, int fd)
{
	if (ioctl(fd, CACHEFS_IOC_FLUSH) == 0 || a->force || a->lazy || errno == ENOTTY ||
	    errno == ENOTCONN)
		return 0;
	complain(a->target, strerror(errno),
		 "not everything could be flushed, so it stays mounted; -f unmounts all the same");
	return EXIT_SYSTEM;
}

static void wait_for_end(const struct arguments *a, int server)
{
	struct pollfd p = {.fd = server, .events = POLLIN};
	int n;

	do {
		n = poll(&p, 1, 2000);
		if (n == 0)
			fprintf(stderr, "umount.fuse.cachefs: %s: waiting for data to be flushed\n",
				a->target);
	} while (n == 0 || (n < 0 && errno == EINTR));
}

int main(int argc, char **argv)
{
	struct arguments a = {0};
	int code = parse(argc, argv, &a), fd, server = -1;
	int flags;

	if (code)
		return code;
	flags = (a.force ? MNT_FORCE : 0) | (a.lazy ? MNT_DETACH : 0);
	fd = a.force ? -1 : open(a.target, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd >= 0) {
		server = open_server(fd);
		code = flush(&a, fd);
		close(fd); /* it would keep the mount busy */
	}
	if (code)
		return code;
	if (umount2(a.target, flags | UMOUNT_NOFOLLOW) < 0) {
		complain(a.target, strerror(errno),
			 errno == EBUSY ? "in use; fuser -vm tells by whom, -l detaches it" : "");
		return EXIT_MOUNT;
	}
	if (a.verbose)
		printf("%s unmounted\n", a.target);
	if (server >= 0 && !a.lazy)
		wait_for_end(&a, server);
	return 0;
}
