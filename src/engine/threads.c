/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <sys/uio.h>

#include "base/util.h"
#include "engine/engine.h"

ssize_t engine_pread_full(int fd, uint8_t *buf, size_t len, uint64_t off, int *error)
{
	size_t got = 0;

	while (got < len) {
		ssize_t n = pread(fd, buf + got, len - got, (off_t)(off + got));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && error)
			*error = -errno;
		if (n < 0)
			return got ? (ssize_t)got : -errno;
		if (n == 0)
			break;
		got += (size_t)n;
	}
	return (ssize_t)got;
}

ssize_t engine_pwrite_full(int fd, const uint8_t *buf, size_t len, uint64_t off, int rwf)
{
	size_t put = 0;

	while (put < len) {
		struct iovec iov = {(void *)(uintptr_t)(buf + put), len - put};
		ssize_t n = pwritev2(fd, &iov, 1, (off_t)(off + put), rwf);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return put ? (ssize_t)put : n ? -errno : 0;
		put += (size_t)n;
	}
	return (ssize_t)put;
}

int engine_fsync(int fd, bool datasync)
{
	return sysret(datasync ? fdatasync(fd) : fsync(fd));
}

static void read_now(struct engine_io *io)
{
	io->done(io, engine_pread_full(io->fd, io->buf, io->len, io->off, &io->error));
}

static void read_job(struct pool_job *job)
{
	read_now(container_of(job, struct engine_io, job));
}

static void threads_read(struct engine_io *io)
{
	struct loop *loop = io->loop;

	if (!loop) {
		read_now(io);
	} else if (loop_block_begin(loop)) {
		read_now(io); /* IO may be gone now */
		loop_block_end(loop);
	} else {
		io->job = (struct pool_job){.run = read_job, .key = io->key, .lane = LANE_DATA};
		pool_submit(io->pool, &io->job);
	}
}

const struct engine engine_threads = {
    .name = "threads",
    .read = threads_read,
    .write = engine_pwrite_full,
    .sync = engine_fsync,
};
