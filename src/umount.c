/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * umount.fuse.cachefs: what umount(8) calls. It flushes while the mount can still say that
 * something went wrong, unmounts, and returns when the server has ended, which it does when
 * everything is flushed. Where there is no server any more it flushes the backing itself, when that
 * is not covered by the mount any more.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <linux/magic.h>
#include <poll.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/unserved.h"
#include "base/util.h"
#include "cachefs.h"
#include "fuse/mount.h"

extern char **environ;

enum { EXIT_USAGE = 1, EXIT_SYSTEM = 2, EXIT_MOUNT = 32 };

struct arguments {
	const char *target;
	bool force, lazy, verbose;
};

/* What the daemon said when it was asked to flush. */
enum answer {
	FLUSHED,
	REFUSED,   /* it could not */
	NO_ANSWER, /* another user's mount, say: it may be there or not */
	UNSERVED,
};

static void say(const struct arguments *a, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

static void say(const struct arguments *a, const char *fmt, ...)
{
	char text[PATH_MAX + 512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	fprintf(stderr, "umount.fuse.cachefs: %s: %s\n", a->target, text);
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

static enum answer flush(const struct arguments *a, int fd)
{
	if (ioctl(fd, CACHEFS_IOC_FLUSH) == 0)
		return FLUSHED;
	if (unserved_error(errno))
		return UNSERVED;
	if (a->force || a->lazy || errno == ENOTTY)
		return FLUSHED;
	say(a, "%s: not everything could be flushed, so it stays mounted; -f unmounts all the same",
	    strerror(errno));
	return REFUSED;
}

/* *SERVER: to be waited for after the unmount, or -1. */
static enum answer ask(const struct arguments *a, int *server)
{
	_cleanup_fd_ int fd = -1; /* it would keep the mount busy */

	*server = -1;
	if (a->force)
		return FLUSHED; /* it does so before it ends */
	fd = open(a->target, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return unserved_error(errno) ? UNSERVED : NO_ANSWER;
	*server = open_server(fd);
	return flush(a, fd);
}

static void wait_for_end(const struct arguments *a, int server)
{
	struct pollfd p = {.fd = server, .events = POLLIN};
	int n;

	do {
		n = poll(&p, 1, 2000);
		if (n == 0)
			say(a, "waiting for data to be flushed");
	} while (n == 0 || (n < 0 && errno == EINTR));
}

/* ---- the unmount ---- */

/* umount(8) gives up its rights before it calls us for a user; this program has some. */
static int unmount_as_user(const struct arguments *a)
{
	char *argv[] = {"fusermount3", "-u", "--", (char *)a->target, NULL};
	char *lazy[] = {"fusermount3", "-u", "-z", "--", (char *)a->target, NULL};
	int status, err;
	pid_t pid;

	err = posix_spawnp(&pid, argv[0], NULL, NULL, a->lazy ? lazy : argv, environ);
	if (err) {
		say(a, "fusermount3, which unmounts for users: %s: install it, or ask root",
		    strerror(err));
		return EXIT_MOUNT;
	}
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : EXIT_MOUNT; /* it has said why */
}

static int unmount(const struct arguments *a)
{
	int flags = (a->force ? MNT_FORCE : 0) | (a->lazy ? MNT_DETACH : 0) | UMOUNT_NOFOLLOW;

	if (umount2(a->target, flags) == 0)
		return 0;
	if (errno == EPERM && geteuid() != 0)
		return unmount_as_user(a);
	say(a, "%s%s", strerror(errno),
	    errno == EBUSY ? ": in use; fuser -vm tells by whom, -l detaches it" : "");
	return EXIT_MOUNT;
}

/* ---- in place of a daemon ---- */

/* All of the filesystem; errors that nobody has been told of yet count, too (Linux 5.8). */
static int flush_filesystem(int fd)
{
	struct cachefs_info info;
	struct statfs fs;

	/* one of ours, where mounts lie over one another: syncfs(2) does not reach its daemon */
	if (fstatfs(fd, &fs) == 0 && fs.f_type == FUSE_SUPER_MAGIC &&
	    ioctl(fd, CACHEFS_IOC_INFO, &info) == 0 && ioctl(fd, CACHEFS_IOC_FLUSH) < 0)
		return -errno;
	return sysret(syncfs(fd));
}

/* 0, or an exit status after a complaint. SOURCE: NULL, it is not known. */
static int flush_source(const struct arguments *a, enum answer answer, const char *source)
{
	const char *name = source ? source : "which is not known";
	_cleanup_fd_ int fd = source ? open(source, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
	int err = fd < 0 ? source ? -errno : -ENOENT : 0;

	if (err && answer == NO_ANSWER)
		return 0; /* in all likelihood there is a daemon, which flushes before it ends */
	if (err) {
		say(a,
		    "the process that served it had died, and its SOURCE, %s, cannot be opened to "
		    "flush it: %s: sync(1) flushes all filesystems",
		    name, strerror(-err));
		return EXIT_SYSTEM;
	}
	err = flush_filesystem(fd);
	if (err)
		say(a,
		    "%sthe filesystem of its SOURCE, %s, could not be flushed: %s: it is unmounted "
		    "all the same; see to the storage, data may be lost",
		    answer == UNSERVED ? "the process that served it had died, and " : "", name,
		    strerror(-err));
	else if (answer == UNSERVED)
		say(a,
		    "the process that served it had died: the filesystem of its SOURCE, %s, was "
		    "flushed instead",
		    name);
	return err ? EXIT_SYSTEM : 0;
}

int main(int argc, char **argv)
{
	struct arguments a = {0};
	struct mount_entry mount = {0};
	int code = parse(argc, argv, &a), server;
	enum answer answer;

	if (code)
		return code;
	answer = ask(&a, &server);
	if (answer == REFUSED)
		return EXIT_SYSTEM;
	if (answer != FLUSHED && mount_of(a.target, &mount))
		mount = (struct mount_entry){0};
	code = unmount(&a);
	if (code == 0 && a.verbose)
		printf("%s unmounted\n", a.target);
	if (code == 0 && answer != FLUSHED && (code = flush_source(&a, answer, mount.source)) &&
	    geteuid() == 0)
		utab_remove(a.target); /* umount(8) only does after a success */
	if (code == 0 && server >= 0 && !a.lazy)
		wait_for_end(&a, server);
	mount_entry_free(&mount);
	return code;
}
