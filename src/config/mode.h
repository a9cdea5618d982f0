/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * QEMU's cache modes: five names for combinations of three switches.
 * Pure functions over plain values; safe from any thread.
 */
#ifndef CACHEFS_CONFIG_MODE_H
#define CACHEFS_CONFIG_MODE_H

#include <stdbool.h>
#include <stddef.h>

/* The switches have QEMU's names and meaning (qemu-options: cache.direct and friends). */
struct switches {
	bool direct;	/* cache.direct: bypass the host page cache */
	bool writeback; /* cache.writeback: a write completes before it is on stable storage */
	bool no_flush;	/* cache.no-flush: flushes are accepted and dropped */
};

/* May the kernel read and write without us (FUSE passthrough, Linux 6.9)? */
enum kernel_path {
	KERNEL_PATH_AUTO,   /* where the client's own flags mean the mode, and it is fast */
	KERNEL_PATH_ALWAYS, /* wherever they can be made to mean it */
	KERNEL_PATH_NEVER
};

/*
 * One row a mode, the default first. X(name, direct, writeback, no_flush, summary).
 * Parser, manual, help and tests are made from this table.
 */
#define CACHE_MODES(X)                                                                             \
	X("writeback", false, true, false, "page cache used, flushes honoured")                    \
	X("writethrough", false, false, false, "page cache used, every write on stable storage")   \
	X("none", true, true, false, "page cache bypassed, flushes honoured")                      \
	X("directsync", true, false, false, "page cache bypassed, every write on stable storage")  \
	X("unsafe", false, true, true, "page cache used, flushes dropped")

struct cache_mode {
	const char *name;
	struct switches switches;
	const char *summary;
};

extern const struct cache_mode cache_modes[];
extern const size_t cache_modes_count;

/* 0, or -EINVAL when NAME (of LEN bytes) is no mode; *SW untouched then. */
int mode_by_name(const char *name, size_t len, struct switches *sw);

/* The mode's name, or NULL where the switches are a combination without one. */
const char *mode_name(struct switches sw);

/*
 * Text for people: the mode's name, or "cache.direct=on,cache.writeback=on,cache.no-flush=on".
 * Returns what snprintf(3) would.
 */
int mode_describe(struct switches sw, char *buf, size_t size);

/*
 * TEXT (LEN bytes) as mode_describe() gives it, or MODE[,SWITCH=on|off...], or the switches alone
 * on top of the default mode. Words are separated by commas or blanks; one NUL at the end is none
 * of them. 0, or -EINVAL for an unknown word or a contradiction; *SW untouched then.
 */
int mode_parse(const char *text, size_t len, struct switches *sw);

/* cache.writeback=off with cache.no-flush=on contradicts itself. */
bool switches_valid(struct switches sw);

/*
 * Which of two modes promises more: the larger number. Synchronous writes count for more than
 * honoured flushes, and these for more than an empty page cache.
 */
unsigned switches_strength(struct switches sw);

/* As bits: 1 cache.direct, 2 cache.writeback, 4 cache.no-flush. */
unsigned switches_pack(struct switches sw);
struct switches switches_unpack(unsigned bits);

bool switches_equal(struct switches a, struct switches b);

#endif
