/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The worker's side of its supervision. */
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include "base/log.h"
#include "base/util.h"
#include "supervisor/supervisor_internal.h"

/*
 * clone(2) as it is, since fork(3) has no CLONE_FILES. No other thread exists, so nothing of the C
 * library is in the midst of anything.
 */
pid_t worker_clone(void)
{
	pid_t pid;

	fflush(NULL);
	pid = (pid_t)syscall(SYS_clone, CLONE_FILES | SIGCHLD, 0, NULL, NULL, 0);
	return pid < 0 ? -errno : pid;
}

void worker_begin(struct supervisor *s)
{
	/* as if it had been told to end; the descriptor of the supervisor says so, too */
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	if (getppid() != atomic_load(&s->memory->supervisor))
		kill(getpid(), SIGTERM);
}

static int say(struct supervisor *s, const struct message *m)
{
	return send(s->control[1], m, sizeof(*m), MSG_NOSIGNAL) == sizeof(*m) ? 0 : -errno;
}

/* False: that was all. */
static bool answer(struct supervisor *s)
{
	struct message m, pong = {.kind = MESSAGE_PONG};

	if (recv(s->control[1], &m, sizeof(m), MSG_DONTWAIT) != sizeof(m))
		return true;
	if (m.kind == MESSAGE_PING) {
		s->calls.health(s->calls.arg, &pong.health);
		say(s, &pong);
	} else if (m.kind == MESSAGE_HAND_OVER) {
		s->calls.hand_over(s->calls.arg);
	}
	return m.kind != MESSAGE_QUIT;
}

#define MSEC UINT64_C(1000000)

/*
 * How long to sleep until the next kick, in ms. The rings of a dead worker are taken apart by the
 * kernel in the background, after its memory is gone; their exclusive polls of /dev/fuse swallow
 * wake-ups until then. Nobody says when that is over, and one look every few seconds costs nothing
 * beside a mount that hangs.
 */
static int next_kick(struct supervisor *s, uint64_t since)
{
	uint64_t age = clock_nsec() - since;

	if (age < 200 * MSEC)
		return 5;
	if (age < 2000 * MSEC || atomic_load(&s->memory->late))
		return 20;
	return age < 30000 * MSEC ? 200 : 5000;
}

static void *worker_thread(void *arg)
{
	struct supervisor *s = arg;
	struct pollfd p[] = {{.fd = s->control[1], .events = POLLIN},
			     {.fd = s->self_fd, .events = POLLIN}};
	uint64_t since = clock_nsec();
	bool settled = false;

	for (;;) {
		int kick = s->resumed ? next_kick(s, since) : -1;
		int n = poll(p, 2, kick >= 0 ? kick : settled ? -1 : 1000);

		if (kick >= 0)
			s->calls.kick(s->calls.arg);
		if (!settled && clock_nsec() - since > 1000 * MSEC) {
			s->calls.settled(s->calls.arg);
			settled = true;
		}
		if (n <= 0)
			continue;
		if (p[1].revents) {
			s->calls.orphaned(s->calls.arg);
			return NULL;
		}
		if (!answer(s))
			return NULL;
	}
}

int worker_ready(struct supervisor *s, const struct worker_calls *calls, bool resumed)
{
	struct message m = {.kind = MESSAGE_READY};
	int err;

	s->calls = *calls;
	s->resumed = resumed;
	err = -pthread_create(&s->thread, NULL, worker_thread, s);
	s->running = !err;
	return err ? err : say(s, &m);
}

void worker_end(struct supervisor *s)
{
	struct message m = {.kind = MESSAGE_QUIT};

	if (!s || !s->running)
		return;
	/* the supervisor's end of the socket is ours, too */
	send(s->control[0], &m, sizeof(m), MSG_NOSIGNAL);
	pthread_join(s->thread, NULL);
	s->running = false;
}

int worker_ask_upgrade(struct supervisor *s)
{
	return say(s, &(struct message){.kind = MESSAGE_UPGRADE});
}

bool supervision_reload_begin(struct supervision *m)
{
	if (!m)
		return true;
	if (atomic_load(&m->reload_deaths) > RELOAD_SUCCESSORS)
		return false;
	atomic_store(&m->reloading, true);
	return true;
}

void supervision_reload_end(struct supervision *m)
{
	if (!m)
		return;
	atomic_store(&m->reload_deaths, 0);
	atomic_store(&m->reloading, false);
}

int supervision_notify_begin(struct supervision *m)
{
	int tid = (int)syscall(SYS_gettid);

	for (int i = 0; i < SUPERVISION_NOTIFYING; i++) {
		int none = 0;

		if (!atomic_load_explicit(&m->notifying[i], memory_order_relaxed) &&
		    atomic_compare_exchange_strong(&m->notifying[i], &none, tid))
			return i;
	}
	return -1;
}

void supervision_notify_end(struct supervision *m, int slot)
{
	if (slot >= 0)
		atomic_store(&m->notifying[slot], 0);
}
