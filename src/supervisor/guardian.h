/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Who holds a mount's descriptors while its supervisor becomes another program: a process that only
 * waits. Should that program end before it can serve or go back, or hang, the kernel would end the
 * mount with its last descriptor; so the guardian becomes the supervisor instead.
 *
 * It is the supervisor's child, by the same table of descriptors until the exec parts them, and so
 * the other program's, which releases it before it starts a worker: nobody serves while a guardian
 * may still act, and none acts while somebody serves.
 */
#ifndef CACHEFS_SUPERVISOR_GUARDIAN_H
#define CACHEFS_SUPERVISOR_GUARDIAN_H

#include <stdbool.h>
#include <sys/types.h>

struct guardian {
	pid_t pid;
	int supervisor; /* pidfd; the guardian's, too: it stays open until the end */
};

/*
 * Called in the guardian, when the process that started it has ended; HUNG: by the guardian, since
 * it had not been released after 20 s. Returns only where it can do nothing; the guardian ends.
 */
typedef void guardian_fn(void *arg, bool hung);

/* By the supervisor; no other thread exists, signals are blocked. 0 or a negative errno. */
int guardian_start(struct guardian *g, guardian_fn *take_over, void *arg);
/* By who started it: the exec failed. */
void guardian_end(struct guardian *g);
/* By the other program. The guardian acts no more when it returns, but may not have ended yet; 0,
 * or no child of ours: does nothing. */
void guardian_release(pid_t pid);
/* True: nobody waits for the end of a guardian that was released. Reaps it; does not block. */
bool guardian_is_gone(void);

#endif
