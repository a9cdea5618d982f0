/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Another program for the mount, by ioctl(2) on its root. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "cachefs.h"
#include "fuse/control_internal.h"
#include "supervisor/supervisor.h"

int control_upgrade(const struct ioctl_call *c)
{
	const struct cachefs_upgrade in = *(const struct cachefs_upgrade *)c->arg;
	struct supervision *m = c->s->supervision;
	struct cachefs_upgrade *out = c->out;

	if (!is_root_dir(c))
		return -ENOTTY;
	if (!is_administrator(c))
		return -EPERM;
	if (in.flags & ~(uint32_t)CACHEFS_UPGRADE_LOOK ||
	    !all_zero(in.reserved, sizeof(in.reserved)))
		return -EINVAL;
	memset(out, 0, sizeof(*out));
	out->flags = in.flags;
	out->pid = (uint32_t)getpid();
	if (!m)
		return -EOPNOTSUPP;
	/* in this order: an upgrade is counted before it is no more under way */
	out->last_error = (uint32_t)atomic_load(&m->upgrade_error);
	out->upgrades = atomic_load(&m->upgrades);
	if (in.flags & CACHEFS_UPGRADE_LOOK)
		return 0;
	return c->s->upgrade(c->s->server, out->version, sizeof(out->version), out->error,
			     sizeof(out->error));
}
