/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Directories: decode, call fs/, encode. */
#include <string.h>

#include "base/util.h"
#include "fuse/dispatch.h"
#include "fuse/ops.h"
#include "fuse/session.h"

void op_opendir(struct request *req)
{
	struct session *s = req->session;
	struct fuse_open_out out = {0};
	int err = fs_opendir(s->fs, req->in->nodeid, &out.fh);

	if (err) {
		reply_error(req, err);
		return;
	}
	/* never FOPEN_CACHE_DIR, though nobody changes SOURCE: a listing that the kernel keeps
	 * while another client makes a name may lack it from then on (test/lib/namestorm) */
	if (reply_data_checked(req, &out, sizeof(out)) == -ENOENT)
		fs_releasedir(s->fs, out.fh);
}

struct dir_reply {
	const struct session *session;
	uint8_t *pos, *end;
	bool plus;
};

static void dirent_put(uint8_t *p, const struct fs_dirent *d, size_t namelen)
{
	struct fuse_dirent out = {
	    .ino = d->ino, .off = d->next, .namelen = (uint32_t)namelen, .type = d->type};

	memcpy(p, &out, FUSE_NAME_OFFSET);
	memcpy(p + FUSE_NAME_OFFSET, d->name, namelen);
}

static bool dir_emit(void *arg, const struct fs_dirent *d)
{
	struct dir_reply *r = arg;
	size_t namelen = strlen(d->name);
	size_t head = r->plus ? offsetof(struct fuse_direntplus, dirent) : 0;
	size_t size = FUSE_DIRENT_ALIGN(head + FUSE_NAME_OFFSET + namelen);

	if ((size_t)(r->end - r->pos) < size)
		return false;
	memset(r->pos, 0, size); /* padding, and an entry that was not looked up */
	if (r->plus && d->entry)
		wire_entry(r->session, (struct fuse_entry_out *)(void *)r->pos, d->entry);
	dirent_put(r->pos + head, d, namelen);
	r->pos += size;
	return true;
}

/* Nobody will know of the entries in a reply that could not be delivered. */
static void forget_all(struct fs *fs, const struct dir_reply *r, const uint8_t *start)
{
	for (const uint8_t *p = start; r->plus && p < r->pos;) {
		const struct fuse_direntplus *d = (const void *)p;

		if (d->entry_out.nodeid)
			fs_forget(fs, d->entry_out.nodeid, 1);
		p += FUSE_DIRENTPLUS_SIZE(d);
	}
}

/*
 * The reply is built on a page of its own: a request's memory is given back when it is sent, and
 * undelivered entries must be found again after that.
 */
static void readdir_op(struct request *req, bool plus)
{
	struct wire_reader r = wire_args(req);
	const struct fuse_read_in *in = wire_take(&r, sizeof(*in));
	struct session *s = req->session;
	struct dir_reply reply = {.session = s, .plus = plus};
	_cleanup_free_ uint8_t *buf = NULL;
	int err;

	if (!in || in->size > s->max_write) {
		reply_malformed(req);
		return;
	}
	buf = malloc(in->size + 1);
	if (!buf) {
		reply_error(req, -ENOMEM);
		return;
	}
	reply.pos = buf;
	reply.end = buf + in->size;
	err = fs_readdir(s->fs, req->in->nodeid, in->fh, in->offset, in->size,
			 plus ? FUSE_DIRENT_ALIGN(FUSE_NAME_OFFSET_DIRENTPLUS + 1)
			      : FUSE_DIRENT_ALIGN(FUSE_NAME_OFFSET + 1),
			 plus, dir_emit, &reply);
	if (err && reply.pos == buf)
		reply_error(req, err);
	else if (reply_data_checked(req, buf, (size_t)(reply.pos - buf)) == -ENOENT)
		forget_all(s->fs, &reply, buf);
}

void op_readdir(struct request *req)
{
	readdir_op(req, false);
}

void op_readdirplus(struct request *req)
{
	readdir_op(req, true);
}
