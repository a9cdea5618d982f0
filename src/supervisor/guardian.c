/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "supervisor/guardian.h"

#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "base/util.h"

#define NEVER_NSEC UINT64_C(3600000000000) /* asked again then */
/* It dies at once, but closes its descriptors then; and NFS, for one, writes back at each close of
 * a file that is open for writing. Clients need not wait for that. */
#define END_NSEC UINT64_C(200000000)

/* True: it has ended. False: it still lives after NSEC. */
static bool wait_for_end(int pidfd, uint64_t nsec)
{
	struct pollfd p = {.fd = pidfd, .events = POLLIN};
	uint64_t until = clock_nsec() + nsec, now;

	while ((now = clock_nsec()) < until)
		if (poll(&p, 1, (int)((until - now) / 1000000) + 1) > 0)
			return true;
	return false;
}

static bool take_turn(atomic_int *turn, enum guardian_turn mine)
{
	int waits = GUARDIAN_WAITS;

	return atomic_compare_exchange_strong(turn, &waits, mine);
}

/*
 * Its descriptors are closed when its pidfd says that it has ended: all is the guardian's alone.
 * Whose turn it was does not matter then: a worker is started by who has killed this process first.
 */
static void guard(const struct guardian *g, guardian_fn *take_over, void *arg)
{
	bool ended = wait_for_end(g->supervisor, g->patience);
	bool hung = !ended && take_turn(g->turn, GUARDIAN_ACTS);

	if (hung)
		syscall(SYS_pidfd_send_signal, g->supervisor, SIGKILL, NULL, 0);
	while (!ended) /* or until it releases this process, as it is about to */
		ended = wait_for_end(g->supervisor, NEVER_NSEC);
	take_over(arg, hung);
}

int guardian_start(struct guardian *g, guardian_fn *take_over, void *arg)
{
	g->supervisor = sysret((int)syscall(SYS_pidfd_open, getpid(), 0));
	if (g->supervisor < 0)
		return g->supervisor;
	fflush(NULL);
	g->pid = (pid_t)syscall(SYS_clone, CLONE_FILES | SIGCHLD, 0, NULL, NULL, 0);
	if (g->pid == 0) {
		guard(g, take_over, arg);
		_exit(2);
	}
	if (g->pid < 0) {
		int err = -errno;

		cleanup_fd(&g->supervisor);
		return err;
	}
	return 0;
}

bool guardian_end(struct guardian *g)
{
	bool released = guardian_release(g->pid, g->turn);

	/* who acts waits by it for our end, and has the same table of descriptors */
	if (released)
		cleanup_fd(&g->supervisor);
	return released;
}

/* It is ours alone, and killed. */
static pid_t ending;

bool guardian_is_gone(void)
{
	if (ending > 0 && waitpid(ending, NULL, WNOHANG) != 0)
		ending = 0;
	return ending == 0;
}

bool guardian_release(pid_t pid, atomic_int *turn)
{
	const struct timespec pause = {.tv_nsec = 100000};
	uint64_t until = clock_nsec() + END_NSEC;

	/* a number alone says nothing: it may have been reaped, or be our own where we were it */
	if (pid <= 0 || waitpid(pid, NULL, WNOHANG) != 0)
		return true;
	/* RELEASED: by a program that went back to us before it could kill it */
	if (turn && !take_turn(turn, GUARDIAN_RELEASED) && atomic_load(turn) == GUARDIAN_ACTS)
		return false;
	kill(pid, SIGKILL);
	ending = pid;
	while (!guardian_is_gone() && clock_nsec() < until)
		nanosleep(&pause, NULL);
	return true;
}
