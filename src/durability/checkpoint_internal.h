/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the parts of checkpoint.h share. Errors are negative errno values. */
#ifndef CACHEFS_DURABILITY_CHECKPOINT_INTERNAL_H
#define CACHEFS_DURABILITY_CHECKPOINT_INTERNAL_H

#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>

#include "durability/checkpoint.h"

/* In the private directory; in it a directory for each file, named file_id_text(). */
#define CHECKPOINTS "checkpoints"
/* In the directory of a file, beside the checkpoints. */
#define CHECKPOINT_PATH "path"
#define CHECKPOINT_UNFINISHED "unfinished" /* a clone that has no name yet */
#define CHECKPOINT_ROLLBACK "rollback"	   /* the record of a rollback that is under way */
#define CHECKPOINTS_KEPT 2

struct claim {
	const struct file_id *id;
	struct claim *next;
};

struct checkpoints {
	struct private_dir *dir;
	int root_fd;
	pthread_mutex_t lock; /* claims; held across no system call */
	struct claim *claims;
};

/* One at a time changes what is kept of a file. False: somebody else has it. CLAIM is ours. */
bool checkpoint_claim(struct checkpoints *c, struct claim *claim, const struct file_id *id);
void checkpoint_release(struct checkpoints *c, struct claim *claim);

/* The directory of all, or of one file (in TOP, which CREATE makes). -ENOENT. */
int checkpoint_top(struct checkpoints *c);
int checkpoint_dir(int top, const struct file_id *id, bool create);

/* The newest and the one before, in TAKEN; returns how many there are (0 to 2), or an error. */
int checkpoint_newest(int dir, struct timespec taken[CHECKPOINTS_KEPT]);
void checkpoint_name(struct timespec taken, char name[48]);
/* Removes all but the newest KEEP (0 to 2). */
int checkpoint_prune(int dir, int keep);
/* Removes the directory of one file and what is in it, durably. */
int checkpoint_remove(int top, const struct file_id *id);

/* A file of text in the directory of one file: replaced atomically and durably; read whole. */
int checkpoint_write(int dir, const char *name, const char *text);
int checkpoint_read(int dir, const char *name, char *text, size_t size);

/* Calls FN for each name in DIR that is not "." or ".."; what it returns other than 0 ends it. */
int checkpoint_names(int dir, int (*fn)(void *arg, int dir, const char *name), void *arg);

/* Writes back until little is dirty. Bounded; only errors of write-back count. */
int checkpoint_write_back(int fd);
/* Has write-back of FD's file failed since FD last said so? 0 or the error. */
int checkpoint_write_error(int fd);

struct checkpoint_gate;

/*
 * Makes TO (empty, writable) a clone of FROM with the attributes of LIKE (readable): owner, mode,
 * extended attributes, the inode flags that cloning needs; times are FROM's. CLONE_NSEC, if not
 * NULL: how long the clone alone took. With a GATE: in ranges.
 */
int checkpoint_clone(int to, int from, int like, struct checkpoint_gate *gate,
		     uint64_t *clone_nsec);

/*
 * The same for the data alone, in ranges, with a gate for those who write meanwhile. LONGEST_NSEC:
 * the longest clone of a range.
 */
int checkpoint_gate_clone(struct checkpoint_gate *g, int to, int from, uint64_t *longest_nsec);

/* Finishes, or undoes, a rollback of ID's file that was interrupted. DIR_FD: where the file is. */
int checkpoint_recover(int top, const struct file_id *id, int dir_fd);

/* File FD is open on is what ID says. */
bool checkpoint_is(int fd, const struct file_id *id);

#endif
