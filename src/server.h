/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Serves a mount. */
#ifndef CACHEFS_SERVER_H
#define CACHEFS_SERVER_H

#include "config/options.h"

/* mount(8): EXIT STATUS */
enum { EXIT_USAGE = 1, EXIT_SYSTEM = 2, EXIT_MOUNT = 32 };

/*
 * Mounts and serves until the mount is gone; O's paths are absolute. In the background (unless
 * O->foreground) the calling process ends with 0 as soon as the mount answers. An exit status, with
 * a line in the log where it is not 0.
 */
int server_run(struct options *o);

/*
 * Goes on, as another program, with the mount whose state is in FD (handover.h); PROGRAM, a
 * descriptor, is the one before, or -1. An exit status.
 */
int server_take_over(int fd, int program);
/* Says on stdout whether it could: the version and 0, or what is in the way. */
int server_take_over_check(int fd);

#endif
