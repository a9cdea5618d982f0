/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * cachefs's public interface for programs: ioctls on files and directories of a mount, extended
 * attributes, and the reports in the mount's hidden directory.
 *
 * All structures have fixed-width members and are the same for 32-bit programs. An ioctl takes any
 * descriptor that open(2) gives without O_PATH, unless it says otherwise. Calls on anything that is
 * not on a cachefs mount fail with ENOTTY. What is reserved is 0 when it comes from cachefs, and
 * must be 0 when it goes there (EINVAL).
 */
#ifndef CACHEFS_H
#define CACHEFS_H

#include <linux/ioctl.h>
#include <linux/types.h>

/*
 * The mode of a file as an extended attribute: stored with it, and now (until the unmount; never
 * listed). Values: a mode's name, or the switches "cache.direct=on,cache.writeback=on,..." with the
 * mode's name in front of them or not. On the root directory NOW is the mount's mode; on other
 * directories both give EOPNOTSUPP. setxattr(2): EINVAL for an unknown mode, EPERM by who may not
 * (modes-by), EBUSY for NOW where an open file cannot follow. removexattr(2) takes the setting
 * back.
 */
#define CACHEFS_XATTR_STORED "user.cachefs.cache"
#define CACHEFS_XATTR_NOW "user.cachefs.cache.now"

/* Reports: read-only files of root in this directory of the mount's root, which is not listed. */
#define CACHEFS_DIR ".cachefs"
#define CACHEFS_STATUS_FILE "status.json"
#define CACHEFS_METRICS_FILE "metrics" /* OpenMetrics text */

#define CACHEFS_IOC_MAGIC 0xcf

/* The switches of a mode, as bits: cache.direct, cache.writeback, cache.no-flush. */
#define CACHEFS_DIRECT 1
#define CACHEFS_WRITEBACK 2
#define CACHEFS_NO_FLUSH 4

/* Where a file's mode comes from; the largest that there is wins. X(id, value, name) */
#define CACHEFS_ORIGINS(X)                                                                         \
	X(MOUNT, 0, "mount")                                                                       \
	X(RULE, 1, "rule")                                                                         \
	X(STORED, 2, "stored")                                                                     \
	X(RUNTIME, 3, "runtime")

/* Why no open of a file is on the kernel path, or USED: one is. X(id, value, text) */
#define CACHEFS_KERNEL_PATH(X)                                                                     \
	X(USED, 0, "on the kernel path")                                                           \
	X(CLOSED, 1, "not open")                                                                   \
	X(NEVER, 2, "kernel-path=never, or dirty-max, which the kernel path cannot honour")        \
	X(UNAVAILABLE, 3, "not possible on this mount (the log says why)")                         \
	X(MODE, 4, "the daemon serves this mode (kernel-path=auto)")                               \
	X(CLIENT, 5, "the flags of the client's open do not mean the mode")                        \
	X(REFUSED, 6, "suid or sgid, or the kernel refused to register the file")                  \
	X(EARLIER, 7, "first opened in a mode that the daemon serves, and not closed by all since")

#define CACHEFS_ENUM_ORIGIN_(id, value, name) CACHEFS_ORIGIN_##id = (value),
#define CACHEFS_ENUM_KERNEL_PATH_(id, value, text) CACHEFS_KERNEL_PATH_##id = (value),
enum cachefs_origin { CACHEFS_ORIGINS(CACHEFS_ENUM_ORIGIN_) };
enum cachefs_kernel_path { CACHEFS_KERNEL_PATH(CACHEFS_ENUM_KERNEL_PATH_) };

/* CACHEFS_IOC_INFO: about the mount; on any descriptor, by anyone who has it. */
struct cachefs_info {
	__u32 version; /* of this interface: CACHEFS_IOC_VERSION */
	__s32 pid;     /* of the process that serves the mount, in its own pid namespace */
	/* Of the one that replaces that one should it die, and ends last; 0: there is none */
	__s32 supervisor_pid;
	__u32 unused;
	__u64 reserved[5];
	char options[8192]; /* in force, as for mount -o; NUL-terminated */
};
#define CACHEFS_IOC_VERSION 2
#define CACHEFS_IOC_INFO _IOR(CACHEFS_IOC_MAGIC, 0, struct cachefs_info)

