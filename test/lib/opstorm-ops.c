/* SPDX-License-Identifier: GPL-2.0-or-later */
/* opstorm: the operations. Each does the same on either side; short transfers are continued. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>
#include "opstorm.h"

#define MAX_PARTS 5

static int fd_of(const struct worker *w, const struct op *op, enum side side)
{
	return side == TARGET && op->direct ? w->direct : w->fd[side];
}

void op_data(const struct op *op, char *buf)
{
	uint64_t x = op->salt | 1;

	for (size_t i = 0; i < op->len; i += 8) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		memcpy(buf + i, &x, op->len - i < 8 ? op->len - i : 8);
	}
}

/* A write of nothing would loop for ever: EIO. */
static ssize_t write_all(int fd, const char *buf, size_t len, off_t off, int flags)
{
	size_t done = 0;

	while (done < len) {
		struct iovec iov = {(void *)(uintptr_t)(buf + done), len - done};
		ssize_t n = off < 0 ? write(fd, iov.iov_base, iov.iov_len)
				    : pwritev2(fd, &iov, 1, off + (off_t)done, flags);

		if (!n)
			errno = EIO;
		if (n <= 0)
			return -1;
		done += (size_t)n;
	}
	return (ssize_t)len;
}

static ssize_t run_read(struct worker *w, const struct op *op, enum side side)
{
	return pread(fd_of(w, op, side), w->buf[side], op->len, (off_t)op->off);
}

static ssize_t run_write(struct worker *w, const struct op *op, enum side side)
{
	op_data(op, w->buf[side]);
	return write_all(fd_of(w, op, side), w->buf[side], op->len, (off_t)op->off, 0);
}

static ssize_t run_dsync(struct worker *w, const struct op *op, enum side side)
{
	op_data(op, w->buf[side]);
	return write_all(fd_of(w, op, side), w->buf[side], op->len, (off_t)op->off,
			 side == TARGET ? RWF_DSYNC : 0);
}

static ssize_t run_append(struct worker *w, const struct op *op, enum side side)
{
	op_data(op, w->buf[side]);
	return write_all(w->append[side], w->buf[side], op->len, -1, 0);
}

/* Uneven parts, but multiples of a page where the request must stay aligned. */
static int parts_of(const struct op *op, char *buf, struct iovec *iov)
{
	size_t unit = op->direct && set.direct == 2 ? PAGE : 1, done = 0;
	int n = 0;

	while (done < op->len) {
		size_t part = (op->salt >> (n * 8)) % (op->len / 2 + 1) / unit * unit + unit;

		if (n == MAX_PARTS - 1 || part > op->len - done)
			part = op->len - done;
		iov[n].iov_base = buf + done;
		iov[n++].iov_len = part;
		done += part;
	}
	return n;
}

static ssize_t run_readv(struct worker *w, const struct op *op, enum side side)
{
	struct iovec iov[MAX_PARTS];

	return preadv(fd_of(w, op, side), iov, parts_of(op, w->buf[side], iov), (off_t)op->off);
}

static ssize_t run_writev(struct worker *w, const struct op *op, enum side side)
{
	struct iovec iov[MAX_PARTS];
	ssize_t n;

	op_data(op, w->buf[side]);
	n = pwritev(fd_of(w, op, side), iov, parts_of(op, w->buf[side], iov), (off_t)op->off);
	if (n <= 0 || (size_t)n == op->len)
		return n;
	if (write_all(w->fd[side], w->buf[side] + n, op->len - (size_t)n, (off_t)op->off + n, 0) <
	    0)
		return -1;
	return (ssize_t)op->len;
}

static ssize_t run_truncate(struct worker *w, const struct op *op, enum side side)
{
	return ftruncate(w->fd[side], (off_t)op->len);
}

static char *map_pages(int fd, const struct op *op, size_t *skip)
{
	*skip = op->off % PAGE;
	return mmap(NULL, op->len + *skip, PROT_READ | PROT_WRITE, MAP_SHARED, fd,
		    (off_t)(op->off - *skip));
}

