/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <liburing.h>

#include "base/util.h"
#include "engine/engine.h"

static void read_done(struct ring_op *op, int result);

/* The rest of IO into the ring; false when there is no place in it. */
static bool read_submit(struct engine_io *io)
{
	struct io_uring_sqe *sqe = loop_sqe(io->loop, &io->op);
	size_t rest = io->len - io->got;

	if (!sqe)
		return false;
	io->op.done = read_done;
	io_uring_prep_read(sqe, io->fd, io->buf + io->got, (unsigned)rest, io->off + io->got);
	/* prep clears user_data in some versions of liburing */
	io_uring_sqe_set_data(sqe, &io->op);
	return true;
}

static void read_done(struct ring_op *op, int result)
{
	struct engine_io *io = container_of(op, struct engine_io, op);

	if (result > 0)
		io->got += (size_t)result;
	/* a short read is the end of the file, or not: only another read tells */
	if ((result > 0 && io->got < io->len) || result == -EINTR || result == -EAGAIN) {
		if (read_submit(io))
			return;
		result = -ENOMEM;
	}
	if (result < 0)
		io->error = result;
	io->done(io, io->got || result >= 0 ? (ssize_t)io->got : result);
}

static void uring_read(struct engine_io *io)
{
	io->got = 0;
	if (!io->loop || !read_submit(io))
		engine_threads.read(io);
}

const struct engine engine_uring = {
    .name = "uring",
    .needs_ring = true,
    .read = uring_read,
    .write = engine_pwrite_full,
    .sync = engine_fsync,
};
