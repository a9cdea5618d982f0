/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What supervisor.c, health.c, worker.c and tasks.c share. */
#ifndef CACHEFS_SUPERVISOR_INTERNAL_H
#define CACHEFS_SUPERVISOR_INTERNAL_H

#include <pthread.h>

#include "supervisor/supervisor.h"

#define LATE_MAX 64
#define POINTS_MAX 20 /* no more workers are started */

enum message_kind {
	MESSAGE_READY,	   /* worker: it serves */
	MESSAGE_PING,	   /* answer with your health */
	MESSAGE_PONG,	   /* worker */
	MESSAGE_UPGRADE,   /* worker: somebody asks for it */
	MESSAGE_HAND_OVER, /* answer what you have, and end */
	MESSAGE_QUIT,	   /* worker, to its own thread */
};

struct message {
	enum message_kind kind;
	struct health health; /* PONG */
};

enum outcome {
	OUTCOME_ENDED,	  /* as it should, or it could not start: so does the supervisor */
	OUTCOME_HANDOVER, /* for an upgrade */
	OUTCOME_DIED,
	OUTCOME_FAILED /* once too often */
};

struct supervisor {
	struct supervisor_config config;
	struct supervision *memory;
	int control[2]; /* the supervisor's end, the worker's; SOCK_SEQPACKET of struct message */
	int signal_fd;
	int self_fd; /* pidfd of the supervisor, which the worker polls */

	/* of the worker that there is; times of CLOCK_MONOTONIC, nanoseconds */
	pid_t worker; /* 0: there is none */
	bool first;   /* of the mount: no other one has served before it */
	bool ready, hung, handing_over;
	uint64_t started, ready_at, asked, pong, progress, answered, ticked;
	/* of all of them */
	bool told_ready;
	unsigned points;      /* of failures, since one served well */
	unsigned short_lives; /* in a row */
	/* Dead ones of which threads are left in notifications. */
	pid_t late[LATE_MAX];
	unsigned nlate;

	/* worker */
	struct worker_calls calls;
	bool resumed, running;
	pthread_t thread;
};

/* A worker that does not read is found by what it does not answer. */
void supervisor_tell(struct supervisor *s, enum message_kind kind);

/* health.c: it answered. */
void health_heard(struct supervisor *s, const struct health *h);
/* Every second or so: kills it where it hangs; forgets failures where it serves well. */
void health_look(struct supervisor *s, pid_t pid, uint64_t now);
/* It has died; STATUS as of waitpid(2). */
void health_count_failure(struct supervisor *s, int status, uint64_t now);

/* Supervisor: a worker's process; 0 in that one, or a negative errno. */
pid_t worker_clone(void);

/* The threads of process PID. 0, or a negative errno: not all of them could be looked at. */
struct tasks {
	bool leader_dead;
	bool waiting_for_storage; /* one is in uninterruptible sleep */
	bool traced;
	unsigned alive;	    /* not counting those that are dead already */
	unsigned notifying; /* of those, in a notification */
};
int tasks_look(pid_t pid, struct supervision *m, struct tasks *out);

#endif
