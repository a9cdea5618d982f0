/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The crash marker: as long as data under cache.no-flush=on may be unflushed, the backing directory
 * says so durably, with what is concerned, the boot id and the time. So the next mount knows after
 * the host went down.
 *
 * A text file `crash-marker` in our private directory, a section a boot:
 *
 *	cachefs crash marker 1
 *	boot 3c9f...-... 2026-11-21T05:50:00Z
 *	mount                           all files, or
 *	pattern "vm/*.img"              those whose path matches, or
 *	file 1-0a1b2c... "vm/a.img"     this one
 *	seen 2026-11-21T06:10:00Z       in a section of an earlier boot: files born later are not
 *	                                concerned
 *	trusted 1-0a1b2c... "vm/a.img"  nor is this one
 *	error                           in a section of this boot: its data may be lost although the
 *	                                host did not go down
 *
 * The section of this boot comes and goes; those of other boots (and with an error) are tainted and
 * stay until somebody trusts the files or the mount.
 *
 * Any thread; all of it may block, marker_concerns() does not.
 */
#ifndef CACHEFS_DURABILITY_MARKER_H
#define CACHEFS_DURABILITY_MARKER_H

#include "durability/private_dir.h"

struct marker;
struct statx;

enum marker_kind { MARKER_MOUNT, MARKER_PATTERN, MARKER_FILE };

struct concerned {
	enum marker_kind kind;
	const char *text;  /* pattern or path under the mount; NULL for MARKER_MOUNT */
	struct file_id id; /* MARKER_FILE */
};

enum marker_found {
	MARKER_CLEAN,	  /* no marker, or nothing in it is left */
	MARKER_SAME_BOOT, /* a process died, the page cache is intact: flush, then marker_resolve()
			   */
	MARKER_TAINTED	  /* the host went down (or both) */
};

/*
 * Reads what an earlier mount left; takes ownership of nothing. BOOT_ID: NULL, or in place of
 * /proc/sys/kernel/random/boot_id (tests). Becomes the owner of the private directory where there
 * is a marker. -EBUSY: another daemon has it; -EINVAL: a marker that cannot be read (a sentence is
 * in the log): treat it as tainted in all.
 */
int marker_create(struct private_dir *p, const char *boot_id, struct marker **out,
		  enum marker_found *found);
void marker_destroy(struct marker *m);

/* The section that a dead process of this boot left: flushed without an ERROR (errno, 0), or not.
 */
int marker_resolve(struct marker *m, int error);
/* Tainted sections: from now on new files are not concerned. Once after marker_create(). */
int marker_seen(struct marker *m);

/*
 * C may have unflushed data from now on. Durable when it returns 0; costs nothing when it was said
 * before; calls of many threads at once share one write. Errors: those of private_dir_own() and
 * private_dir_write(); then nothing may be written.
 */
int marker_begin(struct marker *m, const struct concerned *c);
/* Nothing of this boot is unflushed: durable when it returns. */
int marker_end(struct marker *m);
bool marker_active(struct marker *m);

/* Is the file of ID, PATHS (as node_paths() has them, may be NULL), ST concerned by a tainted one?
 */
bool marker_concerns(struct marker *m, const struct file_id *id, const char *paths,
		     const struct statx *st);
bool marker_tainted(struct marker *m);
/* What is tainted, in words, for the log: "all files of the mount (2026-11-21T05:50:00Z)", ... */
void marker_describe(struct marker *m, char *buf, size_t size);

/* The file is as it should be / the whole mount is. Durable. */
int marker_trust_file(struct marker *m, const struct file_id *id, const char *path);
int marker_trust_all(struct marker *m);

#endif
