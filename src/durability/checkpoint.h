/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Checkpoints: reflinks of an image, kept in our private directory, the last two of each file. A
 * reflink at any moment is a state that the disk could have had after a power cut.
 *
 * checkpoints/ID/ (ID: file_id_text()) holds a file SECONDS.NANOSECONDS for each, with the image's
 * owner, mode and extended attributes, and `path`, the image's path under the mount when it was
 * last taken. A checkpoint has its name once it is whole and durable.
 *
 * Owner of the private directory only. Any thread, one call for one file at a time; all of it
 * blocks.
 */
#ifndef CACHEFS_DURABILITY_CHECKPOINT_H
#define CACHEFS_DURABILITY_CHECKPOINT_H

#include <time.h>

#include "durability/private_dir.h"

struct checkpoints;

/* Does the filesystem of ROOT_FD have FICLONE? 0; -EOPNOTSUPP; or why it could not be tried. */
int checkpoint_probe(int root_fd);

int checkpoints_create(struct private_dir *p, int root_fd, struct checkpoints **out);
void checkpoints_destroy(struct checkpoints *c);

struct checkpoint_info {
	struct timespec taken;
	struct timespec mtime; /* of the image then */
	uint64_t size;	 /* bytes of the image then */
	uint64_t unique; /* bytes that it alone holds, as far as the filesystem tells; UINT64_MAX */
	char name[48];
};

struct checkpoint_cost {
	uint64_t flushed_nsec; /* before the clone */
	uint64_t clone_nsec;   /* writers may have been held up as long */
	uint64_t durable_nsec; /* until it was durable */
};

/*
 * Takes one of FD (readable, without O_DIRECT): writes back until little is dirty (bounded: a
 * writer at full speed is not waited for for ever), clones, makes it durable, removes all but the
 * last two. The ones before are untouched on any error (-ENOSPC, -EROFS, -EIO...).
 */
int checkpoint_take(struct checkpoints *c, int fd, const struct file_id *id, const char *path,
		    struct checkpoint_cost *cost);

/* The newest / the one before (N 0, 1). -ENOENT. */
int checkpoint_info(struct checkpoints *c, const struct file_id *id, unsigned n,
		    struct checkpoint_info *out);

/*
 * Puts the newest in the place of NAME in DIR_FD (whose file has ID), atomically (RENAME_EXCHANGE),
 * and durably; the file that was there is kept beside it as NAME.tainted-TIME, whose name goes to
 * KEPT (NAME_MAX + 1 bytes). The checkpoint itself stays too (the place gets a clone of it); NEW_ID
 * is what is at NAME then. DRY_RUN: only checks that it could be done. -ENOENT: no checkpoint;
 * -ESTALE: NAME is not the file of ID.
 */
int checkpoint_rollback(struct checkpoints *c, const struct file_id *id, int dir_fd,
			const char *name, bool dry_run, char *kept, struct file_id *new_id);

/* All of a file / those of files that are gone. Bytes given back are the filesystem's affair. */
int checkpoint_drop(struct checkpoints *c, const struct file_id *id);
int checkpoint_collect(struct checkpoints *c);
/* Calls FN for each file that has one. */
int checkpoint_each(struct checkpoints *c,
		    void (*fn)(void *arg, const struct file_id *id, const char *path,
			       const struct checkpoint_info *newest),
		    void *arg);

#endif