/*
 * CACHEFS_IOC_FLUSH: a real flush, whatever the mode. On a regular file: that file; on the root
 * directory: everything that was written through the mount. By root, who mounted, or the owner of
 * it. Errors: EPERM; EIO, ENOSPC, EDQUOT as fsync(2) would say.
 */
#define CACHEFS_IOC_FLUSH _IO(CACHEFS_IOC_MAGIC, 1)

/*
 * CACHEFS_IOC_REMOUNT: other options for the mount; on the root directory, by root or who mounted
 * it. Returns when they are in force. Errors: EPERM; EINVAL, with a sentence in `error`; EBUSY
 * where an open file cannot follow; EIO and others when the mode changed but data written before
 * could not be flushed.
 */
struct cachefs_remount {
	char options[4096]; /* as for mount -o; NUL-terminated */
	char error[512];    /* out: NUL-terminated, empty on success */
};
#define CACHEFS_IOC_REMOUNT _IOWR(CACHEFS_IOC_MAGIC, 2, struct cachefs_remount)

/*
 * CACHEFS_IOC_MODE: the mode of a regular file, or on the root directory of the mount: shown, and
 * with SET or CLEAR changed first, live. Returns when all that was written before is as durable,
 * and as little cached, as the new mode promises.
 * SET: to `switches`. CLEAR: takes the setting back, so that what has less precedence holds again.
 * PERSIST: the one stored with the file is set or cleared (on SET one of run time is cleared, so
 * that it holds); else the one of run time, which ends with the mount. PENDING_OK, and PERSIST:
 * where an open file cannot follow, `pending` is set and the mode comes when all have closed the
 * file; without, that is EBUSY and nothing has changed. Not on the mount's mode: there it is EBUSY.
 * The caller's own descriptor counts as an open: with O_APPEND, also for reading alone, it is one
 * that follows into every mode. Showing is anyone's who has a descriptor. Errors of changing: EPERM
 * (modes-by); EINVAL; EOPNOTSUPP (a directory; no direct I/O here; no extended attributes); EBUSY;
 * EIO and others when the mode is in force but data written before could not be flushed.
 */
struct cachefs_mode {
	__u32 flags;	/* in: of CACHEFS_MODE_ */
	__u32 switches; /* in: with SET; out: in force; CACHEFS_DIRECT... */
	__u32 origin;	/* out: CACHEFS_ORIGIN_ */
	__u32 pending;	/* out: 1: pending_switches from pending_origin are to come */
	__u32 pending_switches, pending_origin;
	__u64 reserved[4];
	char error[256]; /* out, on errors: a sentence; NUL-terminated */
};
#define CACHEFS_MODE_SET 1
#define CACHEFS_MODE_CLEAR 2
#define CACHEFS_MODE_PERSIST 4
#define CACHEFS_MODE_PENDING_OK 8
#define CACHEFS_IOC_MODE _IOWR(CACHEFS_IOC_MAGIC, 3, struct cachefs_mode)

/* A counter or size that cannot be known (page cache without cachestat(2), Linux 6.5). */
#define CACHEFS_UNKNOWN (~(__u64)0)

/*
 * Latencies: bucket i counts what took at most CACHEFS_BUCKET_NSEC(i), and more than the one before
 * it; the last one has no limit.
 */
#define CACHEFS_BUCKETS 12
#define CACHEFS_BUCKET_NSEC(i) ((__u64)4096 << 2 * (i))
struct cachefs_latency {
	__u64 count;
	__u64 nsec; /* sum */
	__u64 buckets[CACHEFS_BUCKETS];
};

