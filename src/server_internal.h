/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the front (server.c) and the serving (serve.c) of a mount share. */
#ifndef CACHEFS_SERVER_INTERNAL_H
#define CACHEFS_SERVER_INTERNAL_H

#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>

#include "config/options.h"
#include "fs/fs.h"
#include "fuse/refuse.h"
#include "fuse/session.h"
#include "server.h"

struct fs_shared;
struct mount;
struct settings;
struct supervisor;
struct supervision;
struct transport;

/* threads=1024, or as many as processors and some more */
#define LOOPS_MAX 4096

struct server {
	/* ---- made in front, before there is a worker; the same for each of them ---- */
	struct options *options;
	bool privileged;
	uint64_t covered; /* mount_at() its mountpoint, before it */
	int source_fd;
	struct capabilities caps;
	const struct engine *engine;
	struct mount *mount;
	struct session session;
	unsigned loops;		     /* at most LOOPS_MAX */
	unsigned restarts, upgrades; /* before this program took over */
	int upgrade_error;	     /* errno: why another program did not */
	bool took_over;
	/* Until a worker of this program serves: descriptors of the one before, and of what it
	 * said; -1: there is none to go back to. */
	int predecessor, predecessor_state;
	pid_t guardian; /* until then; 0: none */
	atomic_int *guardian_turn;
	int *device_fds; /* of the transport */
	struct fs_shared *shared;
	struct settings *settings;
	struct supervisor *supervisor; /* NULL: one process is all there is */
	struct supervision *supervision;
	char program[PATH_MAX]; /* what an upgrade starts */
	bool *kept;		/* by number: descriptors that are open for good; NRKEPT of them */
	int nkept;

	/* ---- the worker's own ---- */
	struct pool *pool;
	struct fs *fs;
	struct transport *transport;
	pthread_t signals; /* signals.c */
	bool have_signals;
	void (*told)(struct server *s, int sig);
	atomic_bool ending, handing_over;
	atomic_bool told_to_end;    /* by a signal: files may be open still */
	struct refuser refuser;	    /* from then on */
	pthread_mutex_t shown_lock; /* shown; after session.options_lock */
	char shown[8192];	    /* the options in force, as last seen */
};

/*
 * serve.c: serves until the mount is gone, or this process is told to end; an exit status. RESUMED:
 * another process served before.
 */
int server_serve(struct server *s, bool resumed);
/* The mount is not ours any more: unmounted lazily where it is still there. Once. */
void server_leave_mount(struct server *s);
/* The same without umount(8), which takes the mount out of its table by itself. */
void server_unmount(struct server *s);
/* The mount answers: what the world is told. */
void server_ready(struct server *s);

/*
 * signals.c: TOLD is called for SIGTERM and SIGINT, and SIGUSR1; SIGHUP is seen to. On a thread,
 * until one of the others is called.
 */
void server_begin_signals(struct server *s, void (*told)(struct server *s, int sig));
void server_end_signals(struct server *s);
/* For a hand-over, while all is still served. False: it ends, or was told to, or is about to be. */
bool server_leave_signals(struct server *s);
/* After that: those that came since are the successor's. */
void server_keep_pending_signals(struct server *s);

/* descriptors.c: those that are open now, but for what is recorded in s->shared, are for good. */
int server_keep_descriptors(struct server *s);
/* Open for a while only: whoever has its number later does not keep it. -1: does nothing. */
void server_forget_descriptor(struct server *s, int fd);
/* Closes what is neither kept nor recorded: a dead worker's. No other thread exists. */
void server_close_leftovers(struct server *s);

int server_backing_open(void *arg, int fd);
void server_backing_close(void *arg, int id);

#endif
