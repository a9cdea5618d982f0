/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The hidden directory of the mount's root, with the reports of include/cachefs.h.
 *
 * Its files are no nodes. Their ids have 0 for an index, which the arena never gives, so
 * node_get() knows none of them: who got NULL from it asks here. The kernel's lookups of them need
 * no count. What an open reads is made at the open, and held by the handle. (Pages that the kernel
 * caches for sendfile and mappings are those of an inode, of the last open: with two readers at
 * once read(2) is right, these may not be.)
 */
#ifndef CACHEFS_FS_REPORT_H
#define CACHEFS_FS_REPORT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "fs/fs.h"

struct handle;

enum report_kind { REPORT_DIR, REPORT_STATUS, REPORT_METRICS, REPORT_KINDS };

/* In struct fs. */
struct reports {
	struct timespec since;
	uid_t owner;
	atomic_size_t sizes[REPORT_KINDS]; /* of the last one made, bytes */
};

/* A report as it was when HANDLE was opened. */
struct report {
	enum report_kind kind;
	size_t len;
	char *text; /* owned; NULL: the directory */
};

void reports_init(struct fs *fs);
void report_free(struct report *r);

/* The error of what cannot be done with ID, which is no node: ERR where it is ours, else -ESTALE.
 */
int report_or_stale(uint64_t id, int err);

/* The directory itself, as an entry of the root. */
void report_dir_entry(struct fs *fs, struct fs_entry *e);
/* -ESTALE: ID is none of ours. */
int report_lookup(struct fs *fs, uint64_t id, const char *name, struct fs_entry *e);
/* FH: a report's, whose size counts then, or another value. */
int report_getattr(struct fs *fs, uint64_t id, uint64_t fh, struct statx *st);
/* Makes the report. -EACCES: not for reading alone. */
int report_open(struct fs *fs, uint64_t id, int flags, const struct fs_caller *c,
		struct fs_opened *o);
int report_opendir(struct fs *fs, uint64_t id, uint64_t *fh);
int report_readdir(struct fs *fs, const struct handle *h, uint64_t off, bool plus,
		   bool (*emit)(void *arg, const struct fs_dirent *d), void *arg);

/* For handle_rebuild.c: the report of H, whose record is that of one. 0 or a negative errno. */
int report_rebuild(struct handle *h);

/* For a handle that has no file. -EBADF: it has no report either. Neither blocks. */
void report_read(struct fs_io *io, const struct handle *h);
int64_t report_lseek(const struct handle *h, int64_t off, int whence);

#endif
