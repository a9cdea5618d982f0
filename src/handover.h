/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * An upgrade: the supervisor becomes another program (execve(2)) that goes on with its mount, its
 * descriptors and its shared memory. What that program must know stands in a memfd as "key=value",
 * a NUL after each; what it does not know it ignores, what it misses it refuses.
 */
#ifndef CACHEFS_HANDOVER_H
#define CACHEFS_HANDOVER_H

#include <stdbool.h>
#include <stddef.h>

struct server;

/*
 * Changes when the meaning of a key does; new keys do not change it. 2: "guardian", which the new
 * program must release (supervisor/guardian.h). Who knows 2 can take over from 1, but not the other
 * way round: a guardian that nobody releases would end a program that serves. A program that does
 * not know "guardian-turn" releases it as well, without asking whose turn it is.
 */
#define HANDOVER_FORMAT 2
#define HANDOVER_FORMAT_LEAST 1

/*
 * Arguments of the program: --take-over FD PROGRAM-FD, and --take-over-check FD. Instead of a
 * descriptor PROGRAM-FD may be one of these: the program served before, and goes on.
 */
#define TAKE_OVER_BACK (-1) /* the other one could not serve, and went back */
#define TAKE_OVER_DIED (-2) /* it ended, or hung, before it could even do that */
#define TAKE_OVER "--take-over"
#define TAKE_OVER_CHECK "--take-over-check"

/* Of the installed program: where ours was started from. 0 or a negative errno. */
int handover_program(char *path, size_t size);

/*
 * Could PROGRAM take over? Runs it with TAKE_OVER_CHECK; VERSION gets what it calls itself. 0, or a
 * negative errno with a sentence in ERROR. By a worker; any thread.
 */
int handover_check(struct server *s, const char *program, char *version, size_t version_size,
		   char *error, size_t error_size);

/*
 * Becomes PROGRAM; there is no worker, and this is its supervisor. Returns where that failed: a
 * negative errno, and all is as before.
 */
int handover_exec(struct server *s, const char *program);

/* In the new program. S is filled in as far as the front fills it in. 0 or a negative errno, with
 * a sentence in ERROR. */
int handover_receive(int fd, struct server *s, char *error, size_t error_size);
/* Nobody who is executed from now on has the mount's descriptors, nor STATE and PROGRAM. */
void handover_keep(struct server *s, int state, int program);
/*
 * Becomes PROGRAM, a descriptor, again: the one that handed over. What a worker of ours opened and
 * recorded meanwhile goes with it. S may have been filled in or not. Returns where that failed.
 */
void handover_return(struct server *s, int fd, int program);

#endif
