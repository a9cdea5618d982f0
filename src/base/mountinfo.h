/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The cachefs mounts that this process sees: /proc/self/mountinfo (proc(5)). */
#ifndef CACHEFS_BASE_MOUNTINFO_H
#define CACHEFS_BASE_MOUNTINFO_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct mount_entry {
	uint64_t id; /* of the mount, while it is there: STATX_MNT_ID of statx(2) */
	dev_t dev;
	char *root;   /* of the filesystem, what is mounted: "/" but for bind mounts */
	char *point;  /* where */
	char *source; /* the backing directory */
};

struct mounts {
	struct mount_entry *entries; /* in the order of mounting */
	size_t count;
};

/*
 * TEXT as of mountinfo; lines of other types, and what cannot be read, are passed over. 0 or
 * -ENOMEM, and then there is nothing to free.
 */
int mounts_parse(const char *text, struct mounts *out);
/* 0, or a negative errno. */
int mounts_read(struct mounts *out);
void mounts_free(struct mounts *m);
/* One that was taken out of a list. */
void mount_entry_free(struct mount_entry *e);

#endif
