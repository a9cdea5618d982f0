/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the files of fs/unsafe.h share. */
#ifndef CACHEFS_FS_UNSAFE_INTERNAL_H
#define CACHEFS_FS_UNSAFE_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

#include "durability/marker.h"
#include "fs/unsafe.h"
#include "loop/pool.h"

/* A file whose last writer has closed it. */
struct closed {
	struct closed *prev, *next;
	struct pool_job job;
	struct fs *fs;
	struct file *file; /* one open of ours */
	int fd;
	bool again; /* it was closed by all before a worker was killed */
};

struct unsafe {
	struct fs *fs;
	struct marker *marker;
	pthread_t thread;
	pthread_mutex_t lock; /* all below, h->unsafe, f->unsafe_writers; after f->lock */
	pthread_cond_t changed;
	struct closed *closed; /* to be flushed */
	unsigned waiting;      /* of them */
	unsigned flushing;     /* taken from there, not done */
	unsigned writers;      /* opens for writing that drop flushes */
	uint64_t opens;	       /* of them, ever */
	time_t quiet_since;    /* CLOCK_MONOTONIC: when the last of them went */
	bool ending;	       /* the marker is being removed */
	bool left;	       /* files were closed, and not flushed, since it began */
	/* Directories that get another name now, and all that have begun to */
	unsigned moving, moved;
	bool met; /* what an earlier mount left is dealt with */
	/* Files were concerned at the start; what fails from then on is latched, and for the next
	 * one */
	bool met_tainted;
	/* What the marker should say could not be written: what this process does about it */
	atomic_bool refuse_all, trust_all;
	bool failed;	       /* something could not be flushed: the marker stays */
	unsigned failed_files; /* as well, for files that nobody has trusted since */
	bool untold;	       /* which the marker does not say yet */
	bool idle, pausing;    /* the thread: until it is woken; before the next round */
	bool running, stop;
};

/* What a successor has to know, with the lock held. */
void unsafe_note(struct unsafe *u);
/* Data of C (NULL: not known of which file) is lost: the marker says so, and stays. */
void unsafe_failed(struct unsafe *u, const struct concerned *c);
/* Flushes what is in CLOSED, with the lock held; gives it up meanwhile. */
void unsafe_flush_closed(struct unsafe *u);

/* The marker does not end in between. */
void unsafe_hold(struct unsafe *u);
void unsafe_release(struct unsafe *u);

/*
 * unsafe_names.c: the marker says that F, which has a mode from ORIGIN and was counted before, may
 * have unflushed data. 0 or a negative errno, which the log has.
 */
int unsafe_say(struct unsafe *u, struct file *f, enum cachefs_origin origin);

/* What the marker says of N. PATH is borrowed. */
void unsafe_concern(const struct node *n, const char *path, struct concerned *out);
/* At the start: what an earlier mount left is dealt with as after-crash says. 0 or a negative
 * errno. */
int unsafe_meet(struct unsafe *u, enum marker_found found);
/* After a resume: the same again if the process before us had not come so far; its marker is ours.
 */
int unsafe_meet_again(struct unsafe *u, enum marker_found found);

#endif
