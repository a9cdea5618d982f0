/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Checkpoints: reflinks of an image, kept in our private directory, the last two of each file. A
 * reflink at any moment is a state that the disk could have had after a power cut.
 *
 * checkpoints/ID/ (ID: file_id_text()) holds a file SECONDS.NANOSECONDS for each, with the image's
 * owner, mode and extended attributes, and `path`, the image's path under the mount when it was
 * last taken. A checkpoint has its name once it is whole and durable.
 *
 * Owner of the private directory only. Any thread; of two that change what is kept of one file at
 * a time, the later gets -EBUSY (checkpoint_collect() leaves that file out). All of it blocks.
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
	uint64_t size;	       /* bytes of the image then */
	/* Bytes that it alone holds, by the filesystem's extents (btrfs: in whole ones only), or
	 * UINT64_MAX: too many to look at, or checkpoint_each(), which does not look. */
	uint64_t unique;
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
 * last two. The ones before are untouched on any error (-ENOSPC, -EROFS, -EIO...). FD is opened for
 * this: a failed write-back since then is -EIO, and is not reported on FD again (the caller
 * latches it). One that somebody saw before FD was opened is not seen here: a file with a latched
 * error must not be taken. -ENOENT: the file has no name any more; -EINVAL: no regular file;
 * -EOPNOTSUPP: no file handles here. COST may be NULL.
 */
int checkpoint_take(struct checkpoints *c, int fd, const struct file_id *id, const char *path,
		    struct checkpoint_cost *cost);

/* The newest / the one before (N 0, 1). -ENOENT. */
int checkpoint_info(struct checkpoints *c, const struct file_id *id, unsigned n,
		    struct checkpoint_info *out);

/* The newest, without `unique`, which takes a look at each extent. */
int checkpoint_peek(struct checkpoints *c, const struct file_id *id, struct checkpoint_info *out);

/*
 * Puts the newest in the place of NAME in DIR_FD (any descriptor of it; NAME's file has ID),
 * atomically (RENAME_EXCHANGE), and durably; the file that was there is kept beside it as
 * NAME.tainted-YYYYMMDDTHHMMSSZ (-1, -2... where that is taken), whose name goes to KEPT (NAME_MAX
 * + 1 bytes). The place gets a clone with the attributes that the image has now, since a later
 * chmod(1) must hold, and the time of the checkpoint. The checkpoints stay, and are those of NEW_ID
 * then, which is what is at NAME. DRY_RUN: only checks that it could be done; NEW_ID is ID.
 * -ENOENT: no checkpoint; -ESTALE: NAME is not the file of ID, or no regular one; -EMLINK: it has
 * other links, which would go on leading to the tainted file: the owner removes or renames them
 * first. A crash leaves either file at NAME; checkpoint_collect() or the next call tidies up.
 */
int checkpoint_rollback(struct checkpoints *c, const struct file_id *id, int dir_fd,
			const char *name, bool dry_run, char *kept, struct file_id *new_id);

/* All of a file. 0 where there is none. */
int checkpoint_drop(struct checkpoints *c, const struct file_id *id);
/*
 * Those of files that are gone (without CAP_DAC_READ_SEARCH nobody knows: none), and what crashes
 * have left. Once at the start, before the others, since a rollback may be under way. The first
 * error of several; the others are looked at all the same.
 */
int checkpoint_collect(struct checkpoints *c);
/* Calls FN for each file that has one, with its path when it was last taken. */
int checkpoint_each(struct checkpoints *c,
		    void (*fn)(void *arg, const struct file_id *id, const char *path,
			       const struct checkpoint_info *newest),
		    void *arg);

#endif