static ssize_t run_map_read(struct worker *w, const struct op *op, enum side side)
{
	size_t skip;
	char *map = map_pages(w->fd[side], op, &skip);

	if (map == MAP_FAILED)
		return -1;
	memcpy(w->buf[side], map + skip, op->len);
	munmap(map, op->len + skip);
	return (ssize_t)op->len;
}

/* Half of them leave the write-back to munmap, most others do not wait for the disk either. */
static ssize_t run_map_write(struct worker *w, const struct op *op, enum side side)
{
	size_t skip;
	char *map = map_pages(w->fd[side], op, &skip);
	int ret = 0;

	if (map == MAP_FAILED)
		return -1;
	op_data(op, w->buf[side]);
	memcpy(map + skip, w->buf[side], op->len);
	if (side == TARGET && op->salt & 0x100)
		ret = msync(map, op->len + skip, op->salt & 0x1e00 ? MS_ASYNC : MS_SYNC);
	munmap(map, op->len + skip);
	return ret ? -1 : (ssize_t)op->len;
}

static ssize_t allocate(struct worker *w, const struct op *op, enum side side, int mode)
{
	return fallocate(w->fd[side], mode, (off_t)op->off, (off_t)op->len);
}

static ssize_t run_falloc(struct worker *w, const struct op *op, enum side side)
{
	return allocate(w, op, side, 0);
}

static ssize_t run_falloc_keep(struct worker *w, const struct op *op, enum side side)
{
	return allocate(w, op, side, FALLOC_FL_KEEP_SIZE);
}

static ssize_t run_punch(struct worker *w, const struct op *op, enum side side)
{
	return allocate(w, op, side, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE);
}

static ssize_t run_zero(struct worker *w, const struct op *op, enum side side)
{
	return allocate(w, op, side, FALLOC_FL_ZERO_RANGE);
}

static ssize_t run_zero_keep(struct worker *w, const struct op *op, enum side side)
{
	return allocate(w, op, side, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE);
}

static ssize_t copy(int from, int to, off_t src, off_t dst, size_t len)
{
	size_t done = 0;

	while (done < len) {
		ssize_t n = copy_file_range(from, &src, to, &dst, len - done, 0);

		if (!n)
			errno = EIO;
		if (n <= 0)
			return -1;
		done += (size_t)n;
	}
	return (ssize_t)len;
}

static ssize_t run_copy(struct worker *w, const struct op *op, enum side side)
{
	return copy(w->fd[side], w->fd[side], (off_t)op->src, (off_t)op->off, op->len);
}

static ssize_t run_copy_from(struct worker *w, const struct op *op, enum side side)
{
	return copy(w->src[side], w->fd[side], (off_t)op->src, (off_t)op->off, op->len);
}

static ssize_t run_fsync(struct worker *w, const struct op *op, enum side side)
{
	if (side == PLAIN)
		return 0;
	return op->salt & 1 ? fsync(fd_of(w, op, side)) : fdatasync(fd_of(w, op, side));
}

static ssize_t run_sendfile(struct worker *w, const struct op *op, enum side side)
{
	off_t pos = (off_t)op->off;
	size_t done = 0;

	if (lseek(w->mem, 0, SEEK_SET) < 0)
		return -1;
	while (done < op->len) {
		ssize_t n = sendfile(w->mem, w->fd[side], &pos, op->len - done);

		if (n < 0)
			return -1;
		if (!n)
			break;
		done += (size_t)n;
	}
	return pread(w->mem, w->buf[side], done, 0);
}

static ssize_t run_splice(struct worker *w, const struct op *op, enum side side)
{
	loff_t pos = (loff_t)op->off;
	size_t done = 0;

	while (done < op->len) {
		size_t want = op->len - done < 65536 ? op->len - done : 65536;
		ssize_t in = splice(w->fd[side], &pos, w->pipe[1], NULL, want, 0);

		if (in < 0)
			return -1;
		if (!in)
			break;
		while (in > 0) {
			ssize_t n = read(w->pipe[0], w->buf[side] + done, (size_t)in);

			if (n <= 0)
				return -1;
			done += (size_t)n;
			in -= n;
		}
	}
	return (ssize_t)done;
}

