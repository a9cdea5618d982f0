/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which of the cachefs mounts a path lies on. */
#ifndef CACHEFS_CTL_MOUNTS_H
#define CACHEFS_CTL_MOUNTS_H

#include "base/mountinfo.h"

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
