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
 *	pattern "*.img"                 those whose path matches, and
 *	file 1-0a1b2c... "vm/a.img"     this one
 *	seen 2026-11-21T06:10:00Z       in a tainted section: files born later are not concerned
 *	trusted 1-0a1b2c... "vm/a.img"  nor is this one
 *	error                           in a section of this boot: its data may be lost although the
 *	                                host did not go down
 *	end                             the last line; a text without it was cut off
 *
 * Patterns and paths are quoted as in C: a backslash in front of quote and backslash, \n, and three
 * octal digits for other control bytes. A file is known by its handle (so by any name), by its path
 * only where the backing has no handles. More than MARKER_FILES_MAX files or patterns in a section,
 *or 1 MiB of its text, become a pattern "**"; more than 16 tainted sections become one that says
 *"mount".
 *
 * The section of this boot comes and goes; those of other boots (and with an error) are tainted and
 * stay until somebody trusts the files or the mount. A text that we did not write, or that cannot
 * be read, counts as a tainted section that says "mount", and is replaced by it.
 *
 * Any thread; all of it may block, marker_concerns() and the questions about a state do not. What
 * changes the marker returns when the change is durable, and has not changed it on errors:
 * those of private_dir_own() and private_dir_write(), -ENOMEM; the first of a kind is logged. One
 * change is written at a time, together with all that came while the one before was written. Only
 * the first one that needs another daemon's directory waits for it (5 s, -EBUSY).
 */
#ifndef CACHEFS_DURABILITY_MARKER_H
#define CACHEFS_DURABILITY_MARKER_H

#include "durability/private_dir.h"

#define MARKER_FILES_MAX 1000

struct marker;
struct statx;

enum marker_kind { MARKER_MOUNT, MARKER_PATTERN, MARKER_FILE };

struct concerned {
	enum marker_kind kind;
	const char *text;  /* pattern or path under the mount; NULL for MARKER_MOUNT */
	struct file_id id; /* MARKER_FILE; len 0: known by its path */
};

enum marker_found {
	MARKER_CLEAN,	  /* no marker, or nothing in it is left */
	MARKER_SAME_BOOT, /* a process died, the page cache is intact: flush, then marker_resolve()
			   */
	MARKER_TAINTED	  /* the host went down; also flush and marker_resolve(), it may be both */
};

/*
 * Reads what an earlier mount left. BOOT_ID: NULL, or in place of
 * /proc/sys/kernel/random/boot_id (tests): letters, digits, dashes, 63 at most, else -EINVAL.
 * Becomes the owner of the private directory where there is a marker, else with the first change,
 * until marker_destroy(). On a read-only backing it is only read; changes fail with -EROFS.
 * -EBUSY: files are tainted, and another daemon has the marker; -EPERM, -ENOTDIR: see
 * private_dir.h.
 */
int marker_create(struct private_dir *p, const char *boot_id, struct marker **out,
		  enum marker_found *found);
/* Leaves what is written as it is. NULL does nothing. */
void marker_destroy(struct marker *m);

/*
 * The section that a dead process of this boot left: flushed without an ERROR (errno, 0), or not.
 * Does nothing where there is none. Once after marker_create().
 */
int marker_resolve(struct marker *m, int error);
/*
 * Instead of it, when we go on where that process was killed, with its files open: its section is
 * ours. What it covers need not be written again, but the last change of it may not be durable yet:
 * marker_confirm() makes it so; until then marker_begin() does, as if nothing was covered. The
 * first does not block. 0 or -ENOMEM.
 */
int marker_adopt(struct marker *m);
int marker_confirm(struct marker *m);
/* Tainted sections: from now on new files are not concerned. Once after marker_resolve(). */
int marker_seen(struct marker *m);

/*
 * C may have unflushed data from now on. Durable when it returns 0; makes no system call when it
 * was said before. On errors nothing may be written; -EINVAL: no such pattern. Count the file as
 * open for writing before the call, so that who then finds none knows that none is on its way here.
 */
int marker_begin(struct marker *m, const struct concerned *c);
/*
 * Nothing of this boot is unflushed. While it can be that somebody begins, first take the number of
 * calls of marker_begin() so far, then see that nobody has a file open for writing, flush, and end
 * with this number: -EAGAIN, and nothing has changed, when there was one since.
 */
uint64_t marker_begun(struct marker *m);
int marker_end_since(struct marker *m, uint64_t begun);
/* The same when nobody begins. */
int marker_end(struct marker *m);
/* Does the marker say, durably, that data of ours may be unflushed? */
bool marker_active(struct marker *m);
/*
 * In part what processes before us said, until it ends: which files may have unflushed data is
 * known from nothing else.
 */
bool marker_inherited(struct marker *m);

/* ---- marker_names.c: names change. PATHS: as node_paths() has them ---- */

/*
 * The file of ID, which may have unflushed data, will be at PATH, besides its other names or
 * instead of one. As marker_begin(), where neither its id nor a pattern of PATH says it already.
 * After many of these, all files in the directory of PATH are said at once.
 */
int marker_begin_name(struct marker *m, const struct file_id *id, const char *path);
/*
 * The directory FROM will be TO, and files below it may have unflushed data: all below TO may,
 * where a pattern would not match there any more. Not for a file whose marker_begin() has not
 * returned.
 */
int marker_begin_below(struct marker *m, const char *from, const char *to);
/* Does the section of this boot say it of the file of ID and PATHS (any of them)? Does not block.
 */
bool marker_names(struct marker *m, const struct file_id *id, const char *paths);
/*
 * The file of ID, PATHS and ST will be at NEWPATH, or (NULL) has one name less: tainted sections
 * that concern it still do. The same for the files of a directory.
 */
int marker_keep(struct marker *m, const struct file_id *id, const char *paths,
		const struct statx *st, const char *newpath);
int marker_keep_below(struct marker *m, const char *from, const char *to);
/*
 * The flush of C failed, its data may be lost: it is tainted from now on, on this boot too, whoever
 * trusted it before. Files born later are not concerned. The section of this boot stays as well.
 */
int marker_error(struct marker *m, const struct concerned *c);

/*
 * Is the file of ID, PATHS (as node_paths() has them, may be NULL: not known), ST (its btime)
 * concerned by a tainted section? In doubt it is.
 */
bool marker_concerns(struct marker *m, const struct file_id *id, const char *paths,
		     const struct statx *st);
bool marker_tainted(struct marker *m);
/* What is tainted, in words, for the log: "all files of the mount (2026-11-21T05:50:00Z)", ...
 * Cut to SIZE bytes; "" when nothing is. */
void marker_describe(struct marker *m, char *buf, size_t size);

/*
 * The file is as it should be / the whole mount is. -EFBIG: too many files were trusted one by one
 * (thousands): trust the mount.
 */
int marker_trust_file(struct marker *m, const struct file_id *id, const char *path);
int marker_trust_all(struct marker *m);

#endif
