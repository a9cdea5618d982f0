/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * opstorm: the same random operations on a file under test and on a plain file, by several
 * threads, compared all the time. Three parts: opstorm.c (options, threads, reports),
 * opstorm-range.c (who may touch what at a time), opstorm-ops.c (the operations).
 *
 * Each operation holds exactly the bytes that it touches, so that its result is defined; what
 * lies next to them, in the same sector or page, is changed by other threads at the same time.
 * Whoever changes the size holds everything from the smaller of old size and offset on.
 * Operations through the page cache of the mount hold whole pages: a shared mapping and a
 * direct write to the same page at the same time are not coherent in Linux, FUSE or not.
 *
 * Offsets and lengths are in bytes.
 */
#ifndef TEST_OPSTORM_H
#define TEST_OPSTORM_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define MAX_LEN (256u << 10)
#define MAX_THREADS 16u
#define PAGE 4096u

enum side { TARGET, PLAIN, SIDES };

/* What an operation touches; decides what it must hold. */
enum touch {
	TOUCH_READ,	/* [off, off+len), with others that read */
	TOUCH_WRITE,	/* [off, off+len), may extend the file */
	TOUCH_INSIDE,	/* as TOUCH_WRITE, but never changes the size */
	TOUCH_APPEND,	/* len bytes at the end: off is set when it is known */
	TOUCH_SIZE,	/* the size becomes len */
	TOUCH_COPY,	/* TOUCH_WRITE, and [src, src+len) as TOUCH_READ; within the file */
	TOUCH_MAP_READ, /* pages of [off, off+len), cut at the end of the file */
	TOUCH_MAP_WRITE,
	TOUCH_ALL,  /* the whole file, with others that read */
	TOUCH_NONE, /* nothing that another operation could disturb */
};

struct op {
	uint64_t seq;
	int id; /* index into ops[] */
	uint64_t off, len, src;
	unsigned int thread;
	int direct;    /* through the client's O_DIRECT descriptor */
	uint64_t salt; /* what is written depends on it alone */
	long result;   /* bytes, 0, or -errno; OP_RUNNING before */
};

#define OP_RUNNING INT32_MIN

struct worker {
	unsigned int id;
	uint64_t rng;
	int fd[SIDES];	   /* O_RDWR */
	int append[SIDES]; /* O_RDWR | O_APPEND */
	int src[SIDES];	   /* the other file of copy_file_range, read only */
	int direct;	   /* target, O_DIRECT; -1 without -d */
	int mem;	   /* memfd that sendfile writes to */
	int pipe[2];
	char *buf[SIDES]; /* MAX_LEN bytes each, page aligned */
};

/* One operation. run() returns the number of bytes (0 where that means nothing), or -1 and errno.
 */
struct op_type {
	const char *name;
	unsigned int weight;
	enum touch touch;
	int reads;    /* fills buf[side]: compared */
	int mapped;   /* left out with -m */
	int tail_end; /* changes the size to the end of the range, when that is beyond it */
	ssize_t (*run)(struct worker *w, const struct op *op, enum side side);
};

extern const struct op_type ops[]; /* ends with a NULL name */

struct settings {
	uint64_t seed, n_ops, max_size;
	unsigned int threads;
	int direct; /* 0, 1: also through O_DIRECT, 2: that only with aligned requests */
	int no_map;
	const char *excluded; /* names, comma separated, or NULL */
	const char *path[SIDES];
	char *src_path[SIDES];
};

extern struct settings set; /* set by main() before threads start */

/* opstorm-range.c. All are thread safe. */

/*
 * Wait until the bytes that op touches are free, and hold them; cuts the operation to what the
 * file's size allows and puts it in the log. 0, or -1 when nothing of it is left.
 */
int range_hold(struct op *op);
/* Give them back and note the result; the size changes if the operation succeeded. */
void range_release(const struct op *op);
/* The size: stable only while it is held. */
uint64_t range_size(void);
/* Print the last operations in the log that touched offset off, oldest first. */
void range_print_log(uint64_t off);
void op_print(const struct op *op);

/* opstorm-ops.c: what op writes, its bytes [0, len). */
void op_data(const struct op *op, char *buf);

/* opstorm.c: report on stderr and end the process with status 1. */
void mismatch(const struct op *op, uint64_t off, const char *what) __attribute__((noreturn));

#endif
