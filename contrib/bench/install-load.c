/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a package manager does to a disk, without the package manager: many small files, each
 * written under a temporary name, fsynced and renamed into place.
 *
 *	install-load DIR [FILES [BYTES]]
 *
 * prints files per second. DIR must exist; what is made in it is removed again, untimed.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define MAX_FILES 1000000L
#define MAX_BYTES (64L << 20)

/* Says what failed, with errno's text; -1 for the caller to pass on. */
static int fail(const char *what, const char *name)
{
	fprintf(stderr, "install-load: %s %s: %s\n", what, name, strerror(errno));
	return -1;
}

static int write_all(int fd, const char *buf, size_t len)
{
	while (len > 0) {
		ssize_t n = write(fd, buf, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -1;
		buf += n;
		len -= (size_t)n;
	}
	return 0;
}

static int install_one(int dir, long number, const char *buf, size_t len)
{
	char tmp[64], name[64];
	int fd, ret = 0;

	snprintf(tmp, sizeof(tmp), "file%ld.new", number);
	snprintf(name, sizeof(name), "file%ld", number);
	fd = openat(dir, tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	if (fd < 0)
		return fail("create", tmp);
	if (write_all(fd, buf, len) < 0)
		ret = fail("write", tmp);
	else if (fsync(fd) < 0)
		ret = fail("fsync", tmp);
	if (close(fd) < 0 && ret == 0)
		ret = fail("close", tmp);
	if (ret == 0 && renameat(dir, tmp, dir, name) < 0)
		ret = fail("rename", tmp);
	return ret;
}

static void remove_all(int dir, long files)
{
	char name[64];

	for (long i = 0; i < files; i++) {
		snprintf(name, sizeof(name), "file%ld", i);
		unlinkat(dir, name, 0);
		snprintf(name, sizeof(name), "file%ld.new", i);
		unlinkat(dir, name, 0);
	}
}

static double seconds(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

/* 0 with *VALUE in 1..MAX, or -1 with a message. */
static int number(const char *text, long max, long *value)
{
	char *end;

	errno = 0;
	*value = strtol(text, &end, 10);
	if (errno || *end || end == text || *value < 1 || *value > max) {
		fprintf(stderr, "install-load: '%s' is no number from 1 to %ld\n", text, max);
		return -1;
	}
	return 0;
}

int main(int argc, char **argv)
{
	long files = 1500, bytes = 20480, done = 0;
	double start, taken;
	char *buf;
	int dir, ret = 0;

	if (argc < 2 || argc > 4) {
		fprintf(stderr, "usage: install-load DIR [FILES [BYTES]]\n");
		return 1;
	}
	if ((argc > 2 && number(argv[2], MAX_FILES, &files) < 0) ||
	    (argc > 3 && number(argv[3], MAX_BYTES, &bytes) < 0))
		return 1;
	dir = open(argv[1], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0) {
		fail("open", argv[1]);
		return 1;
	}
	buf = malloc((size_t)bytes);
	if (!buf) {
		fail("allocate", "a file's content");
		close(dir);
		return 1;
	}
	memset(buf, 0x5a, (size_t)bytes);
	start = seconds();
	while (done < files && ret == 0)
		ret = install_one(dir, done++, buf, (size_t)bytes);
	taken = seconds() - start;
	remove_all(dir, done);
	free(buf);
	close(dir);
	if (ret == 0)
		printf("%.0f\n", (double)files / taken);
	return ret ? 1 : 0;
}
