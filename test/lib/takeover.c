/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * takeover: mount.cachefs, but an upgrade to it goes wrong, at a place that one can choose.
 *
 * It says that it can take over, as the real one does. The place is the word in PROGRAM.place,
 * where PROGRAM is where it was started from; without that file it is mount.cachefs. Functions of
 * the daemon are replaced at the link (ld(1), --wrap), so whatever is not at the place is as it is
 * installed.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/util.h"
#include "handover.h"
#include "server.h"
#include "server_internal.h"
#include "supervisor/guardian.h"
#include "supervisor/supervisor.h"
#include "supervisor/supervisor_internal.h"
#include "transport/transport.h"

struct settings;

static bool taking_over;

/* What stands in PROGRAM.place is WORD. */
static bool is_place(const char *word)
{
	char path[PATH_MAX], name[PATH_MAX + 8], text[32] = "";
	FILE *f;

	if (handover_program(path, sizeof(path)))
		abort();
	snprintf(name, sizeof(name), "%s.place", path);
	f = fopen(name, "re");
	if (f && fscanf(f, "%31s", text) != 1)
		abort();
	if (f)
		fclose(f);
	return !strcmp(text, word);
}

static bool fails_at(const char *word)
{
	return taking_over && is_place(word);
}

/* PROGRAM.NAME is made, or waited for. */
static void mark(const char *name, bool wait)
{
	char path[PATH_MAX], file[PATH_MAX + 16];
	int fd;

	if (handover_program(path, sizeof(path)))
		abort();
	snprintf(file, sizeof(file), "%s.%s", path, name);
	if (!wait) {
		fd = open(file, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
		if (fd < 0)
			abort();
		close(fd);
		return;
	}
	while (access(file, F_OK) < 0)
		usleep(1000);
}

/* ---- before it could go back ---- */

int __real_server_take_over(int fd, int program);
int __wrap_server_take_over(int fd, int program);

int __wrap_server_take_over(int fd, int program)
{
	static const struct {
		const char *word;
		int sig;
	} signals[] = {{"term", SIGTERM}, {"int", SIGINT}, {"hup", SIGHUP}};

	/* it is the one before that goes on: nothing goes wrong a second time */
	taking_over = program >= 0;
	if (fails_at("exit"))
		_exit(3);
	if (fails_at("crash"))
		raise(SIGKILL); /* as SIGSEGV does it, without a core */
	while (fails_at("hang"))
		pause();
	for (size_t i = 0; i < ARRAY_SIZE(signals); i++)
		if (fails_at(signals[i].word))
			kill(getpid(), signals[i].sig);
	return __real_server_take_over(fd, program);
}

/* ---- in the supervisor, before there is a worker ---- */

int __real_handover_receive(int fd, struct server *s, char *error, size_t size);
int __wrap_handover_receive(int fd, struct server *s, char *error, size_t size);

int __wrap_handover_receive(int fd, struct server *s, char *error, size_t size)
{
	if (!fails_at("receive"))
		return __real_handover_receive(fd, s, error, size);
	snprintf(error, size, "descriptor %d holds no state of a mount", fd);
	return -EPROTO;
}

int __real_fs_shared_adopt(const char *text, struct fs_shared **out, char *why, size_t size);
int __wrap_fs_shared_adopt(const char *text, struct fs_shared **out, char *why, size_t size);

int __wrap_fs_shared_adopt(const char *text, struct fs_shared **out, char *why, size_t size)
{
	if (!fails_at("version"))
		return __real_fs_shared_adopt(text, out, why, size);
	snprintf(why, size, "its version is not ours");
	return -EPROTO;
}

int __real_settings_adopt(int fd, struct settings **out);
int __wrap_settings_adopt(int fd, struct settings **out);

int __wrap_settings_adopt(int fd, struct settings **out)
{
	return fails_at("settings") ? -EPROTO : __real_settings_adopt(fd, out);
}

int __real_supervisor_create(const struct supervisor_config *config, struct supervisor **out);
int __wrap_supervisor_create(const struct supervisor_config *config, struct supervisor **out);

int __wrap_supervisor_create(const struct supervisor_config *config, struct supervisor **out)
{
	return fails_at("supervisor") ? -EMFILE : __real_supervisor_create(config, out);
}

int __real_server_keep_descriptors(struct server *s);
int __wrap_server_keep_descriptors(struct server *s);

int __wrap_server_keep_descriptors(struct server *s)
{
	return fails_at("descriptors") ? -EMFILE : __real_server_keep_descriptors(s);
}

bool __real_guardian_release(pid_t pid, atomic_int *turn);
bool __wrap_guardian_release(pid_t pid, atomic_int *turn);

/* The guardian has lost its patience in this moment, and not killed us yet. */
bool __wrap_guardian_release(pid_t pid, atomic_int *turn)
{
	if (fails_at("late"))
		atomic_store(turn, GUARDIAN_ACTS);
	return __real_guardian_release(pid, turn);
}

pid_t __real_worker_clone(void);
pid_t __wrap_worker_clone(void);

pid_t __wrap_worker_clone(void)
{
	return fails_at("process") ? -EAGAIN : __real_worker_clone();
}

/* ---- in its worker, before it is ready ---- */

static void wait_for_signal(int sig)
{
	sigset_t set;

	do {
		usleep(1000);
		sigpending(&set);
	} while (!sigismember(&set, sig));
}

int __real_server_serve(struct server *s, bool resumed);
int __wrap_server_serve(struct server *s, bool resumed);

int __wrap_server_serve(struct server *s, bool resumed)
{
	if (fails_at("worker-exits"))
		return EXIT_SYSTEM;
	if (fails_at("worker-dies"))
		raise(SIGKILL);
	while (fails_at("worker-hangs"))
		pause();
	/* the supervisor has taken the signal, and told this worker, which dies of something else
	 */
	if (fails_at("worker-term")) {
		kill(getppid(), SIGTERM);
		wait_for_signal(SIGTERM);
		raise(SIGKILL);
	}
	if (fails_at("worker-hup")) {
		kill(getppid(), SIGHUP);
		wait_for_signal(SIGHUP);
		raise(SIGKILL);
	}
	return __real_server_serve(s, resumed);
}

int __real_worker_ready(struct supervisor *s, const struct worker_calls *calls, bool resumed);
int __wrap_worker_ready(struct supervisor *s, const struct worker_calls *calls, bool resumed);

/* Requests are answered by now, though the supervisor does not know. */
int __wrap_worker_ready(struct supervisor *s, const struct worker_calls *calls, bool resumed)
{
	if (fails_at("thread"))
		return -EAGAIN;
	if (fails_at("serving")) {
		mark("serving", false);
		mark("die", true);
		raise(SIGKILL);
	}
	return __real_worker_ready(s, calls, resumed);
}

/* ---- in the worker that hands over: this program is the one before ---- */

bool __real_transport_stop_within(struct transport *t, uint64_t nsec);
bool __wrap_transport_stop_within(struct transport *t, uint64_t nsec);

/* A signal comes when nothing but the end of this process is left. */
bool __wrap_transport_stop_within(struct transport *t, uint64_t nsec)
{
	bool stopped = __real_transport_stop_within(t, nsec);

	if (is_place("drained-term"))
		kill(getppid(), SIGTERM);
	if (is_place("drained-hup"))
		kill(getppid(), SIGHUP);
	if (is_place("drained-self-term"))
		kill(getpid(), SIGTERM);
	if (is_place("drained-self-hup"))
		kill(getpid(), SIGHUP);
	return stopped;
}

static atomic_bool woken;

int __real_pthread_kill(pthread_t thread, int sig);
int __wrap_pthread_kill(pthread_t thread, int sig);

int __wrap_pthread_kill(pthread_t thread, int sig)
{
	if (sig == SIGUSR1)
		atomic_store(&woken, true);
	return __real_pthread_kill(thread, sig);
}

int __real_sigwaitinfo(const sigset_t *set, siginfo_t *info);
int __wrap_sigwaitinfo(const sigset_t *set, siginfo_t *info);

/* Not pending any more, and nobody has seen to it yet when the hand-over begins. */
int __wrap_sigwaitinfo(const sigset_t *set, siginfo_t *info)
{
	int sig = __real_sigwaitinfo(set, info);

	if ((sig == SIGTERM && is_place("taken-term")) ||
	    (sig == SIGHUP && is_place("taken-hup"))) {
		mark("taken", false);
		for (int i = 0; i < 20000 && !atomic_load(&woken); i++)
			usleep(1000);
	}
	return sig;
}

/* ---- in any worker ---- */

int __real_options_load_rules(const struct options *base, struct options *o, struct rules **out,
			      char *error, size_t size);
int __wrap_options_load_rules(const struct options *base, struct options *o, struct rules **out,
			      char *error, size_t size);

int __wrap_options_load_rules(const struct options *base, struct options *o, struct rules **out,
			      char *error, size_t size)
{
	if (is_place("dies-reloading"))
		abort(); /* also where all signals are blocked */
	return __real_options_load_rules(base, o, out, error, size);
}
