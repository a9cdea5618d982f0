/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What kernel, privilege and the backing filesystem offer, found by trying. */
#ifndef CACHEFS_FS_PROBE_H
#define CACHEFS_FS_PROBE_H

#include "policy/plan.h"

/*
 * An O_PATH descriptor of the directory SOURCE to serve from, or a negative errno. Where that is
 * permitted
 * (*CLONED) it is the root of a clone of the mount for ourselves, without what is mounted below:
 * so neither a mountpoint inside SOURCE nor our own mount over it is in our way.
 */
int probe_source(const char *source, bool *cloned);

/*
 * Tries the kernel path with a file of its own in the directory; OPEN_ID and CLOSE_ID as in struct
 * fs_config. 0, or why not as a negative errno. Where nothing may be written, each file's own open
 * will tell.
 */
int probe_kernel_path(int source_fd, int (*open_id)(void *arg, int fd),
		      void (*close_id)(void *arg, int id), void *arg);
/* How deep the backing filesystem is itself stacked: 0, or 1 (overlayfs, ecryptfs, FUSE). */
int probe_stack_depth(int source_fd);

/* io_uring excepted: loop_ring_probe(). Leaves nothing behind in the directory. */
void probe_backing(int source_fd, bool privileged, struct capabilities *caps);

#endif
