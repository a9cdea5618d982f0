/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Names and attributes: decode, call fs/, encode. */
#include <limits.h>
#include <string.h>

#include "base/util.h"
#include "fuse/dispatch.h"
#include "fuse/ops.h"
#include "fuse/session.h"
#include "fuse/wire.h"

void reply_entry(struct request *req, int err, const struct fs_entry *e)
{
	struct fuse_entry_out out;
	struct session *s = req->session;
	uint64_t id = e->id;

	if (err) {
		reply_error(req, err);
		return;
	}
	wire_entry(s, &out, e);
	/* the client gave up: the kernel does not count a lookup that it never heard of */
	if (reply_data_checked(req, &out, sizeof(out)) == -ENOENT)
		fs_forget(s->fs, id, 1);
}

void reply_malformed(struct request *req)
{
	reply_error(req, -EINVAL);
}

void op_lookup(struct request *req)
{
	struct wire_reader r = wire_args(req);
	const char *name = wire_name(&r);
	struct session *s = req->session;
	struct fs_entry e;
	int err;

	if (!name) {
		reply_malformed(req);
		return;
	}
	err = fs_lookup(s->fs, req->in->nodeid, name, &e);
	if (err == -ENOENT && s->negative_timeout > 0) {
		struct fuse_entry_out none = {0};

		wire_timeout(s->negative_timeout, &none.entry_valid, &none.entry_valid_nsec);
		reply_data(req, &none, sizeof(none));
		return;
	}
	reply_entry(req, err, &e);
}

void op_forget(struct request *req)
{
	struct wire_reader r = wire_args(req);
	const struct fuse_forget_in *in = wire_take(&r, sizeof(*in));

	if (in)
		fs_forget(req->session->fs, req->in->nodeid, in->nlookup);
	req->ops->release(req);
}

void op_batch_forget(struct request *req)
{
	struct wire_reader r = wire_args(req);
	const struct fuse_batch_forget_in *in = wire_take(&r, sizeof(*in));
	const struct fuse_forget_one *one;

	for (uint32_t i = 0; in && i < in->count; i++) {
		one = wire_take(&r, sizeof(*one));
		if (!one)
			break;
		fs_forget(req->session->fs, one->nodeid, one->nlookup);
	}
	req->ops->release(req);
}

static double attr_timeout(const struct request *req)
{
	return fs_is_report(req->in->nodeid) ? 0 : req->session->attr_timeout;
}

static void reply_attr(struct request *req, int err, const struct statx *st)
{
	struct fuse_attr_out out = {0};

	if (err) {
		reply_error(req, err);
		return;
	}
	wire_timeout(attr_timeout(req), &out.attr_valid, &out.attr_valid_nsec);
	wire_attr(&out.attr, st);
	reply_data(req, &out, sizeof(out));
}

void op_getattr(struct request *req)
{
	struct wire_reader r = wire_args(req);
	const struct fuse_getattr_in *in = wire_take(&r, sizeof(*in));
	struct statx st;
	int err;

	if (!in) {
		reply_malformed(req);
		return;
	}
	err = fs_getattr(req->session->fs, req->in->nodeid,
			 in->getattr_flags & FUSE_GETATTR_FH ? in->fh : FS_NO_HANDLE, &st);
	reply_attr(req, err, &st);
}

static struct fuse_sx_time sx_time(struct statx_timestamp t)
{
	return (struct fuse_sx_time){.tv_sec = t.tv_sec, .tv_nsec = t.tv_nsec};
}

static void wire_statx(struct fuse_statx *out, const struct statx *st)
{
	*out = (struct fuse_statx){.mask = st->stx_mask & (STATX_BASIC_STATS | STATX_BTIME),
				   .blksize = st->stx_blksize,
				   .attributes = st->stx_attributes,
				   .attributes_mask = st->stx_attributes_mask,
				   .nlink = st->stx_nlink,
				   .uid = st->stx_uid,
				   .gid = st->stx_gid,
				   .mode = st->stx_mode,
				   .ino = st->stx_ino,
				   .size = st->stx_size,
				   .blocks = st->stx_blocks,
				   .atime = sx_time(st->stx_atime),
				   .btime = sx_time(st->stx_btime),
				   .ctime = sx_time(st->stx_ctime),
				   .mtime = sx_time(st->stx_mtime),
				   .rdev_major = st->stx_rdev_major,
				   .rdev_minor = st->stx_rdev_minor};
}

