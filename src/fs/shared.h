/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What of the fs outlives the process that serves: records of nodes, names and handles, the journal
 * of requests, and a page of state; all of it in memory that supervisor and workers share, made by
 * the supervisor before the first worker is there, at the same addresses in all of them.
 *
 * A worker may be killed between any two instructions. So a record is published by one store, last,
 * and withdrawn by one, first; and it holds neither pointers nor locks. The descriptors that are
 * recorded stay open (the processes share one table), a record is withdrawn before its descriptor
 * is closed; what is open and not recorded is closed by the next worker.
 */
#ifndef CACHEFS_FS_SHARED_H
#define CACHEFS_FS_SHARED_H

#include <stdatomic.h>
#include <stdint.h>

#include "fs/owes.h"

struct arena_memory;
struct journal;

/* One writer at a time for each field, or atomic. */
struct fs_state {
	atomic_uint generation;	    /* of the last node or handle that was made */
	atomic_int sync_error;	    /* errno of the first syncfs(2) of the backing that failed */
	atomic_int last_backing_id; /* the newest one that was recorded with its file */
	/* durability/private_dir.c's descriptor of the lock that it holds + 1, and of how many */
	atomic_int private_lock_fd;
	struct fs_owes owes;
};

struct fs_shared {
	struct arena_memory *nodes, *names, *handles;
	struct journal *journal;
	struct fs_state *state;
};

/* 0 or a negative errno. */
int fs_shared_create(struct fs_shared **out);
void fs_shared_destroy(struct fs_shared *s);
/* All descriptors that are recorded: of nodes, handles, the lock, and the memory itself. */
void fs_shared_each_fd(const struct fs_shared *s, void (*keep)(void *arg, int fd), void *arg);

#endif
