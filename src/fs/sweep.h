/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Pages that the kernel read into its own cache for splice, sendfile or a mapping go again a while
 * later, so that what changes behind the mount is seen as late as changed attributes are.
 */
#ifndef CACHEFS_FS_SWEEP_H
#define CACHEFS_FS_SWEEP_H

#include <stdint.h>

struct file;
struct fs;
struct sweep;

/* A thread of its own: dropping pages may wait for requests. DELAY in seconds. 0 or a negative
 * errno. */
int sweep_create(struct fs *fs, double delay, struct sweep **out);
void sweep_destroy(struct sweep *s);

/* F's pages go after the delay; once for all calls until then. Any thread, does not block. */
void sweep_schedule(struct sweep *s, struct file *f);

/* All pages that the kernel has of F by now go. May wait for requests: in the notify lane. */
void sweep_now(struct fs *fs, struct file *f);

#endif
