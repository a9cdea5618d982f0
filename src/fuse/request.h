/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One request from its arrival to its reply.
 *
 * It has one owner at any time: the transport that read it, then the dispatcher, then whichever
 * thread executes it. Replying gives it back to the transport; it must not be touched afterwards.
 */
#ifndef CACHEFS_FUSE_REQUEST_H
#define CACHEFS_FUSE_REQUEST_H

#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "fs/fs.h"
#include "fs/once.h"
#include "fuse/abi.h"
#include "loop/pool.h"

struct session;
struct request;
struct opcode;

/* What a transport does for a request; any thread. */
struct request_ops {
	/* IOV[0] is the fuse_out_header. 0 or a negative errno; -ENOENT: the client is gone. */
	int (*send)(struct request *req, const struct iovec *iov, int n);
	/* The request is over; its memory may be used for another one. */
	void (*release)(struct request *req);
};

struct request {
	const struct request_ops *ops;
	struct session *session;
	struct loop *loop;	   /* of the thread that dispatches it, else NULL */
	struct fuse_in_header *in; /* LEN bytes, arguments behind the header */
	size_t len;
	/* Page-aligned; a WRITE's data starts here. Of session->max_write bytes and FS_READ_SLACK
	 * more; replies may be built in it once the arguments that reach into it are used. */
	uint8_t *payload;
	const struct opcode *op;
	struct pool_job job;
	struct once once; /* of an operation with opcode.once, while it runs */
	struct fs_io io;
	void *transport; /* the transport's own */
	int reply_fd;	 /* the transport's own */
};

#endif
