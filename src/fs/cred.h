/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Acting as the caller while something is created: owner, group, supplementary groups, umask.
 *
 * Credentials are the thread's own. Only threads of the metadata lane do this; they have a umask of
 * their own (cred_thread_init()) and never submit to a ring.
 */
#ifndef CACHEFS_FS_CRED_H
#define CACHEFS_FS_CRED_H

#include "fs/fs.h"

/* Once in each thread that will assume credentials. */
void cred_thread_init(void);

enum cred_rights {
	CRED_OVERRIDE, /* the kernel has already decided that the caller may (default_permissions)
			*/
	CRED_CALLER    /* only what the caller itself may do */
};

struct cred {
	bool assumed;
	int error; /* 0, or -EPERM: this process may not become the caller; do nothing then */
};

/* DIR_FD: where something is created; a setgid directory makes supplementary groups matter. */
struct cred cred_assume(struct fs *fs, const struct fs_caller *c, int dir_fd,
			enum cred_rights rights);
void cred_restore(struct cred *c);
/* unused: clang does not count the cleanup as a use */
#define _cleanup_cred_ __attribute__((cleanup(cred_restore), unused))

#endif
