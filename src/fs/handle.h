/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Open files: a `struct file` for an inode while anyone has it open, a `struct handle` for each
 * open.
 *
 * A handle from handle_get() needs no reference: the kernel releases it after all its requests.
 * plan and fd flags of a handle change only while its file's range lock is held by a CLAIM_GATE,
 * and its file's lock by the same thread; reads and writes hold a claim, everything else takes a
 * snapshot of the plan (handle_plan()).
 */
#ifndef CACHEFS_FS_HANDLE_H
#define CACHEFS_FS_HANDLE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

#include "cachefs.h"
#include "durability/budget.h"
#include "durability/flush.h"
#include "fs/lock.h"
#include "fs/node.h"
#include "observe/stats.h"
#include "policy/plan.h"

struct checkpoint_gate;

/* A mode, and where it comes from. */
struct file_mode {
	struct switches switches;
	enum cachefs_origin origin;
};

struct file {
	struct node *node;
	struct path_fd path; /* keeps the node's descriptor open */
	struct iolock range;
	struct flush_state flush;
	struct file_stats stats;
	pthread_mutex_t lock; /* handles, backing_id */
	struct handle *handles;
	/*
	 * In force for all its handles, and what comes next: another one while handles on the
	 * kernel path cannot follow. lock
	 */
	struct file_mode mode, wanted;
	struct budget_limits limits;  /* of its names' rules and the mount. lock */
	struct budget_limits applied; /* of LIMITS, what is in force. lock */
	/* NULL until it needs one: cached, with limits, open for writing. Set once, with lock. */
	_Atomic(struct budget_file *) budget;
	bool sync_attr;		 /* we set the inode's sync attribute; a CLAIM_GATE on range */
	bool owed;		 /* file_update_soon() has yet to flush; a CLAIM_GATE on range */
	unsigned opens;		 /* the node's shard */
	unsigned unsafe_writers; /* handles that are `unsafe`; fs->unsafe's lock */
	atomic_uint flushing;	 /* closed by the last writer, and not flushed yet */
	atomic_uint epoch;	 /* counts changes of plans */
	atomic_bool direct;	 /* as the plans of its handles have it; changes before EPOCH */
	atomic_bool sweeping;	 /* sweep.c: its pages will go */
	/* Not 0: the kernel may hold pages of its own (splice, mmap); counts reads into them */
	atomic_ullong fuse_pages;
	/*
	 * Of the kernel path: > 0 the backing id, < 0 why there is none, 0 not tried; settled by
	 * the first open and the same for all, since the kernel takes no mixture. lock
	 */
	int backing_id;
	bool kernel_refused; /* lock; it was tried, and did not become one */
	/* Of checkpointer.c: the state of the last one, when it was taken (0: none is known) */
	struct timespec checkpoint_mtime;
	time_t checkpoint_taken;
	atomic_bool checkpointing;
	/* NULL: the file is cloned at once. Set once, with the first writer; no kernel path then.
	 */
	_Atomic(struct checkpoint_gate *) gate;
	int dio_error;		      /* 0, or why there is no direct I/O on this file */
	uint32_t dio_offset, dio_mem; /* alignment of direct I/O, bytes */
};

enum handle_state {
	HANDLE_FREE,
	HANDLE_MADE, /* not told to the kernel: a successor closes it, and the open comes again */
	HANDLE_PUBLISHED /* perhaps told to the kernel */
};

/* What is known of an open that outlives the process (fs/shared.h). */
struct handle_record {
	uint64_t node;	 /* id; or that of a report */
	uint64_t unique; /* of the request that made it, 0: not known. once.h */
	uint32_t generation;
	int32_t client_flags;
	int32_t pid; /* of who opened it; 0: not in our pid namespace */
	int32_t fd;  /* + 1. A report's is a memfd with its text */
	/* As told to the kernel */
	int32_t backing_id; /* or 0 */
	uint8_t kernel, fopen_direct_io;
	uint8_t state;	 /* enum handle_state */
	uint32_t unsafe; /* may leave data unflushed, as the marker says; fs->unsafe's lock */
};

static inline enum handle_state handle_record_state(const struct handle_record *r)
{
	return (enum handle_state)__atomic_load_n(&r->state, __ATOMIC_ACQUIRE);
}

static inline bool handle_record_published(const struct handle_record *r)
{
	return handle_record_state(r) == HANDLE_PUBLISHED;
}

struct handle {
	struct handle_record *rec;
	struct file *file;     /* NULL: a directory, or a report */
	struct report *report; /* NULL: a file or a directory; owned */
	struct handle *prev, *next;
	struct plan plan;
	uint32_t index;
	int fd;
	bool can_read, can_write;
	bool unsafe;	  /* may leave data unflushed; fs->unsafe's lock */
	int backing_id;	  /* the file's, as told to the kernel with this open, or 0 */
	uint64_t dir_pos; /* directory: where the descriptor stands */
};

