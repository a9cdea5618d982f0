/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What each request means, in terms of files: the layer below the protocol.
 *
 * Functions return 0 or a length, or a negative errno. All but fs_read() and fs_write() may
 * block and are called on threads that may. Names are single components; `id` is a node's id
 * and `fh` a handle's, as given to the kernel.
 */
#ifndef CACHEFS_FS_FS_H
#define CACHEFS_FS_FS_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/statfs.h>

#include "cachefs.h"
#include "config/limits.h"
#include "config/mode.h"
#include "durability/private_dir.h"
#include "fs/lock.h"
#include "durability/budget.h"
#include "loop/loop.h"
#include "loop/pool.h"
#include "engine/engine.h"
#include "policy/plan.h"

struct cachefs_status;
struct fs;
struct fs_shared;
struct rules;
struct stats;
struct status;
struct status_mount;

#define FS_NO_HANDLE UINT64_MAX
/* Space in front of and behind a read's buffer that fs_read() may use to widen it to blocks. */
#define FS_READ_SLACK 65536

struct fs_config {
	int source_fd; /* O_PATH, of the backing directory; owned by the fs after fs_create() */
	struct switches switches;
	struct rules *rules;	     /* NULL: none; owned by the fs after fs_create() */
	struct budget_limits limits; /* of files to which no rule gives other ones */
	bool modes_by_root;	     /* only root may set modes */
	/* cache.no-flush=on */
	bool flush_on_close;	   /* in the background, when the last writer closes */
	bool trust_after_crash;	   /* files whose data may be lost are served all the same */
	bool rollback_after_crash; /* or put back to their last checkpoint */
	unsigned checkpoint;	   /* seconds, 0: none */
	struct capabilities caps;
	const struct engine *engine;
	struct pool *pool;
	/* What outlives this process; borrowed until fs_destroy() has returned. NULL: nothing. */
	struct fs_shared *shared;
	bool resumed;	 /* another process served before, and left its records there */
	bool witness;	 /* another process may go on where this one is killed */
	bool read_only;	 /* nobody writes through this mount */
	bool privileged; /* may act as other users */
	enum kernel_path kernel_path;
	/* Makes FD a backing id of the kernel path: > 0, or a negative errno. Do not block. */
	int (*backing_open)(void *arg, int fd);
	void (*backing_close)(void *arg, int id);
	void *backing_arg;
	/* How long pages in the kernel's own cache may hide changes behind the mount; < 0: for good
	 */
	double page_timeout;
	/* Drops the kernel's own cached pages and attributes of a node; may block. */
	void (*invalidate)(void *arg, uint64_t id, int64_t off, int64_t len);
	/* The kernel forgets NAME in directory PARENT; may block. */
	void (*invalidate_entry)(void *arg, uint64_t parent, const char *name);
	void *invalidate_arg;
	/* Tells what the fs does not know of the mount, for its reports. Do not block. May be NULL.
	 */
	void (*describe)(void *arg, struct status_mount *m);
	void *describe_arg;
};

/* On whose behalf a file is created. */
struct fs_caller {
	uid_t uid;
	gid_t gid;
	pid_t pid;
	mode_t umask;
	bool group_known; /* the kernel told the one supplementary group that matters */
	gid_t group;
};

struct fs_entry {
	uint64_t id;
	struct statx st;
};

/* An id of the hidden directory or of a report in it, which may change at any time. */
static inline bool fs_is_report(uint64_t id)
{
	return id && !(uint32_t)id;
}

struct fs_opened {
	uint64_t fh;
	bool direct_io, parallel_direct_writes, noflush;
	int backing_id; /* > 0: the open is on, or beside, the kernel path */
};

/*
 * 0 or a negative errno. A process that resumed and gets an error must end: what it was to follow
 * is still recorded.
 */
int fs_create(const struct fs_config *config, struct fs **out);
/* Everything closed and freed; no request may be running. */
void fs_destroy(struct fs *fs);

/* No request is running, the pool is still there: what is flushed in the background is done. */
void fs_stop(struct fs *fs);
/*
 * After it, and after the pool's end: all is flushed, and the crash marker removed, unless the
 * kernel may go on writing to files that are STILL_USED. 0, or the error of the flush.
 */
