/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Shared by kpath's parts: clients of files that are partly read and written by the kernel itself,
 * partly by the daemon. Each check returns 0, or 1 after a line on stderr that says what it saw.
 */
#ifndef TEST_KPATH_H
#define TEST_KPATH_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define BLOCK 4096u

/* A way to open a file. */
struct client_kind {
	const char *name;
	int flags; /* of open(2), beyond the access mode */
};

/* Ends with a NULL name. */
extern const struct client_kind client_kinds[];

/* Prints "kpath: WHAT: strerror(errno)" and ends the program with status 1. */
void die(const char *what) __attribute__((noreturn));
int complain(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* open(2) with O_CLOEXEC; dies on failure. */
int must_open(const char *path, int flags);
/* BLOCK bytes times N, aligned for direct I/O. */
char *blocks(size_t n);
double now(void); /* seconds */

/* argv[0] is the check's name, the rest its arguments. */
int run_which(int argc, char **argv);
int run_mix(int argc, char **argv);
int run_storm(int argc, char **argv);
int run_append(int argc, char **argv);
int run_truncate(int argc, char **argv);
int run_maps(int argc, char **argv);
int run_stale(int argc, char **argv);
int run_unlinked(int argc, char **argv);
int run_privileges(int argc, char **argv);
int run_attributes(int argc, char **argv);

#endif
