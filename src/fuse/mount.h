/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Mounting and unmounting, by libfuse: mount(2) as root, fusermount3 for others. */
#ifndef CACHEFS_FUSE_MOUNT_H
#define CACHEFS_FUSE_MOUNT_H

#include <stdint.h>

#include "config/options.h"

struct mount;

/*
 * Mounts O->source, named so, at O->mountpoint; both absolute. 0 or a negative errno, and then
 * ERR (of ERRSIZE bytes) has a line for people and nothing is mounted. Before threads exist.
 */
int mount_attach(const struct options *o, bool privileged, struct mount **out, char *err,
		 size_t errsize);
/*
 * The mount of ID (mount_identity()) at MOUNTPOINT, made by another program; DEVICE_FD is borrowed.
 */
int mount_adopt(const char *mountpoint, uint64_t id, int device_fd, struct mount **out);
/* For mount_adopt(); 0: not known. */
uint64_t mount_identity(const struct mount *m);
/* /dev/fuse of the mount; owned by M. */
int mount_fd(const struct mount *m);
/* Once requests are served: from now on the mount is known from others at the same place. */
void mount_answers(struct mount *m);
/* It is what the mountpoint leads to. */
bool mount_is_there(const struct mount *m);
/* Unmounts lazily where the mount is still there. */
void mount_detach(struct mount *m);
void mount_free(struct mount *m);

/* Which mount MOUNTPOINT leads to; 0: not known. Asks no daemon. */
uint64_t mount_at(const char *mountpoint);
/*
 * What a process left that was killed while it mounted SOURCE at MOUNTPOINT, where BEFORE
 * (mount_at()) was: unmounts it, lazily, if it is there and nobody serves it. False: nothing was.
 */
bool mount_detach_left(const char *source, const char *mountpoint, uint64_t before);

/* Standard flags of a remount (MS_ bits given in O), for what the kernel itself keeps. */
int mount_change_flags(const struct options *o);

/*
 * What findmnt(8) shows besides the kernel's options: a line in libmount's /run/mount/utab. Best
 * effort: without that file, and without the right to write it, nothing happens.
 */
void utab_set(const char *source, const char *target, const char *options);
void utab_remove(const char *target);

#endif
