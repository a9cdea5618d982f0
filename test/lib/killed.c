/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * killed: mount.cachefs, but its processes are killed before the mount answers, at the place that
 * the variable KILLED_AT names. Functions of the daemon are replaced at the link (ld(1), --wrap).
 */
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fuse/mount.h"
#include "server_internal.h"
#include "supervisor/supervisor.h"

static bool is_place(const char *word)
{
	const char *place = getenv("KILLED_AT");

	return place && !strcmp(place, word);
}

int __real_mount_attach(const struct options *o, bool privileged, struct mount **out, char *err,
			size_t errsize);
int __wrap_mount_attach(const struct options *o, bool privileged, struct mount **out, char *err,
			size_t errsize);

int __wrap_mount_attach(const struct options *o, bool privileged, struct mount **out, char *err,
			size_t errsize)
{
	int code;

	if (is_place("start"))
		raise(SIGKILL);
	code = __real_mount_attach(o, privileged, out, err, errsize);
	/* nobody has answered INIT */
	if (is_place("mounted"))
		raise(SIGKILL);
	return code;
}

void __real_mount_answers(struct mount *m);
void __wrap_mount_answers(struct mount *m);

void __wrap_mount_answers(struct mount *m)
{
	if (is_place("initialised"))
		raise(SIGKILL);
	__real_mount_answers(m);
}

/* ---- in the worker ---- */

int __real_server_serve(struct server *s, bool resumed);
int __wrap_server_serve(struct server *s, bool resumed);

int __wrap_server_serve(struct server *s, bool resumed)
{
	if (is_place("ends"))
		return 0;
	return __real_server_serve(s, resumed);
}

int __real_worker_ready(struct supervisor *s, const struct worker_calls *calls, bool resumed);
int __wrap_worker_ready(struct supervisor *s, const struct worker_calls *calls, bool resumed);

/* Requests are answered by now. */
int __wrap_worker_ready(struct supervisor *s, const struct worker_calls *calls, bool resumed)
{
	if (is_place("both") || is_place("supervisor"))
		kill(getppid(), SIGKILL);
	if (is_place("both"))
		raise(SIGKILL);
	return __real_worker_ready(s, calls, resumed);
}
