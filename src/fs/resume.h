/* SPDX-License-Identifier: GPL-2.0-or-later */
/* For fs_create() after a resume, when nodes and handles are there; in this order. */
#ifndef CACHEFS_FS_RESUME_H
#define CACHEFS_FS_RESUME_H

#include <stdbool.h>

struct fs;
struct node;
struct sync_attr_kept;

/*
 * For sync_attr_create(): which files keep the attribute that the dead process has set; to be
 * freed. The records of the others say that they have none. 0 or -ENOMEM.
 */
int resume_attrs(struct fs *fs, struct sync_attr_kept *kept);
/*
 * N has no handle (any more): what is owed to it is done in the background, with an open file that
 * has its backing id; false: nothing is.
 */
bool resume_closed(struct fs *fs, struct node *n);
/* All that is left: threads start, and what may block begins. 0 or a negative errno. */
int fs_resume(struct fs *fs);

#endif
