/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A FUSE connection: what was negotiated in INIT, and how the kernel is told things.
 * Constant once session_init() has returned, but for what the control interface changes.
 */
#ifndef CACHEFS_FUSE_SESSION_H
#define CACHEFS_FUSE_SESSION_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "config/options.h"

struct fs;
struct journal;
struct pool;
struct supervision;

/* In front of a WRITE's data: header and arguments. */
#define SESSION_WRITE_HEADER 80

struct session {
	int fd; /* /dev/fuse, of the mount; the session's user owns it */
	struct fs *fs;
	struct pool *pool;
	struct journal *journal; /* NULL: requests that come again are not told from new ones */
	_Atomic uint64_t resent; /* requests that came again */
	uint32_t minor;		 /* spoken with this kernel */
	uint64_t flags;		 /* negotiated FUSE_ flags */
	uint32_t max_write;	 /* bytes */
	/* seconds */
	double attr_timeout, entry_timeout, negative_timeout;
	/* in: how deep SOURCE is stacked (overlayfs: 1), or -1 not to ask for the kernel path */
	int backing_depth;
	pthread_mutex_t options_lock; /* options; held while a remount is carried out */
	struct options *options;
	uid_t owner;			 /* who mounted */
	struct supervision *supervision; /* NULL: the mount does not survive this process */
	/* The options or rules are others now; with options_lock held. May be NULL. */
	void (*changed)(void *server);
	/* Begins an upgrade where the installed program can take over. 0, or a negative errno with
	 * a sentence in ERROR. NULL without supervision. */
	int (*upgrade)(void *server, char *version, size_t version_size, char *error,
		       size_t error_size);
	void *server;
};

/* Reads FUSE_INIT from s->fd and answers it. 0 or a negative errno, with a line in the log. */
int session_init(struct session *s);

/*
 * The kernel path: FD (regular, its filesystem not stacked deeper than s->backing_depth) becomes a
 * backing id for open replies. > 0, or a negative errno. Any thread.
 */
int session_backing_open(struct session *s, int fd);
void session_backing_close(struct session *s, int id);

/*
 * All requests that were read and not answered come again, in front of all others, with the resend
 * bit; a worker that took over calls it once, before it reads. 0; -ENODEV, -ENOTCONN: the mount is
 * gone. Linux 6.9 (FUSE_HAS_RESEND in s->flags).
 */
int session_resend(struct session *s);

/* Bytes that a buffer for one request must hold. */
size_t session_buffer_size(const struct session *s);

/*
 * The kernel drops its pages of [OFF, OFF + LEN) (LEN 0: to the end) and its attributes of node ID.
 * May wait for requests in flight: only from threads that none of those needs.
 */
void session_invalidate(struct session *s, uint64_t id, int64_t off, int64_t len);

/* The kernel forgets what NAME in directory PARENT is. The same threads. */
void session_invalidate_entry(struct session *s, uint64_t parent, const char *name);

/* control.c: reads the rules again. 0, or -EINVAL (-EAGAIN: it has killed who tried) with a
 * sentence in OUT, and nothing changed. */
struct cachefs_reload;
int control_reload(struct session *s, struct cachefs_reload *out);

#endif
