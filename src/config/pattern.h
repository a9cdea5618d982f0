/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Patterns of paths, compiled once and matched often: see cachefs.rules(5).
 *
 * Matching takes at most (length of the path) × (length of the pattern) steps, whatever the two
 * are: a set of positions in the pattern is moved along the path, and nothing is tried twice. A
 * pattern does not change once it is made; any thread may match against it.
 */
#ifndef CACHEFS_CONFIG_PATTERN_H
#define CACHEFS_CONFIG_PATTERN_H

#include <stdbool.h>
#include <stddef.h>

/* Bytes of a pattern, at most: what a path can have. */
#define PATTERN_MAX 4096

struct pattern;

/* What is wrong with a pattern, and what to do; AT: offset in its text. */
struct pattern_fault {
	size_t at;
	const char *what; /* static */
};

/*
 * TEXT (LEN bytes, any but NUL), in which only a backslash quotes. 0 and *OUT, released with
 * free(); -EINVAL and *FAULT; -ENOMEM.
 */
int pattern_compile(const char *text, size_t len, struct pattern **out,
		    struct pattern_fault *fault);

/* PATH (LEN bytes, relative); NAME: offset in it of its last component. */
bool pattern_matches(const struct pattern *p, const char *path, size_t len, size_t name);

#endif
