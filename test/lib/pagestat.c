/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * pagestat [-b] [-r OFFSET:LENGTH] FILE...: what the page cache holds of each file, or of a range
 * of it (bytes).
 *
 * Prints one line a file, "cached=N dirty=N writeback=N evicted=N", in pages, or in bytes
 * with -b; with several files the name follows. cachestat(2) needs Linux 6.5. On a FUSE file
 * it sees FUSE's own pages only, so tests point it at the backing file.
 *
 * Exit status: 0, 1 when a file could not be examined, 2 for wrong usage.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef SYS_cachestat
#define SYS_cachestat 451 /* the same on every architecture; headers of Debian 12 lack it */
#endif

/* As in <linux/mman.h> since Linux 6.5; named apart, so that newer headers do not collide. */
struct page_range {
	uint64_t off;
	uint64_t len; /* 0: to the end of the file */
};

struct page_counts {
	uint64_t cached;
	uint64_t dirty;
	uint64_t writeback;
	uint64_t evicted;
	uint64_t recently_evicted;
};

static struct page_range range;

static int show(const char *path, uint64_t unit, int named)
{
	struct page_counts n;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0) {
		fprintf(stderr, "pagestat: %s: cannot open: %s\n", path, strerror(errno));
		return 1;
	}
	if (syscall(SYS_cachestat, fd, &range, &n, 0) < 0) {
		fprintf(stderr, "pagestat: %s: cachestat: %s%s\n", path, strerror(errno),
			errno == ENOSYS ? " (needs Linux 6.5)" : "");
		close(fd);
		return 1;
	}
	close(fd);
	printf("cached=%" PRIu64 " dirty=%" PRIu64 " writeback=%" PRIu64 " evicted=%" PRIu64
	       "%s%s\n",
	       n.cached * unit, n.dirty * unit, n.writeback * unit, n.evicted * unit,
	       named ? " " : "", named ? path : "");
	return 0;
}

int main(int argc, char **argv)
{
	uint64_t unit = 1;
	int c, named, status = 0;

	while ((c = getopt(argc, argv, "br:")) != -1) {
		if (c == 'b')
			unit = (uint64_t)sysconf(_SC_PAGESIZE);
		else if (c != 'r' ||
			 sscanf(optarg, "%" SCNu64 ":%" SCNu64, &range.off, &range.len) != 2)
			goto usage;
	}
	if (optind == argc)
		goto usage;
	named = argc - optind > 1;
	for (; optind < argc; optind++)
		status |= show(argv[optind], unit, named);
	return status;
usage:
	fprintf(stderr, "usage: pagestat [-b] [-r OFFSET:LENGTH] FILE...\n");
	return 2;
}
