/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Attributes of files that are written without the daemon. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "kpath.h"

#define NOBODY 65534

int run_unlinked(int argc, char **argv)
{
	int fd = must_open(argv[1], O_RDWR | O_CREAT | O_TRUNC), direct;
	char *buf = blocks(2), *got = blocks(2);
	struct stat st;

	(void)argc;
	direct = must_open(argv[1], O_RDWR | O_DIRECT);
	memset(buf, 'u', 2 * BLOCK);
	if (unlink(argv[1]))
		die("unlink");
	if (pwrite(fd, buf, 2 * BLOCK, 0) != 2 * BLOCK || pwrite(direct, "v", 1, 5) != 1)
		die("write after unlink");
	buf[5] = 'v';
	if (pread(direct, got, 2 * BLOCK, 0) != 2 * BLOCK || memcmp(buf, got, 2 * BLOCK))
		return complain("an unlinked file reads back something else");
	if (ftruncate(fd, 100) || fsync(fd) || fchmod(fd, 0600) || fstat(fd, &st))
		die("attributes of an unlinked file");
	if (st.st_size != 100 || st.st_nlink != 0 || (st.st_mode & 07777) != 0600)
		return complain("size %lld, %lu links, mode %o", (long long)st.st_size,
				(unsigned long)st.st_nlink, st.st_mode);
	if (access(argv[1], F_OK) == 0 || errno != ENOENT)
		return complain("the name is still there");
	return close(fd) || close(direct);
}

/* ---- privileges that a write takes away ---- */

static int as_nobody(int fd)
{
	pid_t pid = fork();
	int status;

	if (pid < 0)
		die("fork");
	if (!pid) {
		if (setgid(NOBODY) || setuid(NOBODY))
			_exit(2);
		_exit(pwrite(fd, "n", 1, 0) != 1);
	}
	return waitpid(pid, &status, 0) == pid ? status : -1;
}

/* Has the file suid and sgid now? -1 on an error. */
static int has_suid(int fd)
{
	struct stat st;

	if (fstat(fd, &st))
		return -1;
	return (st.st_mode & (S_ISUID | S_ISGID)) == (S_ISUID | S_ISGID) ? 1
	       : st.st_mode & (S_ISUID | S_ISGID)			 ? -1
									 : 0;
}

/* Bits that are set while the file is open. */
static int privileges_set_later(int fd)
{
	/* struct vfs_cap_data of revision 2: cap_net_raw, effective */
	static const unsigned char cap[20] = {1, 0, 0, 2, 0, 0x20};
	char value[64];
	int bad = 0;

	if (pwrite(fd, "0123456789", 10, 0) != 10 || fchown(fd, 1, 1) || fchmod(fd, 06777) ||
	    has_suid(fd) != 1)
		die("preparing");
	if (as_nobody(fd) || has_suid(fd))
		bad = complain("nobody wrote, and suid is there (or nobody could not write)");
	if (fsetxattr(fd, "security.capability", cap, sizeof(cap), 0))
		die("setting a capability");
	if (as_nobody(fd) || fgetxattr(fd, "security.capability", value, sizeof(value)) >= 0)
		bad = complain("nobody wrote, and the capability is there");
	return bad;
}

/*
 * The daemon learns of a close(2) after that has returned, and the first open decides who serves:
 * until the reports do not have the file any more, a minute at most.
 */
static void wait_released(const char *path)
{
	char report[4096], quoted[300], text[65536];
	const char *slash = strrchr(path, '/');

	snprintf(report, sizeof(report), "%.*s/.cachefs/status.json", (int)(slash - path), path);
	snprintf(quoted, sizeof(quoted), "\"%s\"", slash + 1);
	for (int i = 0; i < 1200; i++) {
		FILE *f = fopen(report, "re");
		size_t n = f ? fread(text, 1, sizeof(text) - 1, f) : 0;

		if (!f)
			die(report);
		fclose(f);
		text[n] = '\0';
		if (!strstr(text, quoted))
			return;
		usleep(50000);
	}
}

/* Bits that are there at the open: root's own writes keep them. */
static int privileges_set_before(int fd)
{
	int bad = 0;

	if (pwrite(fd, "r", 1, 0) != 1 || has_suid(fd) != 1)
		bad = complain("root wrote, and suid is gone");
	if (as_nobody(fd) || has_suid(fd))
		bad = complain("nobody wrote to a file with suid, and suid is there");
	return bad;
}

static int privileges_of(const char *path, int flags)
{
	int fd = must_open(path, O_RDWR | O_CREAT | flags), bad = privileges_set_later(fd);

	if (fchmod(fd, 06777) || close(fd))
		die("chmod");
	wait_released(path);
	fd = must_open(path, O_RDWR | flags);
	bad |= privileges_set_before(fd);
	close(fd);
	unlink(path);
	return bad;
}

int run_privileges(int argc, char **argv)
{
	(void)argc;
	return privileges_of(argv[1], 0) | privileges_of(argv[1], O_DIRECT) |
	       privileges_of(argv[1], O_DSYNC);
}

/* ---- sizes and times ---- */

static struct stat look(const char *path)
{
	struct stat st;

	if (stat(path, &st))
		die(path);
	return st;
}

static int later(const struct timespec *a, const struct timespec *b)
{
	return a->tv_sec > b->tv_sec || (a->tv_sec == b->tv_sec && a->tv_nsec > b->tv_nsec);
}

static int attributes_of(const char *path, int flags)
{
	int fd = must_open(path, O_RDWR | O_CREAT | O_TRUNC | flags);
	struct stat before = look(path), after;
	char byte;

	for (off_t size = 1; size < 1 << 20; size = size * 3 + 1) {
		usleep(30000); /* longer than a tick of the kernel's clock for times */
		if (pwrite(fd, "x", 1, size - 1) != 1)
			die("write");
		after = look(path);
		if (after.st_size != size)
			return complain("size %lld, not %lld", (long long)after.st_size,
					(long long)size);
		if (!later(&after.st_mtim, &before.st_mtim) ||
		    !later(&after.st_ctim, &before.st_ctim))
			return complain("a write did not change the times");
		if (after.st_blocks == 0)
			return complain("no blocks");
		before = after;
	}
	/* beyond the end: nothing; and the end is where the writer left it */
	if (pread(fd, &byte, 1, before.st_size) != 0 || lseek(fd, 0, SEEK_END) != before.st_size)
		return complain("the end of the file is somewhere else");
	close(fd);
	return 0;
}

int run_attributes(int argc, char **argv)
{
	(void)argc;
	return attributes_of(argv[1], 0) | attributes_of(argv[1], O_DIRECT) |
	       attributes_of(argv[1], O_DSYNC);
}
