/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Who holds a mount's descriptors while its supervisor becomes another program: a process that only
 * waits. Should that program end before it can serve or go back, or hang, the kernel would end the
 * mount with its last descriptor; so the guardian becomes the supervisor instead.
 *
 * It is the supervisor's child, by the same table of descriptors until the exec parts them, and so
 * the other program's, which releases it before it starts a worker: nobody serves while a guardian
 * may still act, and none acts while somebody serves.
 *
 * Both kill the other one, for which there is one turn, in memory that both map: the guardian takes
 * it when its patience is at an end, the other program to release it. Who finds it taken steps
 * back.
 */
#ifndef CACHEFS_SUPERVISOR_GUARDIAN_H
#define CACHEFS_SUPERVISOR_GUARDIAN_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* From the exec to the release a program reads a page of text and maps memory. */
#define GUARDIAN_PATIENCE_NSEC UINT64_C(20000000000)

enum guardian_turn { GUARDIAN_WAITS, GUARDIAN_ACTS, GUARDIAN_RELEASED };

struct guardian {
	atomic_int *turn;  /* enum guardian_turn; in memory that the other program maps, too */
	uint64_t patience; /* nanoseconds */
	pid_t pid;	   /* set by guardian_start(), as is */
	int supervisor;	   /* pidfd; the guardian's, too: it stays open until the end */
};

/*
 * Called in the guardian, when the process that started it has ended; HUNG: by the guardian, which
 * had not been released when its patience was at an end. Returns only where it can do nothing; the
 * guardian ends.
 */
typedef void guardian_fn(void *arg, bool hung);

/* By the supervisor; no other thread exists, signals are blocked. 0 or a negative errno. */
int guardian_start(struct guardian *g, guardian_fn *take_over, void *arg);
/* By who started it: the exec failed. False: as guardian_release(). */
bool guardian_end(struct guardian *g);
/*
 * By the other program. True: the guardian acts no more, but may not have ended yet; PID is 0, or
 * this process: there is none. False: it acts, and waits for the end of this process, which has to
 * do nothing else. TURN may be NULL: who started it does not know of turns.
 */
bool guardian_release(pid_t pid, atomic_int *turn);
/* True: nobody waits for the end of a guardian that was released. Reaps it; does not block. */
bool guardian_is_gone(void);

#endif
