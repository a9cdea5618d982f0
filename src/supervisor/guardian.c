/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "supervisor/guardian.h"

#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "base/util.h"

/* From the exec to the release a program reads a page of text and maps memory. */
#define RELEASE_NSEC UINT64_C(20000000000)
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

/* Its descriptors are closed when its pidfd says that it has ended: all is the guardian's alone. */
static void guard(int supervisor, guardian_fn *take_over, void *arg)
{
	bool hung = !wait_for_end(supervisor, RELEASE_NSEC);

	if (hung) {
		syscall(SYS_pidfd_send_signal, supervisor, SIGKILL, NULL, 0);
		while (!wait_for_end(supervisor, RELEASE_NSEC))
			;
	}
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
		guard(g->supervisor, take_over, arg);
		_exit(2);
	}
	if (g->pid < 0) {
		int err = -errno;

		cleanup_fd(&g->supervisor);
		return err;
	}
	return 0;
}

void guardian_end(struct guardian *g)
{
	guardian_release(g->pid);
	cleanup_fd(&g->supervisor);
}

/* It is ours alone, and killed. */
static pid_t ending;

bool guardian_is_gone(void)
{
	if (ending > 0 && waitpid(ending, NULL, WNOHANG) != 0)
		ending = 0;
	return ending == 0;
}

void guardian_release(pid_t pid)
{
	const struct timespec pause = {.tv_nsec = 100000};
	uint64_t until = clock_nsec() + END_NSEC;

	/* a number alone says nothing: it may have been reaped, or be our own where we were it */
	if (pid <= 0 || waitpid(pid, NULL, WNOHANG) != 0)
		return;
	kill(pid, SIGKILL);
	ending = pid;
	while (!guardian_is_gone() && clock_nsec() < until)
		nanosleep(&pause, NULL);
}
