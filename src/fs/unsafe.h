/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Files whose flushes are dropped (cache.no-flush=on). That data of them may be unflushed is said
 * durably in the backing directory before it can be (durability/marker.h). When the last writer of
 * a file closes it, it is flushed in the background; when nobody writes any more and all is on
 * stable storage, the marker goes.
 */
#ifndef CACHEFS_FS_UNSAFE_H
#define CACHEFS_FS_UNSAFE_H

#include <stdbool.h>

#include "cachefs.h"
#include "config/mode.h"
#include "durability/private_dir.h"
#include "fs/handle.h"

struct fs;
struct unsafe;

/*
 * Reads what an earlier mount left. Without a marker nothing is touched. -EBUSY: another mount of
 * SOURCE owns a marker. Starts a thread.
 */
int unsafe_create(struct fs *fs, struct unsafe **out);
/* The thread of one that goes on where another process was killed: when that's files are known. */
int unsafe_start(struct unsafe *u);
/*
 * Flushes what was closed, and ends the thread; nothing may be closed into it any more. Before the
 * pool ends.
 */
void unsafe_stop(struct unsafe *u);
/*
 * All is on stable storage (FLUSHED): the marker goes, unless files that are still open may be
 * written without us (STILL_USED).
 */
void unsafe_finish(struct unsafe *u, bool flushed, bool still_used);
void unsafe_destroy(struct unsafe *u);

/*
 * H, an open for writing of F in a mode that drops flushes, will be answered: durable when it
 * returns. A negative errno: the marker could not be written, and the open must fail.
 */
int unsafe_opened(struct fs *fs, struct file *f, struct handle *h);

/*
 * F will be changed by a descriptor that no client has open (FD, for writing; borrowed): as an open
 * for writing. Then, whatever came of it, unsafe_changed(), the close: FD may be taken (-1 then).
 */
struct unsafe_change {
	struct handle h; /* nobody else has it */
	struct handle_record rec;
};
int unsafe_changing(struct fs *fs, struct file *f, int fd, struct unsafe_change *c);
void unsafe_changed(struct fs *fs, struct file *f, struct unsafe_change *c, int *fd);

/* ---- after a resume ---- */

/* H, which F has, counts as it did in the process before us, or should have. Blocks where the
 * marker does not cover it. */
void unsafe_resumed(struct fs *fs, struct file *f, struct handle *h);
/* F was closed there by its last writer, and not flushed. Takes over one open of F. */
void unsafe_resumed_closed(struct fs *fs, struct file *f);
/* What was written to the marker last is durable. Blocks. */
void unsafe_resumed_marker(struct fs *fs);
/* F is open: the marker says so, unless somebody has removed it. Blocks. */
void unsafe_resumed_open(struct fs *fs, struct file *f);

/* The same before F's mode becomes one of that kind, with whatever is open for writing. */
int unsafe_begin(struct fs *fs, struct file *f, struct switches to, enum cachefs_origin origin);
/* F's mode has changed, and (FLUSHED) what was written before is on stable storage. */
void unsafe_switched(struct fs *fs, struct file *f, bool flushed);
/* H was closed; its descriptor may be taken (*FD is -1 then). */
void unsafe_closed(struct fs *fs, struct file *f, struct handle *h, int *fd);

/* 0; -EUCLEAN: the host went down with unflushed data of N, and nobody has trusted it since. */
int unsafe_check(struct fs *fs, struct node *n);
/* The file of FD (or ID), NAME, is good / all are; and nothing that failed before counts any more.
 */
int unsafe_trust(struct fs *fs, int fd, const char *name);
int unsafe_trust_id(struct fs *fs, const struct file_id *id, const char *name);
int unsafe_trust_all(struct fs *fs);
/* A file that had an error of a flush in the background was trusted. */
void unsafe_forgiven(struct fs *fs);

/* ---- names: unsafe_names.c. All of it may block ---- */

/*
 * N (NULL: not known, nothing is done) will be NAME in PARENT, besides its other names or instead
 * of one. If it, or a file below it, may have unflushed data or is tainted, the marker goes on
 * saying so under that name: durable when this returns 0. Then, whatever came of it,
 * unsafe_named(). On errors, which the log has, N must keep the names that it has.
 */
int unsafe_naming(struct fs *fs, struct node *n, struct node *parent, const char *name);
void unsafe_named(struct fs *fs, struct node *n);
/* N (or NULL) will lose a name: if it is tainted, those that nobody has seen are, too. */
int unsafe_unnaming(struct fs *fs, struct node *n);
/* The file of FD, NAME in PARENT, gets a name that nobody has told us: the same. */
int unsafe_kept(struct fs *fs, int fd, struct node *parent, const char *name);

/* Some file may be concerned, so that it is worth asking. */
bool unsafe_tainted(const struct fs *fs);

#endif
