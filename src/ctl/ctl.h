/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * cachefsctl: a thin client of include/cachefs.h. One process, one thread, one verb.
 */
#ifndef CACHEFS_CTL_CTL_H
#define CACHEFS_CTL_CTL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

/* What the process ends with; of several paths the largest. */
enum ctl_exit { CTL_OK = 0, CTL_USAGE = 1, CTL_FAILED = 2, CTL_REFUSED = 3 };

/* X(id, long name, letter or 0, argument's name or NULL, help) */
#define CTL_OPTIONS(X)                                                                             \
	X(JSON, "json", 0, NULL, "print JSON, for programs")                                       \
	X(PERSIST, "persist", 0, NULL, "the mode stored with the file: it outlives the unmount")   \
	X(CLEAR, "clear", 0, NULL, "take the setting back, so that what stands below it holds")    \
	X(DELAY, "delay", 'd', "SECONDS", "time between two looks, 0.1 to 3600; default 2")        \
	X(COUNT, "count", 'n', "N", "end after N looks; default: go on")                           \
	X(DRY_RUN, "dry-run", 0, NULL, "only look whether it can be done, and change nothing")     \
	X(BATCH, "batch", 'b', NULL, "plain lines one after the other, without a terminal")        \
	X(HELP, "help", 'h', NULL, "explain the verb")

#define CTL_ENUM_BIT_(id, name, letter, arg, help) CTL_BIT_##id,
#define CTL_ENUM_OPTION_(id, name, letter, arg, help) CTL_OPT_##id = 1u << CTL_BIT_##id,
enum { CTL_OPTIONS(CTL_ENUM_BIT_) CTL_OPTIONS_COUNT };
enum ctl_option { CTL_OPTIONS(CTL_ENUM_OPTION_) };

struct ctl_args {
	unsigned options;    /* given: CTL_OPT_ */
	double delay;	     /* seconds */
	unsigned long count; /* 0: no end */
	char **words;	     /* what is not an option, as given; of argv */
	int words_count;
};

struct ctl_verb {
	const char *name;
	const char *words;   /* as usage says it */
	int min, max;	     /* how many words; max -1: any number */
	unsigned options;    /* accepted, besides HELP */
	const char *summary; /* one line */
	const char *text;    /* for --help; lines of at most 100 columns */
	int (*run)(const struct ctl_args *a);
};

extern const struct ctl_verb ctl_verbs[];
extern const size_t ctl_verbs_count;

/*
 * The arguments behind the verb (ARGC of ARGV, which is permuted). CTL_OK, or CTL_USAGE with a line
 * without a newline in ERROR.
 */
int ctl_parse(const struct ctl_verb *verb, int argc, char **argv, struct ctl_args *a, char *error,
	      size_t size);

/* NULL for no verb; *NEAREST is the verb that may be meant, or NULL. */
const struct ctl_verb *ctl_verb_find(const char *name, const char **nearest);

void ctl_help(FILE *out);
void ctl_verb_help(const struct ctl_verb *verb, FILE *out);

/* The whole program; what it returns is the exit status. */
int ctl_main(int argc, char **argv);

/* The verbs. They print, complain, and return the exit status. */
int cmd_status(const struct ctl_args *a);
int cmd_mode(const struct ctl_args *a);
int cmd_flush(const struct ctl_args *a);
int cmd_handoff(const struct ctl_args *a);
int cmd_top(const struct ctl_args *a);
int cmd_doctor(const struct ctl_args *a);
int cmd_explain(const struct ctl_args *a);
int cmd_reload(const struct ctl_args *a);
int cmd_trust(const struct ctl_args *a);
int cmd_rollback(const struct ctl_args *a);
int cmd_upgrade(const struct ctl_args *a);

#endif
