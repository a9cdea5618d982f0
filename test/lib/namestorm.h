/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * namestorm: random operations on names by several threads, each result compared with a model in
 * memory: exactly once, as a client sees it. Parts: namestorm.c (options, threads, reports),
 * namestorm-model.c (what there should be), namestorm-names.c and namestorm-files.c (the
 * operations), namestorm-shared.c (names that the threads fight for), namestorm-compare.c (what
 * there is).
 *
 * Every inode belongs to one thread: its directory tN, whatever it makes below it, and the names
 * tN.* in the directory that all share. So a thread knows what each of its system calls must give,
 * whatever the others do. What a thread owns, only that thread touches, until all have ended.
 *
 * Sizes and offsets are in bytes, times in seconds of CLOCK_REALTIME.
 */
#ifndef TEST_NAMESTORM_H
#define TEST_NAMESTORM_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define MAX_THREADS 16u
#define NAMES 10u	     /* of each directory: n0 to n9 */
#define MAX_DIRS 8u	     /* of each thread, besides its own and the shared one */
#define MAX_SIZE (24u << 10) /* of a file */
#define XATTRS 3u
#define VALUE_LEN 120u
#define HANDLES 12u
#define DIR_HANDLES 3u
#define PATH_LEN 512u
#define HISTORY 4096u /* operations that a thread remembers */
#define LINE_LEN 200u

#define SHARED "shared"
#define APPENDED SHARED "/log"
#define TOKENS 4u

enum kind { KIND_FILE, KIND_DIR, KIND_SYMLINK, KIND_FIFO };

struct inode {
	uint64_t id; /* as #ID in the history */
	enum kind kind;
	unsigned int nlink; /* names; of a directory 1, or 0 when it was removed */
	unsigned int opens;
	mode_t mode;   /* without the type */
	ino_t ino;     /* as it was first seen; never changes */
	bool linkable; /* of O_TMPFILE, has never had a name */
	const struct handle *locker;
	char xattr[XATTRS][VALUE_LEN]; /* "": none */
	unsigned char *data;	       /* KIND_FILE: MAX_SIZE bytes, zeros beyond size */
	size_t size;
	char target[32]; /* KIND_SYMLINK */
	/* KIND_DIR: */
	const char *prefix;   /* of its names */
	char top[16];	      /* its path, when it has no parent */
	struct inode *parent; /* and there */
	unsigned int slot;
	struct inode *entry[NAMES];
};

/* An open file, perhaps without a name. */
struct handle {
	struct inode *inode; /* NULL: not in use */
	int fd;
	bool append, reads, writes;
};

struct history {
	double start, end; /* end 0: not over */
	char text[LINE_LEN];
};

struct worker {
	unsigned int id;
	uint64_t rng, serial;
	char prefix[16]; /* of its names in the shared directory */
	struct inode *own, *shared;
	struct inode *dirs[MAX_DIRS + 2]; /* all of its directories that have a name */
	unsigned int n_dirs;
	struct handle handles[HANDLES];
	struct handle dir_handles[DIR_HANDLES];
	unsigned char *buf; /* MAX_SIZE bytes and some */
	int log_fd;	    /* of APPENDED */
	uint64_t appended;  /* records */
	int holds;	    /* token, or -1 */
	struct history history[HISTORY];
	atomic_uint_fast64_t n_ops; /* that began */
};

/* A name in a directory of the model, and how to reach it. */
struct place {
	struct inode *dir;
	unsigned int slot;
	struct inode *inode; /* that has the name, or NULL */
	int at;		     /* for the *at system calls, with path */
	char path[PATH_LEN];
};

struct op_type {
	const char *name;
	unsigned int weight;
	/* False: nothing here to do it with. */
	bool (*run)(struct worker *w);
};

extern const struct op_type name_ops[], file_ops[], shared_ops[]; /* end with a NULL name */

struct settings {
	uint64_t seed, n_ops; /* n_ops of all threads; 0: no limit */
	double seconds;	      /* 0: no limit */
	double hang;	      /* longer than this takes no operation */
	unsigned int threads;
	const char *root, *back; /* back: of the same directory in the backing, or NULL */
	int root_fd;
	bool dir_nlink;		       /* a directory's link count tells its subdirectories */
	bool tmpfile, exchange, locks; /* are there */
};

extern struct settings set; /* main() writes it before the threads start */

/* ---- namestorm.c ---- */

uint64_t rnd(struct worker *w, uint64_t below);
/* Begin an operation in the history; a thread does one at a time. */
void say(struct worker *w, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The operation has ended with ret, a system call's, and errno; want: the errno that the model has
 * for it, 0: success. Ends the program when they differ. The same errno, or 0. */
int expect(struct worker *w, long ret, int want);
/* Reports a difference with the history of what the operation touches, and ends the program. */
void wrong(struct worker *w, const char *format, ...)
    __attribute__((format(printf, 2, 3), noreturn));
/* Something that has nothing to do with the mount; the same without a history. */
void die(const char *what, const char *path) __attribute__((noreturn));

/* ---- namestorm-model.c ---- */

struct inode *inode_new(struct worker *w, enum kind kind, mode_t mode);
/* Frees an inode that has neither a name nor a handle. */
void inode_put(struct worker *w, struct inode *inode);
void entry_set(struct worker *w, const struct place *p, struct inode *inode);
void entry_clear(struct worker *w, const struct place *p);
void entry_name(const struct inode *dir, unsigned int slot, char *name, size_t len);
/* Relative to the root; "" for a directory that was removed. */
void dir_path(const struct inode *dir, char *path, size_t len);
unsigned int dir_count(const struct inode *dir, bool only_dirs);
bool is_below(const struct inode *dir, const struct inode *ancestor); /* or the same */
/* A random name; rather one that exists, one that does not, or of that kind. */
enum wish { WISH_ANY, WISH_PRESENT, WISH_ABSENT, WISH_FILE, WISH_DIR };
void pick_place(struct worker *w, struct place *p, enum wish wish);
/* linkat(2), tried for ten seconds where a file that is NAMED is said to have no name. */
int link_patiently(int at, const char *path, int flags, const struct place *to, bool named);
struct handle *pick_handle(struct worker *w, bool writes); /* or NULL */
struct handle *handle_new(struct worker *w, struct inode *inode, int fd, int flags);
void handle_close(struct worker *w, struct handle *h);

/* ---- namestorm-compare.c: each ends the program at a difference ---- */

/* Attributes of inode; at, path as for fstatat(2), path "" means at itself. */
void compare_stat(struct worker *w, struct inode *inode, int at, const char *path);
void compare_data(struct worker *w, struct inode *inode, int fd);
void compare_xattrs(struct worker *w, const struct inode *inode, const char *path);
/* The names of a directory, by a descriptor of it; others may have theirs in the shared one. */
void compare_names(struct worker *w, const struct inode *dir, int fd);
/* All that a worker has, below root, which is the mount or the backing directory. */
void compare_all(struct worker *w, const char *root);

/* ---- namestorm-shared.c ---- */

void shared_start(struct worker *w);
/* When all threads have ended: the log has all records once, no token is left. */
void shared_check(struct worker *workers, const char *root);
bool shared_has_name(const char *name); /* one that belongs to all threads */

#endif
