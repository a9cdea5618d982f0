/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The cachefs mounts that this process sees: /proc/self/mountinfo (proc(5)). */
#ifndef CACHEFS_CTL_MOUNTS_H
#define CACHEFS_CTL_MOUNTS_H

#include <stddef.h>
#include <sys/types.h>

struct mount_entry {
	dev_t dev;
	char *root;   /* of the filesystem, what is mounted: "/" but for bind mounts */
	char *point;  /* where */
	char *source; /* the backing directory */
};

struct mounts {
	struct mount_entry *entries; /* in the order of mounting */
	size_t count;
};

/* TEXT as of mountinfo; lines of other types, and what cannot be read, are passed over. */
void mounts_parse(const char *text, struct mounts *out);
/* 0, or a negative errno. */
int mounts_read(struct mounts *out);
void mounts_free(struct mounts *m);

/*
 * PATH (absolute, without symbolic links) on the filesystem DEV: the mount that it lies on, the
 * innermost one, and in *BELOW its path under the filesystem's root, without a slash in front, to
 * be freed. NULL where there is none.
 */
const struct mount_entry *mounts_find(const struct mounts *m, dev_t dev, const char *path,
				      char **below);

/* The mount of all of filesystem DEV, or NULL where only parts are mounted here. */
const struct mount_entry *mounts_whole(const struct mounts *m, dev_t dev);

/*
 * What is left of PATH below DIRECTORY, without a slash in front ("" for itself), or NULL. Both
 * absolute.
 */
const char *path_below(const char *path, const char *directory);

#endif
