/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The name space, and creating and opening: decode, call fs/, encode. */
#include <limits.h>
#include <string.h>
#include <sys/sysmacros.h>

#include "base/util.h"
#include "fuse/dispatch.h"
#include "fuse/ops.h"
#include "fuse/session.h"

#ifndef FUSE_OPEN_KILL_SUIDGID
#define FUSE_OPEN_KILL_SUIDGID (1 << 0)
#endif

struct ext_header { /* struct fuse_ext_header, Linux 6.3 */
	uint32_t size;
	uint32_t type;
};

/* Extensions stand at the end; their length, in units of 8 bytes, in what was padding of the
 * header. */
static size_t extension_length(const struct request *req)
{
#if FUSE_KERNEL_MINOR_VERSION >= 38
	return (size_t)req->in->total_extlen * 8;
#else
	return (size_t)(req->in->padding & 0xffff) * 8;
#endif
}

bool wire_caller(const struct request *req, struct wire_reader *r, uint32_t umask,
		 struct fs_caller *c)
{
	size_t len = req->session->flags & FUSE_CREATE_SUPP_GROUP ? extension_length(req) : 0;
	struct wire_reader ext;
	struct ext_header h;
	uint32_t groups[2]; /* struct fuse_supp_groups: how many, the first one */

	*c = (struct fs_caller){
	    .uid = req->in->uid, .gid = req->in->gid, .pid = (pid_t)req->in->pid, .umask = umask};
	/* with the extension negotiated, none means that no group matters */
	c->group_known = req->session->flags & FUSE_CREATE_SUPP_GROUP;
	c->group = c->gid;
	if ((size_t)(r->end - r->pos) < len)
		return false;
	ext = (struct wire_reader){.pos = r->end - len, .end = r->end};
	r->end -= len;
	while (ext.pos < ext.end) {
		const uint8_t *p = wire_take(&ext, sizeof(h));

		if (!p)
			return false;
		memcpy(&h, p, sizeof(h)); /* a name stands in front of it: at any alignment */
		if (h.size < sizeof(h) || !wire_take(&ext, h.size - sizeof(h)))
			return false;
		if (h.type != FUSE_EXT_GROUPS || h.size < sizeof(h) + sizeof(groups))
			continue;
		memcpy(groups, p + sizeof(h), sizeof(groups));
		if (groups[0])
			c->group = groups[1];
	}
	return true;
}

void op_symlink(struct request *req)
{
	struct wire_reader r = wire_args(req);
	struct fs_caller c;
	struct fs_entry e;
	const char *name, *target;

	if (!wire_caller(req, &r, 0, &c) || !(name = wire_name(&r)) ||
	    !(target = wire_string(&r, PATH_MAX))) {
		reply_malformed(req);
		return;
	}
	reply_entry(req, fs_symlink(req->session->fs, req->in->nodeid, name, target, &c, &e), &e);
}

/* new_encode_dev() of the kernel, undone */
static dev_t wire_dev(uint32_t dev)
{
	return makedev((dev & 0xfff00) >> 8, (dev & 0xff) | ((dev >> 12) & 0xfff00));
}

void op_mknod(struct request *req)
{
	struct wire_reader r = wire_args(req);
	const struct fuse_mknod_in *in = wire_take(&r, sizeof(*in));
	struct fs_caller c;
	struct fs_entry e;
	const char *name;

	if (!in || !wire_caller(req, &r, in->umask, &c) || !(name = wire_name(&r))) {
		reply_malformed(req);
		return;
	}
	reply_entry(
	    req,
	    fs_mknod(req->session->fs, req->in->nodeid, name, in->mode, wire_dev(in->rdev), &c, &e),
	    &e);
}

void op_mkdir(struct request *req)
{
	struct wire_reader r = wire_args(req);
	const struct fuse_mkdir_in *in = wire_take(&r, sizeof(*in));
	struct fs_caller c;
	struct fs_entry e;
	const char *name;

	if (!in || !wire_caller(req, &r, in->umask, &c) || !(name = wire_name(&r))) {
		reply_malformed(req);
		return;
	}
	reply_entry(req, fs_mkdir(req->session->fs, req->in->nodeid, name, in->mode, &c, &e), &e);
}

static void remove_op(struct request *req,
		      int (*remove)(struct fs *fs, uint64_t parent, const char *name))
{
	struct wire_reader r = wire_args(req);
	const char *name = wire_name(&r);

	if (name)
		reply_error(req, remove(req->session->fs, req->in->nodeid, name));
	else
		reply_malformed(req);
}

void op_unlink(struct request *req)
{
	remove_op(req, fs_unlink);
}