/* An open of a file. */
struct cachefs_client {
	__s32 pid;	   /* who opened it, in the daemon's pid namespace; 0: not in there */
	__u32 flags;	   /* of its open(2), as this architecture's <fcntl.h> has them */
	__u32 kernel_path; /* 1: the kernel reads and writes by itself */
	__u32 reserved;
	char comm[16]; /* of that process now; empty when it has ended; NUL-terminated */
};
#define CACHEFS_CLIENTS_MAX 64

/*
 * Counters of a file since it was opened (while nobody has it open they end), of what the daemon
 * saw: reads, writes, msync and RWF_DSYNC on the kernel path are the kernel's alone. X(field, help)
 * The names are those in status.json.
 */
#define CACHEFS_COUNTERS(X)                                                                        \
	X(read_bytes, "bytes read")                                                                \
	X(write_bytes, "bytes written")                                                            \
	X(flushes_received, "flushes asked for by clients")                                        \
	X(flushes_honoured, "flushes executed")                                                    \
	X(flushes_dropped, "flushes dropped, as cache.no-flush=on says")                           \
	X(opens_total, "opens")                                                                    \
	X(opens_direct, "opens with O_DIRECT")                                                     \
	X(opens_sync, "opens with O_SYNC or O_DSYNC")                                              \
	X(page_cache_requests, "reads and writes of pages by the kernel, for mmap and splice")     \
	X(unaligned_reads, "reads not aligned to the backing's direct I/O")                        \
	X(unaligned_writes, "writes not aligned to the backing's direct I/O")                      \
	X(rmw_writes, "writes done as read-modify-write")                                          \
	X(rmw_nsec, "nanoseconds spent in those")

#define CACHEFS_COUNTER_FIELD_(field, help) __u64 field;

/*
 * CACHEFS_IOC_STATUS: one regular file, by who has it open for reading, its owner or root. The
 * descriptor's own open is not in opens, writers and clients. EBADF: not open for reading.
 */
struct cachefs_status {
	__u32 switches, origin;
	__u32 pending, pending_switches, pending_origin; /* as in struct cachefs_mode */
	__u32 opens, writers;
	__u32 kernel_path;  /* CACHEFS_KERNEL_PATH_ */
	__s32 error;	    /* errno of a flush that failed, while it is not forgotten, or 0 */
	__u32 flushing;	    /* 1: closed by its last writer, and being flushed */
	__u32 tainted;	    /* 1: the host went down with unflushed data of it */
	__u32 deleted;	    /* 1: it has no name any more */
	__u32 direct_align; /* bytes that direct I/O on the backing must be aligned to; 0: none */
	/* bytes; CACHEFS_UNKNOWN */
	__u64 size, cached_bytes, dirty_bytes, writeback_bytes;
	__s64 checkpoint_age_s; /* -1: none */
	CACHEFS_COUNTERS(CACHEFS_COUNTER_FIELD_)
	struct cachefs_latency reads, writes, flushes; /* flushes: those executed */
	__u64 reserved[16];
	__u32 clients_total; /* may be more than there is room for */
	__u32 clients_shown;
	struct cachefs_client clients[CACHEFS_CLIENTS_MAX];
};
#define CACHEFS_IOC_STATUS _IOR(CACHEFS_IOC_MAGIC, 4, struct cachefs_status)

/*
 * CACHEFS_IOC_HANDOFF: flushes a regular file, drops its pages from the host's page cache and says
 * what is left there, which is nothing where nobody else uses the file. By root or its owner.
 * Errors: EPERM; EIO and others as fsync(2) would say, nothing was dropped then.
 */
struct cachefs_handoff {
	__u64 cached_bytes, dirty_bytes, writeback_bytes; /* left; CACHEFS_UNKNOWN */
	__u32 opens, writers;				  /* besides this descriptor */
	__u64 reserved[4];
};
#define CACHEFS_IOC_HANDOFF _IOR(CACHEFS_IOC_MAGIC, 5, struct cachefs_handoff)

/*
 * CACHEFS_IOC_RELOAD: reads the rules file and stored modes again and switches open files, as
 * CACHEFS_IOC_MODE with PENDING_OK does; on the root directory, by root or who mounted. EINVAL: the
 * rules are as they were, `error` says file, line and column. EAGAIN: the same, since the processes
 * that tried it died.
 */
