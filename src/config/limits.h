/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How much unflushed data a file may have, and how old: of the mount, or of a rule. And the text of
 * sizes and seconds. Pure functions; safe from any thread.
 */
#ifndef CACHEFS_CONFIG_LIMITS_H
#define CACHEFS_CONFIG_LIMITS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* X(id, field, name of the option) */
#define BUDGET_LIMITS(X)                                                                           \
	X(DIRTY_LIMIT, dirty_limit, "dirty-limit")                                                 \
	X(DIRTY_MAX, dirty_max, "dirty-max")                                                       \
	X(DIRTY_AGE, dirty_age, "dirty-age")

/* 0: none. */
struct budget_limits {
	uint64_t dirty_limit; /* bytes; more than that: write-back starts */
	uint64_t dirty_max;   /* bytes; writers wait until there are less */
	double dirty_age;     /* seconds; older than that: write-back starts */
};

/* LIMIT_DIRTY_LIMIT, ...: bits for which of them were given. */
#define LIMIT_BIT_(id, field, name) LIMIT_BIT_##id,
enum limit_bit { BUDGET_LIMITS(LIMIT_BIT_) };
#undef LIMIT_BIT_
#define LIMIT_MASK_(id, field, name) LIMIT_##id = 1 << LIMIT_BIT_##id,
enum limit_mask { BUDGET_LIMITS(LIMIT_MASK_) };
#undef LIMIT_MASK_

/* Is any of them not 0? */
bool limits_any(const struct budget_limits *l);
bool limits_equal(const struct budget_limits *a, const struct budget_limits *b);
/* False: both sizes are given, and writers would wait before write-back starts. */
bool limits_valid(const struct budget_limits *l);
/* What is GIVEN (of enum limit_mask) in FROM replaces that in TO. */
void limits_replace(struct budget_limits *to, const struct budget_limits *from, unsigned given);
/* TO becomes the smaller one of each, where 0 is the largest. */
void limits_strictest(struct budget_limits *to, const struct budget_limits *other);

/* At most what a file can be long, in whole KiB. */
#define SIZE_MOST (UINT64_MAX / 2 & ~UINT64_C(1023))

/* "4096", "64K", "2M", "1G", "1T" (powers of 1024, either case), LEN bytes, to at most SIZE_MOST.
 * *SIZE changes on success only. */
bool size_parse(const char *text, size_t len, uint64_t *size);
/* What size_parse() reads as SIZE, the shortest; "0" for 0. */
struct size_text {
	char text[24];
};
const char *size_render(uint64_t size, struct size_text *out);

/* Decimal digits only, at least one; MOST limits the value. *END, at most TEXT + LEN, is behind
 * them. */
bool digits_parse(const char *text, size_t len, uint64_t most, uint64_t *value, const char **end);

#define SECONDS_MOST UINT64_C(1000000000)
#define NANOSECONDS UINT64_C(1000000000)
/* ".5", "5.", "0.5", to the nanosecond, at most SECONDS_MOST. */
bool seconds_parse(const char *text, size_t len, uint64_t *nanoseconds);

#endif
