/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ioctl(2): what QEMU asks of XFS, and the control interface of include/cachefs.h. */
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>

#include "base/log.h"
#include "base/util.h"
#include "cachefs.h"
#include "fuse/dispatch.h"
#include "fuse/ops.h"
#include "fuse/session.h"

/* <xfs/xfs_fs.h>; QEMU asks it of any file to learn the alignment of direct I/O
 * (block/file-posix.c) */
struct xfs_dioattr {
	uint32_t mem, min_io, max_io;
};
#define IOC_XFS_DIOINFO _IOR('X', 30, struct xfs_dioattr)

struct ioctl_call {
	struct request *req;
	struct session *s;
	const struct fuse_ioctl_in *in;
	const void *arg; /* in_size bytes */
	void *out;	 /* out_size bytes */
};

static int do_dioinfo(const struct ioctl_call *c)
{
	struct xfs_dioattr *d = c->out;

	d->max_io = 0x7fffffff & ~4095u;
	return fs_dio_alignment(c->s->fs, c->in->fh, &d->mem, &d->min_io);
}

static int do_info(const struct ioctl_call *c)
{
	struct cachefs_info *info = c->out;

	memset(info, 0, sizeof(*info));
	info->version = CACHEFS_IOC_VERSION;
	info->pid = getpid();
	pthread_mutex_lock(&c->s->options_lock);
	options_describe(c->s->options, info->options, sizeof(info->options));
	pthread_mutex_unlock(&c->s->options_lock);
	return 0;
}

static bool is_root_dir(const struct ioctl_call *c)
{
	return c->req->in->nodeid == FUSE_ROOT_ID;
}

/* Root, who mounted, or the file's owner. */
static bool may_flush(const struct ioctl_call *c)
{
	uint32_t uid = c->req->in->uid;
	struct statx st;

	if (uid == 0 || uid == c->s->owner)
		return true;
	return !fs_getattr(c->s->fs, c->req->in->nodeid, FS_NO_HANDLE, &st) && st.stx_uid == uid;
}

static int do_flush(const struct ioctl_call *c)
{
	if (!may_flush(c))
		return -EPERM;
	if (is_root_dir(c))
		return fs_flush_all(c->s->fs);
	return c->in->flags & FUSE_IOCTL_DIR ? -ENOTTY : fs_flush_file(c->s->fs, c->in->fh);
}

/* With the lock held, so that two remounts do not mix. */
static int remount_locked(struct session *s, const char *string, char *error, size_t size)
{
	struct options *o = s->options, wanted;
	struct switches before = o->switches;
	int err;

	options_init(&wanted);
	err = options_parse_string(&wanted, string, error, size);
	if (!err)
		err = options_remount(o, &wanted, error, size);
	options_free(&wanted);
	if (err)
		return err;
	if (o->switches.direct && !fs_direct_possible(s->fs)) {
		o->switches = o->mode = o->override = before;
		snprintf(error, size,
			 "the backing filesystem has no direct I/O, which that mode "
			 "needs: use writeback, writethrough or unsafe");
		return -EINVAL;
	}
	log_level_set(o->log_level);
	err = fs_set_switches(s->fs, o->switches);
	if (err == -EBUSY) {
		o->switches = o->mode = o->override = before;
		snprintf(error, size,
			 "files are open on the kernel path and cannot follow into that "
			 "mode: close them, or mount with kernel-path=never");
	} else if (err)
		snprintf(error, size,
			 "the mode is in force, but what was written before could not "
			 "be flushed: %s",
			 strerror(-err));
	return err;
}

static int do_remount(const struct ioctl_call *c)
{
	const struct cachefs_remount *arg = c->arg;
	struct cachefs_remount *out = c->out;
	uint32_t uid = c->req->in->uid;
	char string[sizeof(arg->options)];
	int err;

	if (!is_root_dir(c))
		return -ENOTTY;
	if (uid != 0 && uid != c->s->owner)
		return -EPERM;
	memcpy(string, arg->options, sizeof(string));
	if (!memchr(string, 0, sizeof(string)))
		return -EINVAL;
	memset(out, 0, sizeof(*out));
	pthread_mutex_lock(&c->s->options_lock);
	err = remount_locked(c->s, string, out->error, sizeof(out->error));
	pthread_mutex_unlock(&c->s->options_lock);
	if (!err)
		log_info("remounted with %s", string);
	return err;
}

static const struct {
	uint32_t cmd;
	int (*run)(const struct ioctl_call *c);
} ioctls[] = {
    {IOC_XFS_DIOINFO, do_dioinfo},
    {CACHEFS_IOC_INFO, do_info},
    {CACHEFS_IOC_FLUSH, do_flush},
    {CACHEFS_IOC_REMOUNT, do_remount},
};

/* The kernel has made the sizes those of the command; a malformed request may not have. */
static int run_ioctl(struct ioctl_call *c)
{
	uint32_t cmd = c->in->cmd;
	size_t size = _IOC_SIZE(cmd);

	if (fs_is_report(c->req->in->nodeid))
		return -ENOTTY;
	for (size_t i = 0; i < ARRAY_SIZE(ioctls); i++) {
		if (ioctls[i].cmd != cmd)
			continue;
		if ((_IOC_DIR(cmd) & _IOC_WRITE && (c->in->in_size < size || !c->arg)) ||
		    (_IOC_DIR(cmd) & _IOC_READ && c->in->out_size < size))
			return -EINVAL;
		return ioctls[i].run(c);
	}
	return -ENOTTY;
}

void op_ioctl(struct request *req)
{
	struct wire_reader r = wire_args(req);
	const struct fuse_ioctl_in *in = wire_take(&r, sizeof(*in));
	struct ioctl_call c = {.req = req, .s = req->session, .in = in};
	/* behind the argument, which is at most 16 KiB (_IOC_SIZEBITS) */
	struct fuse_ioctl_out *out = (void *)(req->payload + 32768);
	int err;

	if (!in || in->in_size > 16384 || in->out_size > 16384) {
		reply_malformed(req);
		return;
	}
	c.arg = wire_take(&r, in->in_size);
	c.out = out + 1;
	memset(c.out, 0, in->out_size); /* sent on errors, too: never another request's data */
	err = run_ioctl(&c);
	*out = (struct fuse_ioctl_out){.result = err};
	if (err == -ENOTTY || (err && _IOC_DIR(in->cmd) == _IOC_NONE))
		reply_error(req, err);
	else
		reply_data(req, out,
			   sizeof(*out) + (_IOC_DIR(in->cmd) & _IOC_READ ? _IOC_SIZE(in->cmd) : 0));
}