void op_rmdir(struct request *req)
{
	remove_op(req, fs_rmdir);
}

static void rename_op(struct request *req, struct wire_reader *r, uint64_t newdir, uint32_t flags)
{
	const char *name = wire_name(r), *newname = name ? wire_name(r) : NULL;

	if (newname)
		reply_error(req, fs_rename(req->session->fs, req->in->nodeid, name, newdir, newname,
					   flags));
	else
		reply_malformed(req);
}

void op_rename(struct request *req)
{
	struct wire_reader r = wire_args(req);
	const struct fuse_rename_in *in = wire_take(&r, sizeof(*in));

	if (in)
		rename_op(req, &r, in->newdir, 0);
	else
		reply_malformed(req);
}

void op_rename2(struct request *req)
{
	struct wire_reader r = wire_args(req);
	const struct fuse_rename2_in *in = wire_take(&r, sizeof(*in));

	if (in)
		rename_op(req, &r, in->newdir, in->flags);
	else
		reply_malformed(req);
}

void op_link(struct request *req)
{
	struct wire_reader r = wire_args(req);
	const struct fuse_link_in *in = wire_take(&r, sizeof(*in));
	const char *name = in ? wire_name(&r) : NULL;
	struct fs_entry e;

	if (!name) {
		reply_malformed(req);
		return;
	}
	reply_entry(req, fs_link(req->session->fs, in->oldnodeid, req->in->nodeid, name, &e), &e);
}

static struct open_out_740 open_out(const struct fs_opened *o)
{
	return (struct open_out_740){
	    .fh = o->fh,
	    .open_flags = (o->direct_io ? FOPEN_DIRECT_IO : 0) |
			  (o->parallel_direct_writes ? FOPEN_PARALLEL_DIRECT_WRITES : 0) |
			  (o->noflush ? FOPEN_NOFLUSH : 0) |
			  (o->backing_id > 0 ? FOPEN_PASSTHROUGH : 0),
	    .backing_id = MAX(o->backing_id, 0)};
}

void op_open(struct request *req)
{
	struct wire_reader r = wire_args(req);
	const struct fuse_open_in *in = wire_take(&r, sizeof(*in));
	struct session *s = req->session;
	struct fs_caller c = {.uid = req->in->uid, .pid = (pid_t)req->in->pid};
	struct open_out_740 out;
	struct fs_opened o;
	int err;

	if (!in) {
		reply_malformed(req);
		return;
	}
	/* the second word, `unused` in old headers, is open_flags */
	err = fs_open(s->fs, req->in->nodeid, (int)in->flags,
		      ((const uint32_t *)(const void *)in)[1] & FUSE_OPEN_KILL_SUIDGID, &c, &o);
	if (err) {
		reply_error(req, err);
		return;
	}
	out = open_out(&o);
	if (reply_data_checked(req, &out, sizeof(out)) == -ENOENT)
		fs_release(s->fs, o.fh);
}

static void create_op(struct request *req, bool tmpfile)
{
	struct wire_reader r = wire_args(req);
	const struct fuse_create_in *in = wire_take(&r, sizeof(*in));
	struct session *s = req->session;
	const char *name = NULL;
	struct fs_caller c;
	struct fs_entry e;
	struct fs_opened o;
	struct {
		struct fuse_entry_out entry;
		struct open_out_740 open;
	} out;
	int err;

	if (!in || !wire_caller(req, &r, in->umask, &c) || (!tmpfile && !(name = wire_name(&r)))) {
		reply_malformed(req);
		return;
	}
	if (tmpfile)
		err = fs_tmpfile(s->fs, req->in->nodeid, (int)in->flags, in->mode, &c, &e, &o);
	else
		err = fs_create_file(s->fs, req->in->nodeid, name, (int)in->flags, in->mode, &c, &e,
				     &o);
	if (err) {
		reply_error(req, err);
		return;
	}
	wire_entry(s, &out.entry, &e);
	out.open = open_out(&o);
	if (reply_data_checked(req, &out, sizeof(out)) == -ENOENT) {
		fs_release(s->fs, o.fh);
		fs_forget(s->fs, e.id, 1);
	}
}

void op_create(struct request *req)
{
	create_op(req, false);
}

void op_tmpfile(struct request *req)
{
	create_op(req, true);
}

void op_release(struct request *req)
{
	struct wire_reader r = wire_args(req);
	const struct fuse_release_in *in = wire_take(&r, sizeof(*in));

	if (!in) {
		reply_malformed(req);
		return;
	}
	fs_release(req->session->fs, in->fh);
	reply_error(req, 0);
}