struct cachefs_reload {
	__u32 rules;	/* how many there are now */
	__u32 switched; /* open files that have another mode now */
	__u32 pending;	/* open files that cannot follow before they are closed */
	__u32 failed;	/* open files in their new mode whose earlier data could not be flushed */
	__u64 reserved[4];
	char error[512];
};
#define CACHEFS_IOC_RELOAD _IOR(CACHEFS_IOC_MAGIC, 6, struct cachefs_reload)

/*
 * After the host went down with unflushed data (cache.no-flush=on) a file that it concerns cannot
 * be opened (EUCLEAN), so what is done about it goes to the directory that it is in. By root or the
 * file's owner (modes-by); the whole mount by root or who mounted.
 *
 * CACHEFS_IOC_TRUST: the file `name` is good; with an empty name, on the root directory: all are.
 * It also makes an error of a flush in the background forgotten. Errors: EPERM, ENOENT, EINVAL (no
 * regular file), ENOTTY (an empty name elsewhere), those of writing to the backing directory.
 */
struct cachefs_trust {
	char name[256]; /* NUL-terminated, one component */
	__u64 reserved[4];
};
#define CACHEFS_IOC_TRUST _IOW(CACHEFS_IOC_MAGIC, 7, struct cachefs_trust)

/*
 * CACHEFS_IOC_ROLLBACK: the file `name` of this directory goes back to its last checkpoint; what
 * was there stays beside it as `kept`. Errors: EPERM, EINVAL; ENOENT: no file or no checkpoint of
 * it; EBUSY: it is open; EMLINK: it has other names, which would go on leading to the harmed file;
 * others: nothing has changed, or (EIO, ENOSPC) the file is back
 * and could not be trusted as well: then the log says so.
 */
struct cachefs_rollback {
	char name[256]; /* in; NUL-terminated, one component */
	__u32 flags;	/* in: CACHEFS_ROLLBACK_DRY_RUN: only look whether it can be done */
	__u32 taken_nsec;
	__s64 taken_s;	 /* out: when the checkpoint was taken, since the Epoch */
	char kept[256];	 /* out: NUL-terminated */
	__u64 own_bytes; /* out: that the checkpoint alone holds; CACHEFS_UNKNOWN */
	__u64 reserved[3];
};
#define CACHEFS_ROLLBACK_DRY_RUN 1
#define CACHEFS_IOC_ROLLBACK _IOWR(CACHEFS_IOC_MAGIC, 8, struct cachefs_rollback)

/*
 * CACHEFS_IOC_UPGRADE: the installed program, in place of the one that runs, serves the mount from
 * now on; nothing is unmounted, closed or interrupted. On the root directory, by root or who
 * mounted. It is asked first whether it can take over: EPROTO when it cannot, with `error`, and
 * nothing has changed. Else it starts after the call has returned: CACHEFS_IOC_INFO then tells
 * another `pid`, and `upgrades` is one more than before, or `last_error` says why the old program
 * goes on. EBUSY: a request waits for storage; EOPNOTSUPP: recover=off; EPERM.
 */
struct cachefs_upgrade {
	__u32 flags;	/* in: CACHEFS_UPGRADE_LOOK: only tell */
	__u32 pid;	/* out: of the process that serves now */
	__u32 upgrades; /* out: since the mount */
	/*
	 * out: of the last attempt, or 0: errno of starting the program; EPROTO: it took over,
	 * could not serve, and went back; EOWNERDEAD: it ended, or hung, before it could do that;
	 * EINPROGRESS: it has begun, and may still go back.
	 */
	__u32 last_error;
	__u64 reserved[3];
	char version[64]; /* out: what the installed program calls itself; not with LOOK */
	char error[512];
};
#define CACHEFS_UPGRADE_LOOK 1
#define CACHEFS_IOC_UPGRADE _IOWR(CACHEFS_IOC_MAGIC, 9, struct cachefs_upgrade)

#endif
