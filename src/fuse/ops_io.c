/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What is done to open files: decode, call fs/, encode. */
#include <string.h>

#include "base/util.h"
#include "fuse/dispatch.h"
#include "fuse/ops.h"
#include "fuse/session.h"

static void read_replied(struct fs_io *io, ssize_t result)
{
	struct request *req = container_of(io, struct request, io);

	if (result < 0)
		reply_error(req, (int)result);
	else
		reply_data(req, io->data, (size_t)result);
}

void op_read(struct request *req)
{
	struct wire_reader r = wire_args(req);
	const struct fuse_read_in *in = wire_take(&r, sizeof(*in));
	struct session *s = req->session;

	if (!in || in->size > s->max_write || in->offset > (uint64_t)INT64_MAX - in->size) {
		reply_malformed(req);
		return;
	}
	req->io = (struct fs_io){.fs = s->fs,
				 .loop = req->loop,
				 .fh = in->fh,
				 .off = in->offset,
				 .len = in->size,
				 .buf = req->payload,
				 .client_flags = (int)in->flags,
				 /* splice, sendfile and page faults come without an owner */
				 .page_cache = !(in->read_flags & FUSE_READ_LOCKOWNER),
				 .done = read_replied};
	fs_read(&req->io);
}

static void write_replied(struct fs_io *io, ssize_t result)
{
	struct request *req = container_of(io, struct request, io);
	struct fuse_write_out out = {.size = (uint32_t)result};

	if (result < 0)
		reply_error(req, (int)result);
	else
		reply_data(req, &out, sizeof(out));
}

void op_write(struct request *req)
{
	struct wire_reader r = wire_args(req);
	const struct fuse_write_in *in = wire_take(&r, sizeof(*in));
	const uint8_t *data = in ? wire_take(&r, in->size) : NULL;
	struct session *s = req->session;

	if (!data || in->offset > (uint64_t)INT64_MAX - in->size) {
		reply_malformed(req);
		return;
	}
	/* direct I/O needs it aligned; it is, where the transport placed the header for that */
	if (data != req->payload)
		memmove(req->payload, data, in->size);
	req->io = (struct fs_io){.fs = s->fs,
				 .loop = req->loop,
				 .fh = in->fh,
				 .off = in->offset,
				 .len = in->size,
				 .buf = req->payload,
				 .client_flags = (int)in->flags,
				 .kill_priv = in->write_flags & FUSE_WRITE_KILL_SUIDGID,
				 .page_cache = in->write_flags & FUSE_WRITE_CACHE,
				 .uid = req->in->uid,
				 .done = write_replied};
	fs_write(&req->io);
}

void op_fsync(struct request *req)
{
	struct wire_reader r = wire_args(req);
	const struct fuse_fsync_in *in = wire_take(&r, sizeof(*in));

	if (in)
		reply_error(req, fs_fsync(req->session->fs, in->fh,
					  in->fsync_flags & FUSE_FSYNC_FDATASYNC));
	else
		reply_malformed(req);
}

void op_fsyncdir(struct request *req)
{
	struct wire_reader r = wire_args(req);
	const struct fuse_fsync_in *in = wire_take(&r, sizeof(*in));

	if (in)
		reply_error(req, fs_fsyncdir(req->session->fs, in->fh,
					     in->fsync_flags & FUSE_FSYNC_FDATASYNC));
	else
		reply_malformed(req);
}

void op_fallocate(struct request *req)
{
	struct wire_reader r = wire_args(req);
	const struct fuse_fallocate_in *in = wire_take(&r, sizeof(*in));

	if (in)
		reply_error(req, fs_fallocate(req->session->fs, in->fh, (int)in->mode, in->offset,
					      in->length, req->in->uid != 0));
	else
		reply_malformed(req);
}

