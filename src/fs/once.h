/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The request that a thread executes, for what must happen exactly once although the request may
 * come again: a worker that was killed may have executed it before (FUSE_NOTIFY_RESEND).
 */
#ifndef CACHEFS_FS_ONCE_H
#define CACHEFS_FS_ONCE_H

#include <stdbool.h>
#include <stdint.h>

struct journal_entry;

struct once {
	uint64_t unique; /* the kernel's number of it, without the resend bit; never 0 */
	bool resent;	 /* it was read before by a worker that is dead */
	struct journal_entry *entry; /* of this request, also from before; NULL: it needs none */
};

/* What this thread executes from now on; NULL: no request, or one that may be executed twice. */
void fs_thread_once(struct once *o);
/* The same, or NULL. */
struct once *fs_once(void);

#endif
