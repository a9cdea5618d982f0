/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What kernel, privilege and the backing filesystem offer, found by trying. */
#ifndef CACHEFS_FS_PROBE_H
#define CACHEFS_FS_PROBE_H

#include "policy/plan.h"

/*
 * An O_PATH descriptor of the directory SOURCE to serve from, or a negative errno. Where that is permitted
 * (*CLONED) it is the root of a clone of the mount for ourselves, without what is mounted below:
 * so neither a mountpoint inside SOURCE nor our own mount over it is in our way.
 */
int probe_source(const char *source, bool *cloned);

/* io_uring excepted: loop_ring_probe(). Leaves nothing behind in the directory. */
void probe_backing(int source_fd, bool privileged, struct capabilities *caps);

#endif
