/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Inodes that the kernel knows of.
 *
 * A node is a record in the arena (what must outlive the process) and a private part. The kernel's
 * name for it is an id: index in the low half, generation in the high half; the root is 1. Hard
 * links are one node. A node lives as long as its references: lookups counted by the kernel,
 * children that name it as their parent, and holders inside.
 *
 * The kernel promises that an id in a request is alive until the request is answered, so a
 * node from node_get() needs no reference of its own during a request.
 *
 * Locks, in order: fs->tree (names and parents), a shard (hash, references, node->file),
 * fs->fds.lock (descriptors). None is held across a system call.
 */
#ifndef CACHEFS_FS_NODE_H
#define CACHEFS_FS_NODE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>
#include <uthash.h>

#include "fs/owes.h"

#define NODE_HANDLE_MAX 64 /* bytes; longer file handles are done without */
#define NODE_SHARDS 16
#define NODE_RUNTIME 0x80
#define NODE_ROOT_ID 1
/* Directories deep that a file may be found by name; a thread's stack has room for more. */
#define NODE_DEPTH_MAX 1000

struct file;
struct fs;

struct file_id;

/* What is known of a file that outlives the process (fs/shared.h). */
struct node_record {
	uint64_t dev, ino;
	uint64_t nlookup; /* shard; never less than the kernel's */
	int64_t btime_sec;
	uint32_t btime_nsec;
	uint32_t generation;
	uint32_t type;	    /* S_IFMT bits */
	uint32_t names;	    /* the first struct name_record, or 0. fs->tree */
	int32_t fd;	    /* O_PATH, + 1. fs->fds.lock */
	int32_t backing_id; /* as file->backing_id. file->lock; withdrawn with the shard's */
	/* file_mode_record(): the mode in force of the open file, or 0. file->lock */
	uint32_t mode;
	int32_t close_error; /* errno of the flush after a last close that failed. shard */
	int32_t error;	     /* errno that the open file has latched, or 0 */
	int32_t handle_type;
	uint16_t handle_len; /* 0: none */
	uint8_t in_use;	     /* node_record_in_use() */
	uint8_t runtime;  /* a mode set at run time: NODE_RUNTIME | switches_pack(), or 0. shard */
	uint8_t unlinked; /* a regular file without a name: not pinned. shard */
	uint8_t retained; /* no name leads to it any more: FD is kept. fs->fds.lock */
	uint8_t kernel_refused; /* as file->kernel_refused. file->lock */
	uint8_t holding;	/* a name of it is being removed: perhaps it is RETAINED */
	uint8_t sync_attr;	/* OWES_ATTR_. A CLAIM_GATE on the file's range */
	uint8_t flush_owed;	/* closed by the last writer, and not flushed yet */
	uint8_t handle[NODE_HANDLE_MAX];
	struct node_owes owes;
	/* A backing id that was withdrawn, until it is closed; or 0. Was padding (0) before */
	atomic_int closing_id;
};

/* It was published, and not withdrawn. */
static inline bool node_record_in_use(const struct node_record *r)
{
	return __atomic_load_n(&r->in_use, __ATOMIC_ACQUIRE);
}

/* There is, or was a moment ago, an open file that leaves something here. */
static inline bool node_was_open(const struct node_record *r)
{
	return r->mode || r->backing_id > 0 || atomic_load(&r->closing_id) ||
	       atomic_load(&r->owes.witness);
}

#define NAME_PART 48 /* bytes */

/* A name of a node, or a further part of a long one. */
struct name_record {
	uint64_t parent;      /* id of the directory */
	uint32_t next;	      /* another name of the node, or 0 */
	uint32_t part;	      /* the next part of this one, or 0 */
	char text[NAME_PART]; /* without a NUL where it is full */
};

struct node_key {
	uint64_t dev, ino;
};

/* One more name of a hard link, as seen. */
struct node_name {
	struct node *parent; /* holds a reference */
	char *name;
	struct node_name *next;
	uint32_t rec; /* its name_record; 0: there was no room for one */
};

struct node {
	UT_hash_handle hh;
	struct node_key key;
	struct node_record *rec;
	struct node *parent;	  /* fs->tree; holds a reference */
	char *name;		  /* fs->tree; in PARENT, as last seen */
	struct node_name *others; /* fs->tree; those seen before, while the file has several */
	uint32_t name_rec;	  /* fs->tree; NAME's name_record, as struct node_name's */
	struct file *file;	  /* shard; while it is open */
	struct node *lru_prev, *lru_next;
	uint64_t refs; /* shard */
	uint32_t index;
	uint32_t fd_users; /* fs->fds.lock */
	int fd;		   /* fs->fds.lock; O_PATH, or -1 */
	unsigned naming;   /* fs->unsafe's lock; it gets another name now */
	bool hashed;	   /* shard */
	bool pinned;	   /* shard; holds a reference, for rec->runtime or rec->close_error */
};

struct node_shard {
	pthread_mutex_t lock;
	struct node *hash;
};

/* O_PATH descriptors of nodes: kept up to a budget, the least recently used one closed first. */
struct node_fds {
	pthread_mutex_t lock;
	struct node *lru; /* open and without users, oldest first */
	uint32_t open, budget;
};

/* Takes ownership of FD, an O_PATH descriptor of the root. 0 or a negative errno. */
int node_root_create(struct fs *fs, int fd);
/*
 * The same for what an earlier process left in fs->shared; nodes_rebuild_end() when the handles
 * have their references, for nodes that nobody refers to. No other thread is there yet.
 */
