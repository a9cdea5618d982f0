/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fsops: one system call a line, read from standard input; prints each line with what came of it.
 * The same lines run in a plain directory and on a mount must print the same.
 */
#ifndef FSOPS_H
#define FSOPS_H

#include <stdbool.h>
#include <stddef.h>

#define FSOPS_ARGS 12
#define FSOPS_SLOTS 10

/* An operation prints its result (without a newline) or returns a negative errno to be printed. */
struct op {
	const char *name;
	const char *usage; /* arguments; as many words are needed, those in [] are optional */
	int (*run)(int argc, char **argv);
};

extern const struct op ops_names[], ops_files[], ops_attrs[];

/* Descriptor slots of the script; "0" to "9". The slot of a word, ending the program if it is none.
 */
int *slot(const char *word);
/* -errno of a call that returned -1; else what it returned. */
int result(long r);
/* A word's number, octal with a leading 0. */
long long number(const char *word);

struct word {
	const char *name;
	int value;
};
/* The words of a list, separated by commas, ORed together. */
int flags(const char *list, const struct word *words);
/* A word of N bytes 'x' for "@N" (in static memory), else the word itself. */
const char *bytes(const char *word, size_t *len);
/* The name of an errno value. */
const char *errno_name(int err);

#endif
