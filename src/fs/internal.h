/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the files of fs/ share. */
#ifndef CACHEFS_FS_INTERNAL_H
#define CACHEFS_FS_INTERNAL_H

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>

#include "base/util.h"
#include "durability/private_dir.h"
#include "durability/sync_attr.h"
#include "fs/checkpointer.h"
#include "fs/fs.h"
#include "fs/handle.h"
#include "fs/node.h"
#include "fs/unsafe.h"
#include "fs/report.h"
#include "fs/shared.h"

#define STATX_WANTED (STATX_BASIC_STATS | STATX_BTIME)

struct fs {
	struct fs_config config;
	struct fs_shared *shared; /* config.shared, or our own (OWN_SHARED) */
	bool own_shared;
	struct arena *nodes, *names, *handles;
	struct node_shard shards[NODE_SHARDS];
	struct node_fds fds;
	struct fs_owes *owes;	   /* of shared */
	atomic_bool resuming;	   /* what is owed since then is being seen to (resume.c) */
	struct pool_job pages_job; /* resume.c's own */
	atomic_bool ask_witness;   /* what the process before us may have been told by syncfs(2) */
	struct private_dir *own;   /* the one of this process for the backing directory */
	_Atomic(struct sync_attr *) sync_attr; /* NULL: not needed yet; fs_sync_attr() */
	struct iolock sync_attr_turn;
	struct sweep *sweep;	    /* NULL: nobody changes files behind the mount */
	pthread_mutex_t tree;	    /* node->parent, node->name, node->others */
	pthread_mutex_t rules_lock; /* rules, the pointer */
	struct rules *rules;
	struct budget_limits limits; /* of files to which no rule gives other ones. rules_lock */
	struct budget *budget;
	atomic_uint mode_epoch;	   /* counts changes of what modes are made from */
	atomic_bool modes_by_root; /* only root may set modes */
	struct iolock changes;	   /* one change of modes at a time; before a file's range */
	atomic_bool flush_on_close;
	struct checkpointer *checkpointer;
	struct unsafe *unsafe;
	struct node *root;
	struct reports reports;
	bool ending; /* fs_destroy() closes what is still open; no thread but its own is left */
	int root_fd; /* readable, for file handles, syncfs(2) and statfs(2) */
	int proc_fd; /* /proc/self/fd */
	uint64_t root_dev;
	pthread_mutex_t backing_lock; /* one registration of the kernel path at a time */
	/* Switches of the mount, packed (switches_pack()) so that they change at once. */
	atomic_uint switches;
	atomic_bool written; /* something may have to be flushed at the end; never cleared */
};

/* Opens the file that PATH_FD is open on, with FLAGS. A descriptor or a negative errno. */
int fs_reopen(struct fs *fs, int path_fd, int flags);
/* "/proc/self/fd/N", for calls that know only paths. */
struct fd_path {
	char s[32];
};
struct fd_path fs_fd_path(int fd);
/* One statx(2) of an O_PATH or other descriptor. */
int fs_statx_fd(int fd, struct statx *st);
/* Inode numbers of other subvolumes (btrfs) are kept apart from the root's. */
void fs_fix_ino(struct fs *fs, struct statx *st);

/* budget.c: the limits that hold for N. May block. */
void fs_limits_of(struct fs *fs, struct node *n, struct budget_limits *out);
/* F's names, rules, mode or writers have changed: its limits follow. May block. */
void file_limits_update(struct fs *fs, struct file *f);
void file_limits_apply(struct fs *fs, struct file *f);
/* With F->lock held: must its writers be held up, so that the daemon must serve it? */
bool file_holds_writers(const struct file *f);
/*
 * owes.c: what a successor has to know of F. With the shard's lock: F is its node's open file from
 * now on, or is it no more (a descriptor to be closed, or -1). And, of one that nobody else knows:
 * a worker before us had it open, its latched error is F's.
 */
void owes_opened(struct file *f);
int owes_closed(struct file *f);
void owes_recall(struct file *f);

