/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "fuse/refuse.h"

#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>

#include "base/util.h"
#include "fuse/abi.h"
#include "fuse/session.h"

/* These have no answer. */
static bool wants_answer(uint32_t opcode)
{
	return opcode != FUSE_FORGET && opcode != FUSE_BATCH_FORGET && opcode != FUSE_INTERRUPT;
}

/* One request; 0, or a negative errno of the read. */
static int refuse_one(int fd, int error, void *buf, size_t size)
{
	struct fuse_in_header *in = buf;
	struct fuse_out_header out = {.len = sizeof(out), .error = error};
	ssize_t n = read(fd, buf, size);

	if (n < (ssize_t)sizeof(*in))
		return n < 0 ? -errno : -EIO;
	out.unique = in->unique;
	/* a client that gave up is nobody to answer to */
	if (wants_answer(in->opcode) && write(fd, &out, sizeof(out)) < 0 && errno != ENOENT)
		return -errno;
	return 0;
}

bool session_refuse(struct session *s, int fd, int error, int stop_fd)
{
	struct pollfd p[] = {{.fd = fd, .events = POLLIN}, {.fd = stop_fd, .events = POLLIN}};
	size_t size = session_buffer_size(s);
	_cleanup_free_ void *buf = malloc(size);
	int err = buf ? 0 : -ENOMEM;

	while (err != -ENODEV && err != -ENOTCONN && err != -ENOMEM) {
		int n = poll(p, 2, -1);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 || p[0].revents & POLLERR)
			break;
		if (p[1].revents)
			return false;
		err = refuse_one(fd, error, buf, size);
	}
	return true;
}

static void *refuser_thread(void *arg)
{
	struct refuser *r = arg;

	session_refuse(r->session, r->fd, r->error, r->stop_fd);
	return NULL;
}

int refuser_start(struct refuser *r, struct session *s, int fd, int error)
{
	sigset_t all, old;
	int err;

	*r = (struct refuser){
	    .session = s, .fd = fd, .error = error, .stop_fd = eventfd(0, EFD_CLOEXEC)};
	if (r->stop_fd < 0)
		return -errno;
	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, &old);
	err = pthread_create(&r->thread, NULL, refuser_thread, r);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (err)
		cleanup_fd(&r->stop_fd);
	r->running = !err;
	return -err;
}

void refuser_stop(struct refuser *r)
{
	if (!r->running)
		return;
	eventfd_write(r->stop_fd, 1);
	pthread_join(r->thread, NULL);
	cleanup_fd(&r->stop_fd);
	r->running = false;
}