void op_lseek(struct request *req)
{
	struct wire_reader r = wire_args(req);
	const struct fuse_lseek_in *in = wire_take(&r, sizeof(*in));
	struct fuse_lseek_out out;
	int64_t off;

	if (!in) {
		reply_malformed(req);
		return;
	}
	off = fs_lseek(req->session->fs, in->fh, (int64_t)in->offset, (int)in->whence);
	out.offset = (uint64_t)off;
	if (off < 0)
		reply_error(req, (int)off);
	else
		reply_data(req, &out, sizeof(out));
}

/* Bytes copied, or a negative errno. */
static ssize_t copy_range(struct request *req)
{
	struct wire_reader r = wire_args(req);
	const struct fuse_copy_file_range_in *in = wire_take(&r, sizeof(*in));

	if (!in)
		return -EINVAL;
	return fs_copy_file_range(req->session->fs, in->fh_in, in->off_in, in->fh_out, in->off_out,
				  in->len, (unsigned)in->flags, req->in->uid != 0);
}

void op_copy_file_range(struct request *req)
{
	ssize_t n = copy_range(req);
	struct fuse_write_out out = {.size = (uint32_t)n};

	if (n < 0)
		reply_error(req, (int)n);
	else
		reply_data(req, &out, sizeof(out));
}

void op_copy_file_range_64(struct request *req)
{
	ssize_t n = copy_range(req);
	struct fuse_copy_file_range_out out = {.bytes_copied = (uint64_t)n};

	if (n < 0)
		reply_error(req, (int)n);
	else
		reply_data(req, &out, sizeof(out));
}

void op_getxattr(struct request *req)
{
	struct wire_reader r = wire_args(req);
	const struct fuse_getxattr_in *in = wire_take(&r, sizeof(*in));
	const char *name = in ? wire_string(&r, 255) : NULL;
	/* the name reaches into the payload; 4096 bytes on it is over */
	uint8_t *value = req->payload + 4096;

	if (!name || in->size > 65536) {
		reply_malformed(req);
		return;
	}
	reply_value(req, fs_getxattr(req->session->fs, req->in->nodeid, name, value, in->size),
		    value, !in->size);
}

void op_listxattr(struct request *req)
{
	struct wire_reader r = wire_args(req);
	const struct fuse_getxattr_in *in = wire_take(&r, sizeof(*in));
	char *list = (char *)req->payload + 4096;

	if (!in || in->size > 65536) {
		reply_malformed(req);
		return;
	}
	reply_value(
	    req, fs_listxattr(req->session->fs, req->in->nodeid, list, in->size, req->in->uid == 0),
	    list, !in->size);
}

#ifndef FUSE_SETXATTR_ACL_KILL_SGID
#define FUSE_SETXATTR_ACL_KILL_SGID (1 << 0)
#endif

void op_setxattr(struct request *req)
{
	struct wire_reader r = wire_args(req);
	bool ext = req->session->flags & FUSE_SETXATTR_EXT;
	const struct fuse_setxattr_in *in =
	    wire_take(&r, ext ? sizeof(*in) : FUSE_COMPAT_SETXATTR_IN_SIZE);
	const char *name = in ? wire_string(&r, 255) : NULL;
	const void *value = name ? wire_take(&r, in->size) : NULL;

	if (!value) {
		reply_malformed(req);
		return;
	}
	if (control_is_mount_mode(req, name))
		reply_error(req, control_set_mount_mode(req, value, in->size));
	else
		reply_error(req,
			    fs_setxattr(req->session->fs, req->in->nodeid, name, value, in->size,
					(int)in->flags,
					ext && in->setxattr_flags & FUSE_SETXATTR_ACL_KILL_SGID,
					req->in->uid));
}

void op_removexattr(struct request *req)
{
	struct wire_reader r = wire_args(req);
	const char *name = wire_string(&r, 255);

	if (name)
		reply_error(req,
			    fs_removexattr(req->session->fs, req->in->nodeid, name, req->in->uid));
	else
		reply_malformed(req);
}
