/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Checkpoints of files whose flushes are dropped: when they are taken, when they are given up, and
 * how a file is put back to one (durability/checkpoint.h has what they are).
 */
#ifndef CACHEFS_FS_CHECKPOINTER_H
#define CACHEFS_FS_CHECKPOINTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct checkpointer;
struct file;
struct fs;
struct fs_rollback;

/*
 * Starts a thread that takes one of each changed file every SECONDS (0: none is taken, and nothing
 * is started; what there is can still be rolled back to). After a resume nothing is tried or waited
 * for: the thread does it.
 */
int checkpointer_create(struct fs *fs, unsigned seconds, struct checkpointer **out);
/* Another interval. -EOPNOTSUPP: the backing has no reflinks; -EBUSY: another mount owns them. */
int checkpointer_set(struct checkpointer *c, unsigned seconds);
/* Takes no more; before the pool ends. */
void checkpointer_stop(struct checkpointer *c);
void checkpointer_destroy(struct checkpointer *c);

/*
 * F (open by FD) gets its first writer whose flushes are dropped: a checkpoint of another state
 * than this one would take back what was flushed since, and goes.
 */
void checkpointer_opened(struct checkpointer *c, struct file *f, int fd);
/* The same for F that was open in a process that was killed: its last checkpoint is its own. */
void checkpointer_resumed(struct checkpointer *c, struct file *f);
/* The calling thread is about to change LEN bytes of F from OFF: durability/checkpoint_ranges.h */
void checkpointer_changing(struct file *f, uint64_t off, uint64_t len);
/* F, open by FD, was flushed after its last close: its last checkpoint is this state, if it has
 * any. */
void checkpointer_closed(struct checkpointer *c, struct file *f, int fd);
/* A write to F had no space: gives its checkpoints up. True: trying again may help. */
bool checkpointer_no_space(struct checkpointer *c, struct file *f);

/*
 * Puts NAME in DIR_FD (readable), whose file is FD (any descriptor), back; closed by all. As
 * checkpoint_rollback(); -ENOENT: it has no checkpoint.
 */
int checkpointer_rollback(struct checkpointer *c, int dir_fd, const char *name, int fd,
			  bool dry_run, struct fs_rollback *out);
/* FD is what another worker has put back there, whose answer is given again. */
int checkpointer_rolled_back(struct checkpointer *c, int dir_fd, int fd, struct fs_rollback *out);
/* All files of which CONCERNED(ARG, file, path) says so; how many, logged one by one. */
unsigned checkpointer_rollback_all(
    struct checkpointer *c, bool (*concerned)(void *arg, int fd, const char *path),
    void (*done)(void *arg, const char *path, int err, const struct fs_rollback *r), void *arg);
/* Seconds since F's newest one was taken by us, or -1. */
int64_t checkpointer_age(const struct file *f);

#endif
