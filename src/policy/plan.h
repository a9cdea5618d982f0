/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Everything that the switches of a cache mode mean for one open of a regular file, as one value.
 * Nothing else asks which mode a file has. Pure functions; safe from any thread.
 */
#ifndef CACHEFS_POLICY_PLAN_H
#define CACHEFS_POLICY_PLAN_H

#include <stdbool.h>

#include "config/mode.h"

/* pwritev2(2) flags, as in <linux/fs.h>; glibc declares them in <sys/uio.h> alone. */
#ifndef RWF_DSYNC
#define RWF_DSYNC 0x00000002
#endif
#ifndef RWF_SYNC
#define RWF_SYNC 0x00000004
#endif

/*
 * What kernel, backing filesystem and privilege offer; probed once, at the start. A false one
 * is done without, except backing_direct_io, which the switch cache.direct cannot do without.
 */
struct capabilities {
	bool backing_direct_io; /* the backing filesystem opens files O_DIRECT */
	bool rwf_nowait;	/* preadv2(2) with RWF_NOWAIT works on the backing filesystem */
	bool io_uring;		/* io_uring_setup(2) is there and allowed */
	bool file_handles;	/* name_to_handle_at(2), open_by_handle_at(2) */
	bool statx_dioalign;	/* statx(2) tells the alignment of direct I/O, Linux 6.1 */
	bool cachestat;		/* cachestat(2), Linux 6.5 */
	bool open_tree;		/* open_tree(2) clones the backing mount */
	bool resend;		/* the kernel sends requests again that a dead process had read */
	bool kernel_path;	/* FUSE passthrough, Linux 6.9, to a backing that allows it */
};

/* Turns off the ones in MASK, an or of enum capability_mask (the hidden option mask-caps). */
void capabilities_mask(struct capabilities *caps, unsigned int mask);

enum flush_action {
	FLUSH_EXECUTE, /* fsync or fdatasync of the backing descriptor, then the reply */
	FLUSH_DROP,    /* counted and answered with success (or the file's latched error) */
};

struct plan {
	/*
	 * 0, or why the open cannot be served; everything else is zero then.
	 * -EINVAL: the switches contradict each other (switches_valid()).
	 * -EOPNOTSUPP: cache.direct is on and the backing filesystem has no direct I/O.
	 */
	int error;

	/*
	 * The backing's descriptor has O_DIRECT, and reads and writes need its alignment. (O_SYNC
	 * and O_DSYNC it never has: plan_write_rwf() has them, so that a live switch can drop
	 * them.)
	 */
	bool direct;

	/* RWF_DSYNC or 0: what every write carries, whatever the client asked for. */
	int write_rwf;
	enum flush_action flush;
	/* Changes of size, allocation and name space are on stable storage before the reply. */
	bool sync_metadata;

	/*
	 * The file may come onto the kernel path in this mode. Every open of such a file carries
	 * the backing id from the first one on, or opens and mappings of one inode exclude one
	 * another (EIO, ENODEV); the first open of a file decides for all. Mappings of a file with
	 * a backing id are mappings of the backing file, so modes that the kernel path cannot serve
	 * have none.
	 */
	bool backing_id;
	/* The kernel reads, writes and maps the backing file itself, with the client's own flags.
	 */
	bool kernel;
	/* Only while the backing inode has the sync attribute (durability/sync_attr.h). */
	bool kernel_sync;

	/* FOPEN_ bits of the reply. */
	bool fopen_direct_io;		   /* no second page cache in FUSE */
	bool fopen_parallel_direct_writes; /* not for appends: the kernel must serialise them */
	bool fopen_noflush;		   /* no FUSE_FLUSH at close(2) */
};

/*
 * CLIENT_FLAGS: of the client's open(2), as fuse_open_in.flags. CAPS is only read.
 * After a live switch of the mode, compute the plan again from the same CLIENT_FLAGS.
 */
struct plan plan_open(struct switches sw, enum kernel_path kernel_path, int client_flags,
		      const struct capabilities *caps);

/*
 * Flags of pwritev2(2) for one write. WRITE_FLAGS: fuse_write_in.flags, in which the kernel has
 * O_SYNC or O_DSYNC both for descriptors opened so and for RWF_SYNC, RWF_DSYNC on this write.
 * RWF_SYNC, RWF_DSYNC (the stronger one only) or 0.
 */
int plan_write_rwf(const struct plan *plan, int write_flags);

#endif