void op_statx(struct request *req)
{
	struct wire_reader r = wire_args(req);
	const struct fuse_statx_in *in = wire_take(&r, sizeof(*in));
	struct fuse_statx_out out = {0};
	struct statx st;
	int err;

	if (!in) {
		reply_malformed(req);
		return;
	}
	err = fs_getattr(req->session->fs, req->in->nodeid,
			 in->getattr_flags & FUSE_GETATTR_FH ? in->fh : FS_NO_HANDLE, &st);
	if (err) {
		reply_error(req, err);
		return;
	}
	wire_timeout(attr_timeout(req), &out.attr_valid, &out.attr_valid_nsec);
	wire_statx(&out.stat, &st);
	reply_data(req, &out, sizeof(out));
}

#ifndef FATTR_KILL_SUIDGID
#define FATTR_KILL_SUIDGID (1 << 11)
#endif

static struct timespec set_time(bool now, uint64_t sec, uint32_t nsec)
{
	return (struct timespec){.tv_sec = (time_t)sec, .tv_nsec = now ? UTIME_NOW : nsec};
}

void op_setattr(struct request *req)
{
	static const struct {
		uint32_t fattr;
		unsigned set;
	} bits[] = {{FATTR_MODE, FS_SET_MODE},	 {FATTR_UID, FS_SET_UID},
		    {FATTR_GID, FS_SET_GID},	 {FATTR_SIZE, FS_SET_SIZE},
		    {FATTR_ATIME, FS_SET_ATIME}, {FATTR_MTIME, FS_SET_MTIME}};
	struct wire_reader r = wire_args(req);
	const struct fuse_setattr_in *in = wire_take(&r, sizeof(*in));
	struct fs_setattr a = {0};
	struct statx st;
	int err;

	if (!in) {
		reply_malformed(req);
		return;
	}
	for (size_t i = 0; i < ARRAY_SIZE(bits); i++)
		a.valid |= in->valid & bits[i].fattr ? bits[i].set : 0;
	a.mode = in->mode;
	a.uid = in->uid;
	a.gid = in->gid;
	a.size = in->size;
	a.atime = set_time(in->valid & FATTR_ATIME_NOW, in->atime, in->atimensec);
	a.mtime = set_time(in->valid & FATTR_MTIME_NOW, in->mtime, in->mtimensec);
	a.kill_priv = in->valid & FATTR_KILL_SUIDGID;
	a.caller_root = req->in->uid == 0;
	err = fs_setattr(req->session->fs, req->in->nodeid,
			 in->valid & FATTR_FH ? in->fh : FS_NO_HANDLE, &a, &st);
	reply_attr(req, err, &st);
}

void op_readlink(struct request *req)
{
	char buf[PATH_MAX];
	ssize_t n = fs_readlink(req->session->fs, req->in->nodeid, buf, sizeof(buf));

	if (n < 0)
		reply_error(req, (int)n);
	else
		reply_data(req, buf, (size_t)n);
}

void op_statfs(struct request *req)
{
	struct fuse_statfs_out out = {0};
	struct statfs st;
	int err = fs_statfs(req->session->fs, req->in->nodeid, &st);

	if (err) {
		reply_error(req, err);
		return;
	}
	out.st = (struct fuse_kstatfs){.blocks = st.f_blocks,
				       .bfree = st.f_bfree,
				       .bavail = st.f_bavail,
				       .files = st.f_files,
				       .ffree = st.f_ffree,
				       .bsize = (uint32_t)st.f_bsize,
				       .namelen = (uint32_t)st.f_namelen,
				       .frsize = (uint32_t)st.f_frsize};
	reply_data(req, &out, sizeof(out));
}