int fs_finish(struct fs *fs, bool still_used);

/*
 * From now on this thread allocates blocks as UID, with root's other rights. A backing filesystem
 * lets its reserved blocks go to root by the filesystem uid alone, so root's daemon would take them
 * for any client. Costs nothing while UID stays the same. Any thread that may block.
 */
void fs_thread_allocator(const struct fs *fs, uid_t uid);

/* All that was written is on stable storage, whatever the modes. 0, or the first error. */
int fs_flush_all(struct fs *fs);
/* The backing filesystem can do what cache.direct=on needs. */
bool fs_direct_possible(struct fs *fs);
/* Are writers held up (dirty-max), so that no thread need be at work on them? */
bool fs_holds_up(struct fs *fs);

/* ---- modes: mode.c, switch.c. All of it may block. ---- */

/*
 * Another mode for the mount, with the open files that have it; returns when it is in force.
 * -EBUSY: one of them is on the kernel path and cannot follow, and nothing has changed.
 */
int fs_set_switches(struct fs *fs, struct switches sw);
struct switches fs_switches(struct fs *fs);

/* What became of open files. */
struct fs_switched {
	unsigned switched; /* have another mode now */
	unsigned pending;  /* will have it when handles on the kernel path are closed */
	unsigned refused;  /* of those: not before, for another reason */
	unsigned failed;   /* have it, but what was written before could not be flushed */
	int error;	   /* the first error of those */
};

/* Other rules (consumed), for open files too. */
void fs_set_rules(struct fs *fs, struct rules *rules, struct fs_switched *s);
/* Other limits for the mount, for open files too. May block. */
void fs_set_limits(struct fs *fs, const struct budget_limits *limits);
/* A copy to be given back with rules_unref(), or NULL. */
struct rules *fs_rules(struct fs *fs);
/* Only root may set modes, or also the file's owner. */
void fs_set_modes_by(struct fs *fs, bool root_only);
/* 0, or -EPERM: UID may not set the mode of the file (or directory) ID. */
int fs_may_set_mode(struct fs *fs, uint64_t id, uid_t uid);

struct fs_mode_change {
	struct switches switches;
	bool clear;	 /* the setting goes, SWITCHES is not looked at */
	bool persist;	 /* the one stored with the file, else the one of run time */
	bool in_force;	 /* persist: one of run time goes, so that this one holds */
	bool pending_ok; /* as in cachefs.h; a stored one may always be */
	bool again;	 /* clear: the request came again, and has cleared it before */
	int xattr_flags; /* persist: XATTR_CREATE, XATTR_REPLACE */
	uid_t uid;	 /* who asks */
};

/*
 * The mode of a regular file. -EPERM, -EINVAL, -EOPNOTSUPP (a directory, or no direct I/O), -EBUSY
 * (nothing changed), -ENODATA (nothing to clear), or an error of the flush of what was written
 * before: the mode is in force then.
 */
int fs_mode_change(struct fs *fs, uint64_t id, const struct fs_mode_change *change);

struct fs_mode_shown {
	struct switches switches;
	enum cachefs_origin origin;
	bool pending;
	struct switches pending_switches;
	enum cachefs_origin pending_origin;
};

/* Of a regular file, or the root: the mount's. -EOPNOTSUPP for others. */
int fs_mode_show(struct fs *fs, uint64_t id, struct fs_mode_shown *out);

/* ---- after a crash: rescue.c. -EPERM: neither root nor, as modes-by says, the file's owner. ----
 */

/* The file NAME in directory DIR is good, whatever happened to it; its error is forgotten. */
int fs_trust(struct fs *fs, uint64_t dir, const char *name, uid_t uid);
/* So is everything on the mount. */
int fs_trust_all(struct fs *fs);

struct fs_rollback {
	struct timespec taken;	 /* the checkpoint */
	char kept[NAME_MAX + 1]; /* what the file is called now that was there, beside it */
	uint64_t own_bytes;	 /* that the checkpoint alone holds; UINT64_MAX: not looked at */
	struct file_id id;	 /* of what is there now */
};

