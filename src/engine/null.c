/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <string.h>

#include "engine/engine.h"

static void null_read(struct engine_io *io)
{
	memset(io->buf, 0, io->len);
	io->done(io, (ssize_t)io->len);
}

static ssize_t null_write(int fd, const uint8_t *buf, size_t len, uint64_t off, int rwf)
{
	(void)fd;
	(void)buf;
	(void)off;
	(void)rwf;
	return (ssize_t)len;
}

static int null_sync(int fd, bool datasync)
{
	(void)fd;
	(void)datasync;
	return 0;
}

const struct engine engine_null = {
    .name = "null",
    .null = true,
    .read = null_read,
    .write = null_write,
    .sync = null_sync,
};
