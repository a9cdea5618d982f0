/* SPDX-License-Identifier: GPL-2.0-or-later */
/* From a request to the function of fs/ that it means, on a thread that may do it. */
#ifndef CACHEFS_FUSE_DISPATCH_H
#define CACHEFS_FUSE_DISPATCH_H

#include "fuse/request.h"

/* What a thread does before a request of a kind may run on it. */
enum op_place {
	PLACE_HERE, /* never blocks */
	PLACE_DATA, /* may block: a lane of the pool, or here where the loop allows that */
	PLACE_FLUSH,
	PLACE_META,
	PLACE_CREDENTIALS /* as PLACE_META, but never on a loop's thread: takes on a caller's
			     identity */
};

struct opcode {
	uint32_t number;
	const char *name;
	enum op_place place;
	bool allocates; /* blocks of the backing, as the caller: fs_thread_allocator() */
	/* Executed twice, it would do another thing, or count twice: fs/once.h. It runs, and
	 * replies, on one thread that may block. */
	bool once;
	void (*run)(struct request *req);
};

/* NULL for one that is not served. */
const struct opcode *opcode_find(uint32_t number);

/* Takes REQ over. Called by the thread that received it. */
void fuse_dispatch(struct request *req);

/* ops_*.c */
void op_lookup(struct request *req);
void op_forget(struct request *req);
void op_batch_forget(struct request *req);
void op_getattr(struct request *req);
void op_statx(struct request *req);
void op_setattr(struct request *req);
void op_readlink(struct request *req);
void op_statfs(struct request *req);
void op_symlink(struct request *req);
void op_mknod(struct request *req);
void op_mkdir(struct request *req);
void op_unlink(struct request *req);
void op_rmdir(struct request *req);
void op_rename(struct request *req);
void op_rename2(struct request *req);
void op_link(struct request *req);
void op_open(struct request *req);
void op_create(struct request *req);
void op_tmpfile(struct request *req);
void op_release(struct request *req);
void op_read(struct request *req);
void op_write(struct request *req);
void op_fsync(struct request *req);
void op_fallocate(struct request *req);
void op_lseek(struct request *req);
void op_copy_file_range(struct request *req);
void op_copy_file_range_64(struct request *req);
void op_opendir(struct request *req);
void op_readdir(struct request *req);
void op_readdirplus(struct request *req);
void op_fsyncdir(struct request *req);
void op_getxattr(struct request *req);
void op_listxattr(struct request *req);
void op_setxattr(struct request *req);
void op_removexattr(struct request *req);
void op_ioctl(struct request *req);

#endif
