/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How the clients of a file submit their I/O, as far as /proc tells us. */
#ifndef CACHEFS_CTL_CLIENT_IO_H
#define CACHEFS_CTL_CLIENT_IO_H

#include "ctl/file_status.h"

/*
 * CLIENT_ bits of F's first client that has any; *WHO is then "process 12 (qemu)", to be freed.
 * Processes that are gone, or not ours to look at, have none.
 */
unsigned client_io(const struct file_status *f, char **who);

#endif
