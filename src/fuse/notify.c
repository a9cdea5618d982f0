/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What we tell the kernel without being asked. */
#include <string.h>
#include <sys/uio.h>

#include "base/log.h"
#include "base/util.h"
#include "fuse/abi.h"
#include "fuse/session.h"
#include "supervisor/supervisor.h"

/*
 * The kernel waits for locks of pages or directories in here, which requests may hold that only a
 * successor of this process can answer: the supervisor must know that we write to no file.
 */
static ssize_t notify(struct session *s, const struct iovec *iov, int n)
{
	int slot = s->supervision ? supervision_notify_begin(s->supervision) : -1;
	ssize_t put = writev(s->fd, iov, n);
	int saved = errno;

	if (s->supervision)
		supervision_notify_end(s->supervision, slot);
	errno = saved;
	return put;
}

void session_invalidate(struct session *s, uint64_t id, int64_t off, int64_t len)
{
	struct {
		struct fuse_out_header head;
		struct fuse_notify_inval_inode_out inval;
	} out = {.head = {.len = sizeof(out), .error = FUSE_NOTIFY_INVAL_INODE},
		 .inval = {.ino = id, .off = off, .len = len}};
	struct iovec iov = {&out, sizeof(out)};

	/* ENOENT: the kernel has no such inode any more, and so nothing to drop */
	if (notify(s, &iov, 1) < 0 && errno != ENOENT && errno != ENODEV && errno != ENOTCONN)
		log_warn("the kernel refused to drop its pages of a file: %s", strerror(errno));
}

void session_invalidate_entry(struct session *s, uint64_t parent, const char *name)
{
	size_t namelen = strlen(name);
	struct fuse_notify_inval_entry_out inval = {.parent = parent, .namelen = (uint32_t)namelen};
	struct fuse_out_header head = {.error = FUSE_NOTIFY_INVAL_ENTRY,
				       .len =
					   (uint32_t)(sizeof(head) + sizeof(inval) + namelen + 1)};
	struct iovec iov[] = {
	    {&head, sizeof(head)}, {&inval, sizeof(inval)}, {(void *)(uintptr_t)name, namelen + 1}};

	if (notify(s, iov, 3) < 0 && errno != ENOENT && errno != ENODEV && errno != ENOTCONN)
		log_warn("the kernel refused to forget a name: %s", strerror(errno));
}

int session_resend(struct session *s)
{
	struct fuse_out_header out = {.len = sizeof(out), .error = FUSE_NOTIFY_RESEND};

	return write(s->fd, &out, sizeof(out)) < 0 ? -errno : 0;
}
