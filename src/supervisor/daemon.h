/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Going into the background so that the command returns when the mount answers, or has failed. */
#ifndef CACHEFS_SUPERVISOR_DAEMON_H
#define CACHEFS_SUPERVISOR_DAEMON_H

/*
 * Forks. Returns in the child, in a session of its own; the parent waits and ends with the status
 * of daemon_ready(), or of the child where that ends before. Before threads exist. A negative errno
 * when there is no child.
 *
 * A child that is killed, or ends with 0, has said nothing and left what it had made: then FAILED
 * is called in the parent, which ends with 2, with ARG and STATUS as of waitpid(2), when nobody of
 * the child's session is left.
 */
int daemon_fork(void (*failed)(void *arg, int status), void *arg);
/* Of ours, until daemon_ready(); -1: none. */
int daemon_descriptor(void);
/* The mount answers: the parent may end with 0. Standard descriptors are /dev/null from now on. */
void daemon_ready(void);

#endif