/*
 * NAME in directory DIR goes back to its last checkpoint. -EBUSY: it is open; -ENOENT: no file, or
 * no checkpoint of it; others as checkpoint_rollback().
 */
int fs_rollback(struct fs *fs, uint64_t dir, const char *name, bool dry_run, uid_t uid,
		struct fs_rollback *out);
void fs_set_flush_on_close(struct fs *fs, bool flush);
/* Another interval of checkpoints, 0: none. -EOPNOTSUPP: no reflinks; -EBUSY: another owner. */
int fs_set_checkpoint(struct fs *fs, unsigned seconds);

/* Flushes an open file and drops its pages, FUSE's and the backing's. 0 or a negative errno. */
int fs_handoff(struct fs *fs, uint64_t fh);
/* status.c: looking changes and delays nothing. */
/*
 * The open file of FH, whose own open is not in opens, writers and clients. 0; -ENOTTY: no regular
 * file; -EBADF: not open for reading.
 */
int fs_file_status(struct fs *fs, uint64_t fh, struct cachefs_status *out);
/* The mount and all its open files, to be freed with status_free(). 0 or -ENOMEM. */
int fs_status(struct fs *fs, struct status *out);
/* What was counted since the start. */
void fs_stats(struct fs *fs, struct stats *out);

/* lookup.c, attr.c */
int fs_lookup(struct fs *fs, uint64_t parent, const char *name, struct fs_entry *e);
void fs_forget(struct fs *fs, uint64_t id, uint64_t nlookup);
int fs_getattr(struct fs *fs, uint64_t id, uint64_t fh, struct statx *st);

enum {
	FS_SET_MODE = 1,
	FS_SET_UID = 2,
	FS_SET_GID = 4,
	FS_SET_SIZE = 8,
	FS_SET_ATIME = 16,
	FS_SET_MTIME = 32
};

struct fs_setattr {
	unsigned valid; /* FS_SET_ */
	mode_t mode;
	uid_t uid;
	gid_t gid;
	uint64_t size;
	struct timespec atime, mtime; /* tv_nsec may be UTIME_NOW */
	bool kill_priv;		      /* a new size takes suid, sgid and security.capability away */
	bool caller_root; /* a new owner takes sgid only where it does so when root changes it */
};

int fs_setattr(struct fs *fs, uint64_t id, uint64_t fh, const struct fs_setattr *a,
	       struct statx *st);
int fs_statfs(struct fs *fs, uint64_t id, struct statfs *st);
ssize_t fs_readlink(struct fs *fs, uint64_t id, char *buf, size_t size);

/* namespace.c */
int fs_mknod(struct fs *fs, uint64_t parent, const char *name, mode_t mode, dev_t rdev,
	     const struct fs_caller *c, struct fs_entry *e);
int fs_mkdir(struct fs *fs, uint64_t parent, const char *name, mode_t mode,
	     const struct fs_caller *c, struct fs_entry *e);
int fs_symlink(struct fs *fs, uint64_t parent, const char *name, const char *target,
	       const struct fs_caller *c, struct fs_entry *e);
int fs_link(struct fs *fs, uint64_t id, uint64_t parent, const char *name, struct fs_entry *e);
int fs_unlink(struct fs *fs, uint64_t parent, const char *name);
int fs_rmdir(struct fs *fs, uint64_t parent, const char *name);
int fs_rename(struct fs *fs, uint64_t parent, const char *name, uint64_t newparent,
	      const char *newname, unsigned flags);

/* file.c. FLAGS: the client's open(2) flags. Of the caller, an open needs only uid and pid. */
int fs_open(struct fs *fs, uint64_t id, int flags, bool kill_priv, const struct fs_caller *c,
	    struct fs_opened *o);
int fs_create_file(struct fs *fs, uint64_t parent, const char *name, int flags, mode_t mode,
		   const struct fs_caller *c, struct fs_entry *e, struct fs_opened *o);
int fs_tmpfile(struct fs *fs, uint64_t parent, int flags, mode_t mode, const struct fs_caller *c,
	       struct fs_entry *e, struct fs_opened *o);
