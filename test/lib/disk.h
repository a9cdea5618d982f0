/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * disk: a disk with a volatile write cache, for tests.
 *
 * A small FUSE filesystem of three files: `disk` (the backing of a loop device with direct I/O),
 * `control` (commands, one a line) and `stats` (one `name value` a line). What a loop device makes
 * of block requests, measured on Linux 6.18: it advertises a volatile write cache and no FUA, so
 * the block layer turns a FUA write into the write and a flush; a flush is FUSE_FSYNC; discard and
 * write-zeroes are FUSE_FALLOCATE. FUA proper is reached by an O_DSYNC write to `disk` itself.
 *
 * Layers: disk.c (FUSE, options) -> disk-control.c (commands, stats) -> disk-gate.c (freeze, delay)
 * -> disk-rules.c (which request is delayed or fails), disk-store.c (the cache), disk-cut.c (power
 * cut). Lock order: gate, then rules or store; the last two are never held together.
 *
 * Every function that returns int gives 0 or a negative errno. Offsets, lengths: bytes, unless
 * the name says sectors. Every function may be called from any thread unless it says otherwise.
 */
#ifndef DISK_H
#define DISK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DISK_SECTOR 512u

/* ---- requests (disk-gate.c executes them) ---- */

enum disk_op { DISK_READ, DISK_WRITE, DISK_FLUSH, DISK_DISCARD, DISK_OPS };

struct disk_request {
	enum disk_op op;
	uint64_t offset;
	uint64_t length;
	bool fua; /* DISK_WRITE: stable when it completes, no other write is */
	const void
	    *data; /* DISK_WRITE: borrowed for the call; the gate copies it if it must wait */
	/*
	 * Called exactly once, from any thread, perhaps before gate_submit() returns. data is the
	 * result of a read (length bytes, valid during the call), else NULL. error: positive errno.
	 */
	void (*reply)(void *cookie, int error, const void *data, uint64_t length);
	void *cookie;
};

/* ---- disk-rules.c: which requests are delayed or fail ---- */

struct disk_rule {
	bool ops[DISK_OPS];
	uint64_t first, last; /* bytes, inclusive; a flush has no range and matches only if whole */
	bool ranged;
	uint64_t nth;	   /* skip nth - 1 matching requests first; at least 1 */
	uint64_t count;	   /* then apply to so many; UINT64_MAX: all */
	unsigned delay_ms; /* 0: no delay */
	int error;	   /* positive errno; 0: does not fail */
};

struct rules;
struct rules *rules_new(void);
void rules_free(struct rules *rules);
int rules_add(struct rules *rules, const struct disk_rule *rule);
void rules_clear(struct rules *rules);
unsigned rules_count(struct rules *rules);
/* Counts the request against each rule. The longest delay wins, and the first error. */
void rules_match(struct rules *rules, const struct disk_request *req, unsigned *delay_ms,
		 int *error);

/* ---- disk-store.c, disk-cut.c: what is cached and what is stable ---- */

struct store_stats {
	uint64_t size, cache_size;
	uint64_t cached_bytes, cached_writes; /* acknowledged and not stable */
	uint64_t destaged_writes;	      /* made stable for want of cache, not by a flush */
	uint64_t flushed_bytes;		      /* made stable by flushes */
};

struct store;
/*
 * size: a positive multiple of DISK_SECTOR. cache_size: of unflushed data; when it is full, cached
 * writes in random order become stable, as in a real disk; 0: every write is stable at once.
 * backing: a file for the stable data (created, or opened and set to size), NULL: memory.
 */
int store_new(struct store **store, uint64_t size, uint64_t cache_size, const char *backing);
void store_free(struct store *store); /* unflushed writes are lost; no other call may be running */
uint64_t store_size(const struct store *store);
/* Any alignment, inside the disk. */
int store_read(struct store *store, void *buf, uint64_t offset, uint64_t length);
/* Multiples of DISK_SECTOR inside the disk, or -EINVAL. data NULL: zeroes (a discard). */
int store_write(struct store *store, const void *data, uint64_t offset, uint64_t length, bool fua);
/* Makes stable what was written before; on error the rest stays cached. */
int store_flush(struct store *store);
void store_get_stats(struct store *store, struct store_stats *stats);

struct cut_result {
	uint64_t seed;
	uint64_t kept, torn, lost; /* unflushed writes: whole, in part, not at all */
};

/*
 * Writes to the file path what a power cut now would leave: what is stable, and of the unflushed
 * writes a random subset, some torn between sectors. keep: 0..100, the chance of a write (of a
 * sector, for a torn one) to survive; 0: none does, 100: all do. Same seed and same history, same
 * image. The disk goes on unchanged. path must not lie on a filesystem on this disk (deadlock).
 */
int store_cut(struct store *store, const char *path, uint64_t seed, unsigned keep,
	      struct cut_result *result);

/* ---- disk-gate.c: freezing, delaying, executing, counting ---- */

struct gate_stats {
	uint64_t requests[DISK_OPS], bytes[DISK_OPS]; /* received */
	uint64_t fua_writes, delayed, failed;	      /* failed: by a rule or really */
	uint64_t waiting;			      /* now, for the end of a delay or a thaw */
	bool frozen;
};

struct gate;
/* Borrows rules and store. Starts one thread. */
int gate_new(struct gate **gate, struct rules *rules, struct store *store);
/* Requests still waiting are answered with EIO, so that nobody waits for a disk that is gone. */
void gate_free(struct gate *gate);
void gate_submit(struct gate *gate, const struct disk_request *req);
/* When it returns no request is executing, and none will be executed or answered until a thaw. */
void gate_freeze(struct gate *gate);
void gate_thaw(struct gate *gate);
void gate_get_stats(struct gate *gate, struct gate_stats *stats);
void gate_reset_stats(struct gate *gate);

/* ---- disk-control.c: the files `control` and `stats` ---- */

struct control;
int control_new(struct control **control, struct rules *rules, struct store *store,
		struct gate *gate);
void control_free(struct control *control);
/* Executes each line of text; stops at the first bad one: -EINVAL, or the command's own error. */
int control_execute(struct control *control, const char *text, size_t length);
/* A number with an optional k, M, G or T (powers of 1024); false: it is none, or too big. */
bool control_parse_size(const char *text, uint64_t *value);
/* The text of `stats`, for the caller to free(); NULL: out of memory. */
char *control_stats(struct control *control);

#endif
