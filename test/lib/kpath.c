/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * kpath CHECK ARGUMENT...: clients whose reads and writes the kernel serves without the daemon,
 *mixed with those that the daemon serves.
 *
 *	which PID FILE DIR	who serves each open while PID is stopped; DIR: a mounted fusectl
 *	mix FILE		every pair of opens and mappings, in both orders
 *	storm DIR FILES THREADS SECONDS
 *	append FILE		by several processes
 *	truncate FILE		against writes
 *	maps FILE		coherence of mappings, reads and writes of different opens
 *	stale FILE ROUNDS	sendfile and splice after writes that the daemon does not see
 *	unlinked FILE
 *	privileges FILE		suid, sgid and capabilities fall when nobody writes
 *	attributes FILE		sizes and times
 *
 * Exit status: 0, 1 when a check failed, 2 for wrong usage.
 */
#define _GNU_SOURCE
#include "kpath.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

const struct client_kind client_kinds[] = {
    {"plain", 0},	    {"odirect", O_DIRECT},
    {"osync", O_SYNC},	    {"odsync", O_DSYNC},
    {"append", O_APPEND},   {"odirect+odsync", O_DIRECT | O_DSYNC},
    {"noatime", O_NOATIME}, {NULL, 0},
};

static const struct {
	const char *name;
	int arguments;
	int (*run)(int argc, char **argv);
} checks[] = {
    {"which", 3, run_which},	       {"mix", 1, run_mix},
    {"storm", 4, run_storm},	       {"append", 1, run_append},
    {"truncate", 1, run_truncate},     {"maps", 1, run_maps},
    {"stale", 2, run_stale},	       {"unlinked", 1, run_unlinked},
    {"privileges", 1, run_privileges}, {"attributes", 1, run_attributes},
};
#define CHECKS (sizeof(checks) / sizeof(checks[0]))

void die(const char *what)
{
	fprintf(stderr, "kpath: %s: %s\n", what, strerror(errno));
	exit(1);
}

int complain(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	fputs("kpath: ", stderr);
	vfprintf(stderr, format, args);
	fputc('\n', stderr);
	va_end(args);
	return 1;
}

int must_open(const char *path, int flags)
{
	int fd = open(path, flags | O_CLOEXEC, 0644);

	if (fd < 0)
		die(path);
	return fd;
}

/* They live as long as the program: kept where a leak checker finds them. */
static char *kept[64];
static unsigned int nkept;

char *blocks(size_t n)
{
	char *p = aligned_alloc(BLOCK, n * BLOCK);

	unsigned int i;

	if (!p)
		die("no memory");
	i = __atomic_fetch_add(&nkept, 1, __ATOMIC_RELAXED);
	if (i < sizeof(kept) / sizeof(kept[0]))
		kept[i] = p;
	return memset(p, 0, n * BLOCK);
}

double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

int main(int argc, char **argv)
{
	for (size_t i = 0; argc > 1 && i < CHECKS; i++)
		if (!strcmp(checks[i].name, argv[1]) && argc == checks[i].arguments + 2)
			return checks[i].run(argc - 1, argv + 1);
	fprintf(stderr, "usage: kpath CHECK ARGUMENT...; CHECK (number of arguments):");
	for (size_t i = 0; i < CHECKS; i++)
		fprintf(stderr, " %s (%d)", checks[i].name, checks[i].arguments);
	fprintf(stderr, "\n");
	return 2;
}
