/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A mount that nobody serves any more: its processes were killed, and whoever uses it gets ENOTCONN
 * until it is unmounted. The same words for it in all programs.
 */
#ifndef CACHEFS_BASE_UNSERVED_H
#define CACHEFS_BASE_UNSERVED_H

#include <stdbool.h>

#include "base/mountinfo.h"

/* Is ERR (errno) what the kernel says for a daemon that is not there (fs/fuse/dev.c)? */
bool unserved_error(int err);

/*
 * The cachefs mount that PATH leads onto, for mount_entry_free(). PATH may be relative and have
 * symbolic links; below the root of a mount that nobody serves what it names is not looked up. 0;
 * -ENOENT: it leads onto none, or nowhere; or another negative errno. Asks no daemon for it.
 */
int mount_of(const char *path, struct mount_entry *out);

/* PATH leads onto a mount that nobody serves. Where there is a daemon, this waits for its answer.
 */
bool unserved(const char *path);

/*
 * What is to be said of PATH, which was given, behind its name: that it is on a cachefs mount that
 * nobody serves, and what to do. To be freed. NULL: it is on none, or that cannot be known.
 */
char *unserved_text(const char *path);

#endif
