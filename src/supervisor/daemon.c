/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "supervisor/daemon.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "base/util.h"

static int ready_fd = -1;

/* The parent's part: one byte means success; end of file means that the child has ended. */
static void wait_for_child(int fd, pid_t child, void (*failed)(void *, int), void *arg)
{
	char byte;
	ssize_t n;
	int status;

	do {
		n = read(fd, &byte, 1);
	} while (n < 0 && errno == EINTR);
	if (n == 1)
		_exit(0);
	while (waitpid(child, &status, 0) < 0 && errno == EINTR)
		;
	if (WIFEXITED(status) && WEXITSTATUS(status))
		_exit(WEXITSTATUS(status));
	/* its orphans, which may be about to mount or to unmount */
	while (waitpid(-child, NULL, 0) > 0 || errno == EINTR)
		;
	failed(arg, status);
	_exit(2);
}

int daemon_fork(void (*failed)(void *arg, int status), void *arg)
{
	int fds[2];
	pid_t child;

	if (pipe2(fds, O_CLOEXEC) < 0)
		return -errno;
	prctl(PR_SET_CHILD_SUBREAPER, 1); /* for this process alone */
	child = fork();
	if (child < 0) {
		int err = -errno;

		close(fds[0]);
		close(fds[1]);
		return err;
	}
	if (child) {
		close(fds[1]);
		wait_for_child(fds[0], child, failed, arg);
	}
	close(fds[0]);
	ready_fd = fds[1];
	setsid();
	return 0;
}

int daemon_descriptor(void)
{
	return ready_fd;
}

void daemon_ready(void)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	if (null >= 0) {
		for (int fd = 0; fd <= 2; fd++)
			dup2(null, fd);
		if (null > 2)
			close(null);
	}
	while (write(ready_fd, "", 1) < 0 && errno == EINTR)
		;
	close(ready_fd);
	ready_fd = -1;
}