/*
 * backing_id.c. With F->lock held: registers FD, an open of N by UID, with the kernel. An id > 0,
 * or a negative errno. And, when the kernel has no open of F: the next one decides anew whether it
 * is on the kernel path.
 */
int backing_id_open(struct fs *fs, struct node *n, int fd, uid_t uid);
void backing_id_forget(struct fs *fs, struct file *f);
/*
 * F is its node's open file no more, with the shard's lock: the id that backing_id_close() has to
 * close without it, or 0. From then on the record is that of who opens the node next.
 */
int backing_id_withdraw(struct file *f);
void backing_id_close(struct fs *fs, struct node *n, int id);
/* Closes what a worker before us had withdrawn, and perhaps not closed. */
void backing_id_resume(struct fs *fs, struct node *n);

/* The plan for one more open of F. With F->lock held. */
struct plan file_plan_open(const struct fs *fs, const struct file *f, struct switches sw,
			   int client_flags);

/* switch.c: the plan of an open H of F in another mode; what the kernel was told stays. */
struct plan handle_replan(const struct fs *fs, const struct file *f, struct switches sw,
			  const struct handle *h);

/* The plan for one more open of a file with switches SW. */
struct plan fs_plan(const struct fs *fs, struct switches sw, int client_flags);
/* The mode that N has when nobody has it open. May block. */
struct file_mode fs_mode_of(struct fs *fs, struct node *n);
/* May UID decide about files of OWNER, as modes-by says? */
bool fs_may_set_modes(struct fs *fs, uid_t uid, uid_t owner);
/* What N's mode is made from has changed: as file_update(), or for a closed file. */
int fs_mode_apply(struct fs *fs, struct node *n);
/* Names of N, or above its files, have changed. */
void fs_mode_renamed(struct fs *fs, struct node *n);
/* How durability/sync_attr.h knows the file of R. */
static inline uint64_t node_attr_name(const struct node_record *r)
{
	return r->ino ^ r->dev << 40;
}
/* Takes what is needed to use sync attributes, once. A negative errno: -EBUSY, another mount. */
int fs_sync_attr(struct fs *fs, struct sync_attr **out);
/* NAME in PARENT_FD (O_PATH) as an O_PATH descriptor, never beyond the backing mount. */
int fs_open_beneath(struct fs *fs, int parent_fd, const char *name);
/* syncfs(2) of the backing filesystem; its first error stays. 0 or a negative errno. */
int fs_sync_backing(struct fs *fs);
/* Is NAME in directory DIR that of our own directory, which clients neither see nor make? */
bool fs_private_name(const struct fs *fs, const struct node *dir, const char *name);
/*
 * The path under the mount of N, on which the caller has a reference, as it was last seen there:
 * without a leading slash, "" for the root. Its length, or -ENOENT for a file without a name
 * (O_TMPFILE; one that was unlinked keeps its last one), or -ENAMETOOLONG. Does not block.
 */
int fs_node_path(struct fs *fs, struct node *n, char *buf, size_t size);
/* Names changed in DIR_FD (O_PATH): on stable storage with SYNC. */
int fs_sync_dir(struct fs *fs, int dir_fd, bool sync);
/* The same at the end of a request that may come again: an error is kept with it. */
int fs_sync_dir_once(struct fs *fs, int dir_fd, bool sync);
/*
 * The thread's request owes a sync (OWED), which succeeded: when the request came again, a dead
 * worker may have been told the error instead, and the backing's own record of errors has it.
 */
int fs_sync_again(struct fs *fs, bool owed);
/* Must changes of the names of N (NULL: unknown) be on stable storage? May block. */
bool fs_names_sync(struct fs *fs, struct node *n);

/* The common part of everything that ends in an entry. FD (O_PATH) is consumed. */
int fs_entry_from_fd(struct fs *fs, struct node *parent, const char *name, int fd,
		     struct fs_entry *e);
/* Looks NAME up and makes its entry. */
int fs_entry_lookup(struct fs *fs, struct node *parent, int parent_fd, const char *name,
		    struct fs_entry *e);

#endif