/* Is [off, end) zero in the plain file? Returns the first offset that is not, or end. */
static uint64_t zero_until(struct worker *w, uint64_t off, uint64_t end)
{
	while (off < end) {
		size_t want = end - off < MAX_LEN ? end - off : MAX_LEN;
		ssize_t n = pread(w->fd[PLAIN], w->buf[PLAIN], want, (off_t)off);

		for (ssize_t i = 0; i < n; i++)
			if (w->buf[PLAIN][i])
				return off + (uint64_t)i;
		if (n <= 0)
			break;
		off += (uint64_t)n;
	}
	return end;
}

/* Filesystems differ in what they call a hole, so each answer is only checked for truth. */
static ssize_t run_seek(struct worker *w, const struct op *op, enum side side)
{
	uint64_t size = range_size(), off = op->off, bad;
	int fd = w->fd[TARGET];
	struct stat st;
	off_t pos;

	if (side == PLAIN)
		return 0;
	if (fstat(fd, &st))
		return -1;
	if ((uint64_t)st.st_size != size)
		mismatch(op, size, "fstat's size is wrong");
	pos = lseek(fd, (off_t)off, SEEK_DATA);
	if (pos < 0 && errno != ENXIO)
		return -1;
	if (pos >= 0 && ((uint64_t)pos < off || (uint64_t)pos >= size))
		mismatch(op, off, "SEEK_DATA's answer lies outside");
	bad = pos < 0 ? size : (uint64_t)pos;
	if (off < bad && zero_until(w, off, bad) != bad)
		mismatch(op, zero_until(w, off, bad), "SEEK_DATA skipped data");
	pos = lseek(fd, (off_t)off, SEEK_HOLE);
	if (pos < 0 && errno != ENXIO)
		return -1;
	if (pos < 0 ? off < size : (uint64_t)pos < off || (uint64_t)pos > size)
		mismatch(op, off, "SEEK_HOLE's answer lies outside");
	return 0;
}

const struct op_type ops[] = {
    {"read", 20, TOUCH_READ, 1, 0, 0, run_read},
    {"readv", 6, TOUCH_READ, 1, 0, 0, run_readv},
    {"sendfile", 4, TOUCH_READ, 1, 0, 0, run_sendfile},
    {"splice", 3, TOUCH_READ, 1, 0, 0, run_splice},
    {"write", 24, TOUCH_WRITE, 0, 0, 1, run_write},
    {"writev", 6, TOUCH_WRITE, 0, 0, 1, run_writev},
    {"dsync", 1, TOUCH_WRITE, 0, 0, 1, run_dsync},
    {"append", 3, TOUCH_APPEND, 0, 0, 1, run_append},
    {"truncate", 3, TOUCH_SIZE, 0, 0, 0, run_truncate},
    {"mapread", 5, TOUCH_MAP_READ, 1, 1, 0, run_map_read},
    {"mapwrite", 6, TOUCH_MAP_WRITE, 0, 1, 0, run_map_write},
    {"falloc", 2, TOUCH_WRITE, 0, 0, 1, run_falloc},
    {"falloc-keep", 2, TOUCH_INSIDE, 0, 0, 0, run_falloc_keep},
    {"punch", 4, TOUCH_INSIDE, 0, 0, 0, run_punch},
    {"zero", 2, TOUCH_WRITE, 0, 0, 1, run_zero},
    {"zero-keep", 2, TOUCH_INSIDE, 0, 0, 0, run_zero_keep},
    {"copy", 4, TOUCH_COPY, 0, 0, 1, run_copy},
    {"copy-from", 3, TOUCH_WRITE, 0, 0, 1, run_copy_from},
    {"fsync", 1, TOUCH_NONE, 0, 0, 0, run_fsync},
    {"seek", 2, TOUCH_ALL, 0, 0, 0, run_seek},
    {NULL, 0, TOUCH_ALL, 0, 0, 0, NULL},
};
