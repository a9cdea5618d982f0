/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What checkpointer.c and checkpointer_rollback.c share. */
#ifndef CACHEFS_FS_CHECKPOINTER_INTERNAL_H
#define CACHEFS_FS_CHECKPOINTER_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "durability/checkpoint.h"
#include "fs/checkpointer.h"

struct checkpointer {
	struct fs *fs;
	struct checkpoints *store; /* NULL until it is needed; lock */
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	unsigned seconds;
	unsigned taking;    /* jobs on their way */
	atomic_bool warned; /* that space is short; until it is not */
	atomic_bool any;    /* there may be checkpoints in our directory */
	bool look_soon;	    /* the thread's own */
	bool resumed;	    /* what a process before us has left is not collected yet */
	bool running, stop;
};

/* The store, made when it is first needed: that makes us the owner of our directory. */
int checkpointer_store(struct checkpointer *c, struct checkpoints **out);

#endif
