/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the files of the control interface share. */
#ifndef CACHEFS_FUSE_CONTROL_INTERNAL_H
#define CACHEFS_FUSE_CONTROL_INTERNAL_H

#include "fuse/request.h"
#include "fuse/session.h"

struct ioctl_call {
	struct request *req;
	struct session *s;
	const struct fuse_ioctl_in *in;
	const void *arg; /* in_size bytes */
	void *out;	 /* out_size bytes */
};

static inline bool is_root_dir(const struct ioctl_call *c)
{
	return c->req->in->nodeid == FUSE_ROOT_ID;
}

/* Root, or who mounted. */
static inline bool is_administrator(const struct ioctl_call *c)
{
	return c->req->in->uid == 0 || c->req->in->uid == c->s->owner;
}

static inline bool all_zero(const void *p, size_t size)
{
	const uint8_t *bytes = p;

	for (size_t i = 0; i < size; i++)
		if (bytes[i])
			return false;
	return true;
}

/* control_rescue.c: CACHEFS_IOC_TRUST, CACHEFS_IOC_ROLLBACK; 0 or a negative errno. */
int control_trust(const struct ioctl_call *c);
int control_rollback(const struct ioctl_call *c);

/* control_upgrade.c: CACHEFS_IOC_UPGRADE */
int control_upgrade(const struct ioctl_call *c);

#endif