struct handle *handle_get(struct fs *fs, uint64_t fh);
uint64_t handle_id(const struct handle *h);

/* Who opens a file. */
struct opener {
	uid_t uid; /* allocates blocks on the kernel path */
	pid_t pid;
};

/* Directories: takes ownership of FD, also on failure. */
int handle_create_dir(struct fs *fs, struct node *n, int fd, struct handle **out);
/*
 * One more open of N, by FD, a descriptor of it without O_DIRECT; ownership as above. The plan that
 * it gets is that of the file's mode. -EOPNOTSUPP: a mode that its filesystem cannot serve.
 */
int handle_create_file(struct fs *fs, struct node *n, int fd, int client_flags, struct opener by,
		       struct handle **out);
/* Takes ownership of R, and of FD (or -1), on success. ID: the report's. */
int handle_create_report(struct fs *fs, uint64_t id, struct report *r, int fd, pid_t pid,
			 struct handle **out);
/*
 * All that the open needs is done, and it will be answered: from now on a successor has the handle,
 * also for the same request when that comes again.
 */
void handle_publish(struct handle *h);
void handle_destroy(struct fs *fs, struct handle *h);
/*
 * Before somebody else gets H's descriptor, and closes it while H is still known: a successor must
 * not take what has this number then for H's. What is owed to the file is recorded before.
 */
void handle_give_fd(struct handle *h);
/*
 * The handle that the request that this thread executes made before, in a process that was killed,
 * for an open of ID (0: of whatever): it is to be answered from that. NULL: there is none.
 */
struct handle *handle_of_request(struct fs *fs, uint64_t id);

/*
 * The handles that an earlier process left, with their files, as the kernel was told. After
 * nodes_rebuild(); no other thread is there yet. 0 or a negative errno.
 */
int handles_rebuild(struct fs *fs);
/* What of them needs the rest of the fs. */
void handles_resume(struct fs *fs);

/* The plan of an open file's handle as it is now, without a claim on the file. Any thread. */
struct plan handle_plan(struct handle *h);

/* Sets or clears O_DIRECT of the descriptor. No I/O on it may be running. 0 or a negative errno. */
int handle_apply_direct(struct handle *h, bool direct);

/*
 * Sets or removes the inode's sync attribute as the kernel path of F's handles needs it now. By who
 * owns a CLAIM_GATE of all of F->range. 0 or a negative errno.
 */
int file_sync_update(struct fs *fs, struct file *f);
/* Does the kernel path of F's handles need the attribute now? */
bool file_needs_attr(struct file *f);

/*
 * What F's mode is made from may have changed: it gets the mode that it should have, with its open
 * handles, and returns when what was written before is as the mode promises. 0, -EBUSY: a handle
 * cannot follow, it is pending; or the flush's error. By threads that may wait for I/O.
 */
int file_update(struct fs *fs, struct file *f, bool *switched);
/* As file_update(), but what was written before is flushed later. Takes over one open of F. */
void file_update_soon(struct fs *fs, struct file *f);
/* What is owed for the mode in force since before a resume is flushed later; ownership as above. */
void file_barrier_soon(struct fs *fs, struct file *f);

/* With F->lock held, or of an F that nobody else knows: a successor has F->mode and F->owed. */
void file_mode_record(struct file *f);
/* The same from the record. False: it has none, and F is left alone. */
bool file_mode_recall(struct file *f);
/* F's dio_error, dio_offset and dio_mem from the record; as above. */
bool file_dio_recall(struct file *f);
/*
 * For handle_rebuild.c: N's, with one open, that nobody knows of. RECALL: what a process before us
 * noted of it is not asked for again, which takes system calls. NULL: no memory, no descriptor.
 */
struct file *file_new(struct fs *fs, struct node *n, bool recall);
/*
 * N's, which a process before us had open, as it was there; with no open. FD: of one of its opens,
 * for a file that cannot be found any more, as one without a name; or -1. NULL as above.
 */
struct file *file_rebuild(struct fs *fs, struct node *n, int fd);

/* The node's open file with one open more that file_put() gives back, or NULL when it is closed. */
struct file *file_find(struct fs *fs, struct node *n);
/* The same, open with that where it was closed. NULL: no memory, no descriptor. */
struct file *file_open(struct fs *fs, struct node *n);
void file_put(struct fs *fs, struct file *f);

/*
 * file.c: a descriptor for FLAGS of what PATH_FD is open on; one for writing is readable as well
 * where that is possible. Or a negative errno.
 */
int file_reopen(struct fs *fs, int path_fd, int flags);

/* files.c */
struct open_files {
	struct file **files;
	size_t count;
};

/* All open files, each with one open more. 0 or -ENOMEM. */
int fs_open_files(struct fs *fs, struct open_files *out);
void fs_open_files_put(struct fs *fs, struct open_files *all);

#endif
