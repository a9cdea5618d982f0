/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * cachefs's public interface for programs: ioctls on files and directories of a mount.
 *
 * All structures have fixed-width members and are the same for 32-bit programs. Calls on anything
 * that is not on a cachefs mount fail with ENOTTY.
 */
#ifndef CACHEFS_H
#define CACHEFS_H

#include <linux/ioctl.h>
#include <linux/types.h>

#define CACHEFS_IOC_MAGIC 0xcf

/* CACHEFS_IOC_INFO: about the mount; on any descriptor, by anyone who has it. */
struct cachefs_info {
	__u32 version; /* of this interface: CACHEFS_IOC_VERSION */
	__s32 pid;     /* of the process that serves the mount, in its own pid namespace */
	__u64 reserved[6];
	char options[1024]; /* in force, as for mount -o; NUL-terminated */
};
#define CACHEFS_IOC_VERSION 1
#define CACHEFS_IOC_INFO _IOR(CACHEFS_IOC_MAGIC, 0, struct cachefs_info)

/*
 * CACHEFS_IOC_FLUSH: a real flush, whatever the mode. On a regular file: that file; on the root
 * directory: everything that was written through the mount. By root or the owner of it.
 * Errors: EPERM; EIO, ENOSPC, EDQUOT as fsync(2) would say.
 */
#define CACHEFS_IOC_FLUSH _IO(CACHEFS_IOC_MAGIC, 1)

/*
 * CACHEFS_IOC_REMOUNT: other options for the mount; on the root directory, by root or who mounted
 * it. Returns when they are in force. Errors: EPERM; EINVAL, with a sentence in `error`; EIO and
 * others when the mode changed but data written before could not be flushed.
 */
struct cachefs_remount {
	char options[4096]; /* as for mount -o; NUL-terminated */
	char error[512];    /* out: NUL-terminated, empty on success */
};
#define CACHEFS_IOC_REMOUNT _IOWR(CACHEFS_IOC_MAGIC, 2, struct cachefs_remount)

#endif
