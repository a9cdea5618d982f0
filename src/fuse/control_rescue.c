/* SPDX-License-Identifier: GPL-2.0-or-later */
/* After a crash: files that cannot be opened, by ioctl(2) on their directory. */
#include <errno.h>
#include <string.h>

#include "cachefs.h"
#include "fs/fs.h"
#include "fuse/abi.h"
#include "fuse/control_internal.h"

/* A name in an ioctl's argument: one component, or empty. */
static bool name_ok(const char *name, size_t size)
{
	return memchr(name, 0, size) && !strchr(name, '/') && strcmp(name, ".") != 0 &&
	       strcmp(name, "..") != 0;
}

int control_trust(const struct ioctl_call *c)
{
	const struct cachefs_trust *t = c->arg;

	if (!(c->in->flags & FUSE_IOCTL_DIR))
		return -ENOTTY;
	if (!name_ok(t->name, sizeof(t->name)) || !all_zero(t->reserved, sizeof(t->reserved)))
		return -EINVAL;
	if (*t->name)
		return fs_trust(c->s->fs, c->req->in->nodeid, t->name, c->req->in->uid);
	if (!is_root_dir(c))
		return -ENOTTY;
	return is_administrator(c) ? fs_trust_all(c->s->fs) : -EPERM;
}

int control_rollback(const struct ioctl_call *c)
{
	const struct cachefs_rollback in = *(const struct cachefs_rollback *)c->arg;
	struct cachefs_rollback *out = c->out;
	struct fs_rollback r;
	int err;

	if (!(c->in->flags & FUSE_IOCTL_DIR))
		return -ENOTTY;
	if (!name_ok(in.name, sizeof(in.name)) || !*in.name ||
	    in.flags & ~(uint32_t)CACHEFS_ROLLBACK_DRY_RUN ||
	    !all_zero(in.reserved, sizeof(in.reserved)))
		return -EINVAL;
	err = fs_rollback(c->s->fs, c->req->in->nodeid, in.name,
			  in.flags & CACHEFS_ROLLBACK_DRY_RUN, c->req->in->uid, &r);
	*out = in;
	if (err)
		return err;
	out->taken_s = r.taken.tv_sec;
	out->taken_nsec = (uint32_t)r.taken.tv_nsec;
	out->own_bytes = r.own_bytes;
	memcpy(out->kept, r.kept, sizeof(out->kept));
	return 0;
}
