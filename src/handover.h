/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * An upgrade: the supervisor becomes another program (execve(2)) that goes on with its mount, its
 * descriptors and its shared memory. What that program must know stands in a memfd as "key=value",
 * a NUL after each; what it does not know it ignores, what it misses it refuses.
 */
#ifndef CACHEFS_HANDOVER_H
#define CACHEFS_HANDOVER_H

#include <stddef.h>

struct server;

#define HANDOVER_FORMAT 1 /* changes when the meaning of a key does; new keys do not change it */

/* Arguments of the program: --take-over FD PROGRAM-FD, and --take-over-check FD. */
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
/* Becomes PROGRAM, a descriptor, again: the one that handed over. Returns where that failed. */
void handover_return(int fd, int program);

#endif
