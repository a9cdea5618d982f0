/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How each of ioclient's methods opens a file and moves one block. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/uio.h>
#include <unistd.h>
#include "ioclient.h"

/* Byte i of the file is byte i%8 of a mix of the seed and i/8. */
void pattern(char *buf, size_t len, uint64_t off)
{
	for (size_t i = 0; i < len;) {
		uint64_t w =
		    (off + i) / 8 * 0x9e3779b97f4a7c15ull + opt.seed * 0xbf58476d1ce4e5b9ull;
		size_t skip = (off + i) % 8, n = 8 - skip;

		w ^= w >> 29;
		w *= 0x94d049bb133111ebull;
		w ^= w >> 32;
		if (n > len - i)
			n = len - i;
		memcpy(buf + i, (char *)&w + skip, n);
		i += n;
	}
}

/* A short transfer of a regular file is an error here: errno EIO. */
int whole(ssize_t n, size_t len)
{
	if (n >= 0 && (size_t)n != len) {
		errno = EIO;
		return -1;
	}
	return n < 0 ? -1 : 0;
}

static int write_plain(struct client *c, const char *buf, size_t len, off_t off)
{
	return whole(pwrite(c->fd, buf, len, off), len);
}

static int read_plain(struct client *c, char *buf, size_t len, off_t off)
{
	return whole(pread(c->fd, buf, len, off), len);
}

static int write_rwf_dsync(struct client *c, const char *buf, size_t len, off_t off)
{
	struct iovec iov = {(void *)(uintptr_t)buf, len};

	return whole(pwritev2(c->fd, &iov, 1, off, RWF_DSYNC), len);
}

static int write_mmap(struct client *c, const char *buf, size_t len, off_t off)
{
	memcpy(c->map + off, buf, len);
	return 0;
}

static int read_mmap(struct client *c, char *buf, size_t len, off_t off)
{
	memcpy(buf, c->map + off, len);
	return 0;
}

static int write_splice(struct client *c, const char *buf, size_t len, off_t off)
{
	loff_t pos = off;

	while (len) {
		ssize_t in = write(c->pipe[1], buf, len < 65536 ? len : 65536);

		if (in <= 0)
			return -1;
		buf += in;
		len -= (size_t)in;
		while (in > 0) {
			ssize_t n = splice(c->pipe[0], NULL, c->fd, &pos, (size_t)in, 0);

			if (n <= 0)
				return -1;
			in -= n;
		}
	}
	return 0;
}

static int read_splice(struct client *c, char *buf, size_t len, off_t off)
{
	loff_t pos = off;

	while (len) {
		ssize_t in = splice(c->fd, &pos, c->pipe[1], NULL, len < 65536 ? len : 65536, 0);

		if (in <= 0)
			return whole(in, 1);
		len -= (size_t)in;
		while (in > 0) {
			ssize_t n = read(c->pipe[0], buf, (size_t)in);

			if (n <= 0)
				return whole(n, 1);
			buf += n;
			in -= n;
		}
	}
	return 0;
}

static int send_all(int out, int in, off_t pos, size_t len)
{
	while (len) {
		ssize_t n = sendfile(out, in, &pos, len);

		if (n <= 0)
			return whole(n, 1);
		len -= (size_t)n;
	}
	return 0;
}

static int write_sendfile(struct client *c, const char *buf, size_t len, off_t off)
{
	if (whole(pwrite(c->mem, buf, len, 0), len) || lseek(c->fd, off, SEEK_SET) < 0)
		return -1;
	return send_all(c->fd, c->mem, 0, len);
}

static int read_sendfile(struct client *c, char *buf, size_t len, off_t off)
{
	if (lseek(c->mem, 0, SEEK_SET) < 0 || send_all(c->mem, c->fd, off, len))
		return -1;
	return whole(pread(c->mem, buf, len, 0), len);
}

const struct method methods[] = {
    {"plain", 0, 0, write_plain, read_plain},
    {"odirect", O_DIRECT, 0, write_plain, read_plain},
    {"odsync", O_DSYNC, 0, write_plain, read_plain},
    {"osync", O_SYNC, 0, write_plain, read_plain},
    {"mmap", 0, 0, write_mmap, read_mmap},
    {"libaio", 0, 1, NULL, NULL},
    {"io_uring", 0, 1, NULL, NULL},
    {"rwf_dsync", 0, 0, write_rwf_dsync, read_plain},
    {"splice", 0, 0, write_splice, read_splice},
    {"sendfile", 0, 0, write_sendfile, read_sendfile},
    {NULL, 0, 0, NULL, NULL},
};

int flush_sync(struct client *c, uint64_t off, uint64_t len)
{
	uint64_t start = off & ~(uint64_t)(BUF_ALIGN - 1);

	switch (opt.flush) {
	case FLUSH_FSYNC:
		return fsync(c->fd);
	case FLUSH_FDATASYNC:
		return fdatasync(c->fd);
	case FLUSH_MSYNC:
		return msync(c->map + start, off + len - start, MS_SYNC);
	case FLUSH_NONE:
		break;
	}
	return 0;
}
