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
 *
 * Records keep a descriptor as its number + 1, so that 0 means none.
 */
#ifndef CACHEFS_FS_SHARED_H
#define CACHEFS_FS_SHARED_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "fs/owes.h"

struct arena_memory;
struct journal;

/* Counts changes of what the records mean that their sizes do not show. */
#define FS_SHARED_VERSION 1
/* Bytes; the longest that fs_shared_describe() writes. */
#define FS_SHARED_TEXT 512

/* One writer at a time for each field, or atomic. */
struct fs_state {
	atomic_uint generation;	    /* of the last node or handle that was made */
	atomic_int sync_error;	    /* errno of the first syncfs(2) of the backing that failed */
	atomic_int last_backing_id; /* the newest one that was recorded with its file */
	/* durability/private_dir.c's descriptor of the lock that it holds + 1, and of how many */
	atomic_int private_lock_fd;
	/* Of the backing directory, readable: syncfs(2) reports an error once a descriptor. + 1 */
	atomic_int root_fd;
	struct fs_owes owes;
};

struct fs_shared {
	struct arena_memory *nodes, *names, *handles;
	struct journal *journal;
	struct fs_state *state;
	struct arena_memory *state_memory; /* its one record is STATE */
};

/* 0 or a negative errno. */
int fs_shared_create(struct fs_shared **out);
/* Unmapped and closed here; the descriptors that are recorded stay open. NULL does nothing. */
void fs_shared_destroy(struct fs_shared *s);
/* All descriptors that are recorded: of nodes, handles, the lock, and the memory itself. */
void fs_shared_each_fd(const struct fs_shared *s, void (*keep)(void *arg, int fd), void *arg);

/* Those of the memory alone. */
void fs_shared_each_memory(const struct fs_shared *s, void (*fn)(void *arg, int fd), void *arg);

/*
 * For another program that this process will become by execve(2): where the memory is and what it
 * looks like, as one line of text. Its length, or -ENOSPC.
 */
int fs_shared_describe(const struct fs_shared *s, char *text, size_t size);
/*
 * What TEXT describes, at whatever addresses. -EPROTO: it cannot be understood by this program; WHY
 * (a part of a sentence, without a stop) says what differs, and nothing has changed. Or a negative
 * errno.
 */
int fs_shared_adopt(const char *text, struct fs_shared **out, char *why, size_t why_size);

#endif
