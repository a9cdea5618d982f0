/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Keeps a mount alive over the death of the process that serves it.
 *
 * The supervisor holds, and starts: it shares its table of descriptors with the worker
 * (CLONE_FILES), so whatever a worker had open is open still when it is dead, and it made all
 * memory that a successor needs. It parses nothing, serves nothing, and does not open a descriptor
 * for keeps once there is a worker (the C library's, as syslog(3)'s, would be two processes').
 *
 *	STARTING ── ready ──▶ SERVING ── dies ──▶ RESTARTING ── ready ──▶ SERVING
 *	   │ ends               │ │ │                 │ too many failures
 *	   ▼                    │ │ └─ upgrade ──▶ UPGRADING ──▶ exec of the new program ──▶
 *STARTING (its status)           │ └─ told to end ──▶ STOPPING ──▶ (the worker's status) └─ the
 *mount is gone: (the worker's status)     ▼ FAILED: EIO
 *
 * A successor starts when all threads of the dead worker are gone, so that no write of it is still
 * on its way. The exception are threads that wait in a notification to the kernel
 * (supervision.notifying): they write no file, and may wait for what only a successor can answer.
 *
 * A worker is killed (and replaced) when it makes no progress, but never while one of its threads
 * is in uninterruptible sleep: that is slow storage.
 *
 * All functions are the supervisor's but those that say "worker".
 */
#ifndef CACHEFS_SUPERVISOR_SUPERVISOR_H
#define CACHEFS_SUPERVISOR_SUPERVISOR_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define SUPERVISION_NOTIFYING 64 /* threads that may be in a notification at once */

/* How the last worker went. */
struct obituary {
	int32_t pid;	/* 0: none has died yet */
	int32_t signal; /* or 0, and it ended with */
	int32_t status;
	uint32_t hung;	     /* the supervisor killed it */
	uint64_t when;	     /* CLOCK_REALTIME, seconds */
	uint64_t died;	     /* CLOCK_MONOTONIC, nanoseconds */
	uint32_t pause_usec; /* worker: until its successor was ready */
};

/* Memory that supervisor and workers share. Written by the supervisor unless it says otherwise. */
struct supervision {
	atomic_int supervisor; /* process id */
	atomic_uint restarts, upgrades;
	struct obituary obituary; /* complete before its successor is started */
	/* Worker: the mount is gone, or not ours any more: nobody must unmount what is there. */
	atomic_bool detached;
	/* Worker: it is ending by itself, since the mount is gone or it was told to; or for an
	 * upgrade, all requests answered. */
	atomic_bool ending, told_to_end, handover;
	/*
	 * errno of the last upgrade's exec(2), or 0; EPROTO, EOWNERDEAD: TAKE_OVER_BACK, _DIED;
	 * EINPROGRESS: this program took over, and may still go back.
	 */
	atomic_int upgrade_error;
	/* Who was asked for a reload (SIGHUP) counts it before, the worker that has done all of
	 * them says so: what is left when it ends is its successor's. */
	atomic_uint reloads_asked, reloads_done;
	atomic_bool reloading;	   /* worker: now */
	atomic_uint reload_deaths; /* of workers in a row that were at it */
	atomic_ullong resent_sum;  /* worker: requests that came again, since the mount */
	atomic_bool swept; /* worker: it closes no descriptor any more that it did not open */
	atomic_uint late;  /* dead workers of which threads are left in a notification */
	/* Worker: ids of threads that are in a notification; 0: free */
	atomic_int notifying[SUPERVISION_NOTIFYING];
};

/* What a worker tells with each answer to a ping. */
struct health {
	uint64_t answered; /* requests, since its start */
	uint32_t waiting;  /* requests that are not answered */
	uint32_t idle;	   /* none of its threads is at work on one */
};

struct supervisor_config {
	const char *name;    /* for the log: the mountpoint */
	double hang_timeout; /* seconds; 0: a worker is never taken for hung */
	/* A worker's life; its exit status. RESUMED: there was one before. In the new process. */
	int (*work)(void *arg, bool resumed);
	/* The first worker (of this program) is ready. */
	void (*ready)(void *arg);
	/* A worker has died before that, or there is no process for one. Becomes the program
	 * before this one, where there is one and the mount is served already; else returns. */
	void (*go_back)(void *arg);
	/* Answers all requests with EIO until the mount is gone (true) or SIGNAL_FD is readable. */
	bool (*refuse)(void *arg, int signal_fd);
	/* Unmounts lazily where the mount is still there. */
	void (*detach)(void *arg);
	/* Becomes the newly installed program; returns (a negative errno) where it could not. */
	int (*upgrade)(void *arg);
	void *arg;
};

struct supervisor;

/* Signals are blocked, no other thread exists. 0 or a negative errno. */
int supervisor_create(const struct supervisor_config *config, struct supervisor **out);
void supervisor_destroy(struct supervisor *s);
struct supervision *supervisor_memory(struct supervisor *s);
/*
 * Starts workers until one ends by itself; its exit status. RESUMED: also the first one has a
 * predecessor. Returns in the supervisor only.
 */
int supervisor_run(struct supervisor *s, bool resumed);

/* ---- worker ---- */

/* What the worker is asked by its supervisor, on a thread of its own. */
struct worker_calls {
	void (*health)(void *arg, struct health *h);
	/* End for an upgrade: answer what is there, then set handover and exit. */
	void (*hand_over)(void *arg);
	/* A second after it began to serve. */
	void (*settled)(void *arg);
	/* After a resume, again and again while the one before may have left polls behind: */
	void (*kick)(void *arg);
	/* The supervisor is gone: flush and end. */
	void (*orphaned)(void *arg);
	void *arg;
};

/* In front, before threads exist: the worker ends when its supervisor does. */
void worker_begin(struct supervisor *s);
/* It serves. Starts the thread. 0 or a negative errno. */
int worker_ready(struct supervisor *s, const struct worker_calls *calls, bool resumed);
/* Nothing is asked any more when it returns; NULL, or before worker_ready(): does nothing. */
void worker_end(struct supervisor *s);
/* Asks for an upgrade; hand_over() will be called. 0 or a negative errno. */
int worker_ask_upgrade(struct supervisor *s);

/*
 * Has a thread of this process been in one and the same uninterruptible sleep for half a second?
 * Returns at once where none is in any.
 */
bool tasks_wait_for_storage(void);

/*
 * Around a reload, by one thread at a time. False: the worker that was asked and RELOAD_SUCCESSORS
 * after it have died in one; it is not tried again until a worker has served well. M may be NULL.
 */
#define RELOAD_SUCCESSORS 3
bool supervision_reload_begin(struct supervision *m);
void supervision_reload_end(struct supervision *m);

/* Around a notification to the kernel: a slot of notifying[], or -1. Any thread. */
int supervision_notify_begin(struct supervision *m);
void supervision_notify_end(struct supervision *m, int slot);

/*
 * Before this process becomes another program, which does not have this memory: what was taken and
 * is not done is pending again. execve(2) keeps what is pending, and that it is blocked.
 */
void supervision_give_back_signals(struct supervision *m);

#endif