int nodes_rebuild(struct fs *fs, int fd);
void nodes_rebuild_end(struct fs *fs);
void node_table_destroy(struct fs *fs);

uint64_t node_id(const struct node *n);
/* What names its file for good; len 0 where there are no file handles. */
void node_file_id(const struct node *n, struct file_id *id);
/* NULL when ID is not (any more) that of a node: answer ESTALE. */
struct node *node_get(struct fs *fs, uint64_t id);

/*
 * The node of the file that FD (O_PATH; always consumed) is open on, with one lookup more.
 * NULL: no memory, or no free record.
 */
struct node *node_lookup(struct fs *fs, struct node *parent, const char *name, int fd,
			 const struct statx *st);
/* Gives N lookups back. */
void node_forget(struct fs *fs, struct node *n, uint64_t count);
/* From another reference only, or with fs->tree held from a child's parent. */
void node_ref(struct fs *fs, struct node *n);
void node_unref(struct fs *fs, struct node *n);

/*
 * N was seen as NAME in PARENT; besides its other names where it has SEVERAL. Has it other names
 * than before, so that rules may say something else (fs_mode_renamed())?
 */
bool node_named(struct fs *fs, struct node *n, struct node *parent, const char *name, bool several);
/* N, which was NAME in FROM, is NEWNAME in TO. */
void node_moved(struct fs *fs, struct node *n, struct node *from, const char *name, struct node *to,
		const char *newname);
/* N has lost a name. */
void node_unnamed(struct fs *fs, struct node *n, struct node *parent, const char *name);
/*
 * Paths under the mount of all the names that N was seen by, each with a NUL, an empty one at the
 * end; to be freed. NULL: no memory. The root has none.
 */
char *node_paths(struct fs *fs, struct node *n);

/*
 * A mode until the unmount (NODE_RUNTIME | switches_pack()), or 0: none. N stays known with it
 * while a name leads to its file.
 */
void node_set_runtime(struct fs *fs, struct node *n, uint8_t runtime);
/* errno of a flush in the background that failed, or 0: forgotten. N stays known with it. What
 * it was before. */
int node_set_error(struct fs *fs, struct node *n, int error);
/* The last name of N, a regular file, is gone: it is forgotten with its last user, whatever mode
 * was set. */
void node_unlinked(struct fs *fs, struct node *n);
/* The node of the file KEY with a reference, or NULL when the kernel has none. */
struct node *node_find_key(struct fs *fs, const struct node_key *key);
/* The same of what is at NAME in PARENT_FD, which goes to SEEN (NULL: not wanted; ino 0: none). */
struct node *node_find(struct fs *fs, int parent_fd, const char *name, struct node_key *seen);

struct node_shard *node_shard(struct fs *fs, const struct node *n);

/* An O_PATH descriptor in use; put it back with path_fd_put(). */
struct path_fd {
	struct fs *fs;
	struct node *node;
	int fd;
};

/* 0, or a negative errno: -ESTALE when the file cannot be found again. */
int path_fd_get(struct fs *fs, struct node *n, struct path_fd *out);
void path_fd_put(struct path_fd *p);
#define _cleanup_path_ __attribute__((cleanup(path_fd_put)))
#define PATH_FD_NONE                                                                               \
	{                                                                                          \
		NULL, NULL, -1                                                                     \
	}

/* N (or NULL), whose reference is consumed, may lose a name: its descriptor stays open until
 * node_name_lost(). */
struct path_fd node_hold(struct fs *fs, struct node *n);
/* It did if LOST, in PARENT; from now on it is kept usable without that name. HELD is put back. */
void node_name_lost(struct path_fd *held, struct node *parent, const char *name, bool lost);

/* For node.c: frees a list of names, and gives the references to their parents back. */
void node_names_free(struct fs *fs, struct node_name *list);
/* For node_rebuild.c: gives N, which has none yet, the names that its record has. */
void node_names_rebuild(struct fs *fs, struct node *n);
/* name_record.c, for node_name.c. A record of NAME in PARENT (an id), or 0: there is no room. */
uint32_t name_record_make(struct fs *fs, uint64_t parent, const char *name);
void name_record_free(struct fs *fs, uint32_t index);
/*
 * Takes a record that an earlier process left, with its parts, into use: the name to be freed, and
 * *R points to it. NULL: it cannot be, or no memory.
 */
char *name_record_claim(struct fs *fs, uint32_t index, const struct name_record **r);
/* With fs->tree held: the record of N has the names that N has. */
void name_records_publish(struct fs *fs, struct node *n);
/* For node.c and node_rebuild.c. */
struct node_shard *node_shard_of(struct fs *fs, const struct node_key *k);
void node_pin_or_not(struct node *n); /* with the shard's lock held */
void node_free(struct fs *fs, struct node *n);
void node_table_init(struct fs *fs);
/* With fs->fds.lock held: may N's descriptor be closed by who needs another one? */
bool path_fd_listed(const struct node *n);
/* For node.c: closes what N holds. */
void path_fd_drop(struct fs *fs, struct node *n);
/* For node.c: gives FD to N (which has none yet), taking its ownership. */
void path_fd_install(struct fs *fs, struct node *n, int fd);
/* For node.c: reads FD's file handle into R, where there are file handles. */
void node_handle_read(struct fs *fs, int fd, struct node_record *r);

#endif
