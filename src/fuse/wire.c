/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "fuse/wire.h"

#include <limits.h>
#include <string.h>
#include <sys/sysmacros.h>

#include "base/util.h"
#include "fuse/dispatch.h"
#include "fuse/session.h"
#include "supervisor/journal.h"

struct wire_reader wire_args(const struct request *req)
{
	const uint8_t *start = (const uint8_t *)req->in;

	return (struct wire_reader){.pos = start + sizeof(*req->in), .end = start + req->len};
}

const void *wire_take(struct wire_reader *r, size_t size)
{
	const uint8_t *p = r->pos;

	if ((size_t)(r->end - p) < size)
		return NULL;
	r->pos += size;
	return p;
}

const char *wire_string(struct wire_reader *r, size_t max)
{
	const uint8_t *p = r->pos, *nul;

	nul = memchr(p, 0, MIN((size_t)(r->end - p), max + 1));
	if (!nul)
		return NULL;
	r->pos = nul + 1;
	return (const char *)p;
}

const char *wire_name(struct wire_reader *r)
{
	const char *s = wire_string(r, PATH_MAX); /* too long is for the backing to say */

	if (!s || !*s || strchr(s, '/') || !strcmp(s, ".") || !strcmp(s, ".."))
		return NULL;
	return s;
}

/* Whatever else the thread does is not part of the request. */
static void once_over(struct request *req)
{
	fs_thread_once(NULL);
	if (req->once.entry)
		journal_release(req->session->journal, req->once.entry);
}

static int send_reply(struct request *req, int err, const void *data, size_t size)
{
	struct fuse_out_header out = {
	    .len = (uint32_t)(sizeof(out) + size), .error = err, .unique = req->in->unique};
	struct iovec iov[2] = {{&out, sizeof(out)}, {(void *)(uintptr_t)data, size}};
	int result = req->ops->send(req, iov, size ? 2 : 1);

	if (req->op && req->op->once)
		once_over(req);
	req->ops->release(req);
	return result;
}

void reply_error(struct request *req, int err)
{
	send_reply(req, err, NULL, 0);
}

void reply_data(struct request *req, const void *data, size_t size)
{
	send_reply(req, 0, data, size);
}

int reply_data_checked(struct request *req, const void *data, size_t size)
{
	return send_reply(req, 0, data, size) == -ENOENT ? -ENOENT : 0;
}

void reply_value(struct request *req, ssize_t n, const void *data, bool size_only)
{
	struct fuse_getxattr_out out = {.size = (uint32_t)n};

	if (n < 0)
		reply_error(req, (int)n);
	else if (size_only)
		reply_data(req, &out, sizeof(out));
	else
		reply_data(req, data, (size_t)n);
}

void wire_timeout(double seconds, uint64_t *sec, uint32_t *nsec)
{
	*sec = (uint64_t)seconds;
	*nsec = (uint32_t)((seconds - (double)*sec) * 1e9);
}

void wire_attr(struct fuse_attr *out, const struct statx *st)
{
	*out = (struct fuse_attr){
	    .ino = st->stx_ino,
	    .size = st->stx_size,
	    .blocks = st->stx_blocks,
	    .atime = (uint64_t)st->stx_atime.tv_sec,
	    .mtime = (uint64_t)st->stx_mtime.tv_sec,
	    .ctime = (uint64_t)st->stx_ctime.tv_sec,
	    .atimensec = st->stx_atime.tv_nsec,
	    .mtimensec = st->stx_mtime.tv_nsec,
	    .ctimensec = st->stx_ctime.tv_nsec,
	    .mode = st->stx_mode,
	    .nlink = st->stx_nlink,
	    .uid = st->stx_uid,
	    .gid = st->stx_gid,
	    /* the kernel decodes it with new_decode_dev(), as makedev() has it below 2^32 */
	    .rdev = (uint32_t)makedev(st->stx_rdev_major, st->stx_rdev_minor),
	    .blksize = st->stx_blksize,
	};
}

void wire_entry(const struct session *s, struct fuse_entry_out *out, const struct fs_entry *e)
{
	memset(out, 0, sizeof(*out));
	out->nodeid = e->id;
	out->generation = 0;	    /* ids are never used again */
	if (!fs_is_report(e->id)) { /* those change with each open */
		wire_timeout(s->entry_timeout, &out->entry_valid, &out->entry_valid_nsec);
		wire_timeout(s->attr_timeout, &out->attr_valid, &out->attr_valid_nsec);
	}
	wire_attr(&out->attr, &e->st);
}