void fs_release(struct fs *fs, uint64_t fh);
int fs_fsync(struct fs *fs, uint64_t fh, bool datasync);
/* A real flush of an open file, whatever its mode. */
int fs_flush_file(struct fs *fs, uint64_t fh);
/* KILL_PRIV: suid, sgid and security.capability fall. The kernel leaves that to us, without a flag.
 */
int fs_fallocate(struct fs *fs, uint64_t fh, int mode, uint64_t off, uint64_t len, bool kill_priv);
int64_t fs_lseek(struct fs *fs, uint64_t fh, int64_t off, int whence);
ssize_t fs_copy_file_range(struct fs *fs, uint64_t fh_in, uint64_t off_in, uint64_t fh_out,
			   uint64_t off_out, uint64_t len, unsigned flags, bool kill_priv);
/* Alignment of direct I/O on the backing file, in bytes: memory, and offset and length. */
int fs_dio_alignment(struct fs *fs, uint64_t fh, uint32_t *mem, uint32_t *offset);

/* dir.c */
struct fs_dirent {
	uint64_t ino;
	uint64_t next; /* where to go on after this entry */
	uint32_t type; /* DT_ */
	const char *name;
	const struct fs_entry *entry; /* NULL: not looked up */
};

int fs_opendir(struct fs *fs, uint64_t id, uint64_t *fh);
void fs_releasedir(struct fs *fs, uint64_t fh);
int fs_fsyncdir(struct fs *fs, uint64_t fh, bool datasync);
/*
 * Calls EMIT for entries from OFF on, at most SIZE bytes of 1 directory record each as EMIT
 * needs MIN_RECORD bytes or more for it, so that all of them fit. PLUS: looked up as well.
 */
int fs_readdir(struct fs *fs, uint64_t id, uint64_t fh, uint64_t off, size_t size,
	       size_t min_record, bool plus, bool (*emit)(void *arg, const struct fs_dirent *d),
	       void *arg);

/* xattr.c */
ssize_t fs_getxattr(struct fs *fs, uint64_t id, const char *name, void *buf, size_t size);
/* TRUSTED: those that only root may see as well. */
ssize_t fs_listxattr(struct fs *fs, uint64_t id, char *buf, size_t size, bool trusted);
int fs_setxattr(struct fs *fs, uint64_t id, const char *name, const void *value, size_t size,
		int flags, bool kill_sgid, uid_t uid);
int fs_removexattr(struct fs *fs, uint64_t id, const char *name, uid_t uid);

/*
 * rw.c: a read or a write on its way. Filled in by the caller as far as `done`, which is called
 * exactly once, perhaps before fs_read() or fs_write() returns and perhaps on another thread.
 */
struct fs_io {
	struct fs *fs;
	struct loop *loop; /* of this thread, or NULL on others */
	uint64_t fh;
	uint64_t off;
	size_t len;
	/* Page-aligned. Reads may use FS_READ_SLACK bytes more behind it. */
	uint8_t *buf;
	int client_flags; /* of the client's descriptor now, O_SYNC and O_DSYNC for this write */
	bool kill_priv;	  /* write: suid, sgid and security.capability fall */
	bool page_cache;  /* the kernel's own page cache reads or writes, not a client */
	uid_t uid;	  /* write: who allocates blocks */
	void (*done)(struct fs_io *io, ssize_t result);
	uint8_t *data; /* read: where the bytes are */

	/* rw.c's own */
	struct handle *handle;
	uint64_t start; /* CLOCK_MONOTONIC, nanoseconds */
	struct claim claim;
	struct budget_file *budget; /* write: NULL where there are no limits */
	struct budget_wait wait;
	struct pool_job job;
	struct engine_io eio;
	unsigned epoch;
	size_t got, skip;
	uint32_t align;
	bool whole;
	ssize_t result;
};

/* Does not block: what would is handed to the engine or the pool. */
void fs_read(struct fs_io *io);
/* May block where MAY_BLOCK; does not wait for other requests even then. */
void fs_write(struct fs_io *io);

#endif
