/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "supervisor/supervisor.h"

#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "base/log.h"
#include "base/util.h"
#include "supervisor/guardian.h"
#include "supervisor/supervisor_internal.h"

#define TICK_MSEC 1000
/* Lives of less than a second in a row that cost no pause, and what the others cost. */
#define SHORT_LIVES_FREE 8
#define SHORT_LIFE_PAUSE_MSEC 100

int supervisor_create(const struct supervisor_config *config, struct supervisor **out)
{
	struct supervisor *s = calloc(1, sizeof(*s));
	sigset_t all;
	int err = 0;

	if (!s)
		return -ENOMEM;
	*s = (struct supervisor){
	    .config = *config, .control = {-1, -1}, .signal_fd = -1, .self_fd = -1};
	s->memory = mmap(NULL, sizeof(*s->memory), PROT_READ | PROT_WRITE,
			 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (s->memory == MAP_FAILED) {
		err = -errno;
		free(s);
		return err;
	}
	sigfillset(&all);
	s->self_fd = sysret((int)syscall(SYS_pidfd_open, getpid(), 0));
	s->signal_fd = signalfd(-1, &all, SFD_CLOEXEC | SFD_NONBLOCK);
	if (s->self_fd < 0)
		err = s->self_fd;
	else if (s->signal_fd < 0 ||
		 socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, s->control) < 0)
		err = -errno;
	if (err) {
		supervisor_destroy(s);
		return err;
	}
	atomic_store(&s->memory->supervisor, getpid());
	*out = s;
	return 0;
}

void supervisor_destroy(struct supervisor *s)
{
	if (!s)
		return;
	cleanup_fd(&s->control[0]);
	cleanup_fd(&s->control[1]);
	cleanup_fd(&s->self_fd);
	cleanup_fd(&s->signal_fd);
	munmap(s->memory, sizeof(*s->memory));
	free(s);
}

struct supervision *supervisor_memory(struct supervisor *s)
{
	return s->memory;
}

/* ---- messages ---- */

void supervisor_tell(struct supervisor *s, enum message_kind kind)
{
	struct message m = {.kind = kind};

	send(s->control[0], &m, sizeof(m), MSG_DONTWAIT | MSG_NOSIGNAL);
}

/* What the dead worker said or was told, and nobody heard. */
static void forget_messages(struct supervisor *s)
{
	struct message m;

	for (int i = 0; i < 2; i++)
		while (recv(s->control[i], &m, sizeof(m), MSG_DONTWAIT) > 0)
			;
}

static void became_ready(struct supervisor *s)
{
	s->ready = true;
	s->ready_at = clock_nsec();
	if (!s->told_ready)
		s->config.ready(s->config.arg);
	s->told_ready = true;
}

static void begin_handing_over(struct supervisor *s)
{
	atomic_store(&s->memory->upgrade_error, 0);
	s->handing_over = true;
	supervisor_tell(s, MESSAGE_HAND_OVER);
}

static void hear(struct supervisor *s)
{
	struct message m;

	while (recv(s->control[0], &m, sizeof(m), MSG_DONTWAIT) == sizeof(m)) {
		if (m.kind == MESSAGE_READY)
			became_ready(s);
		else if (m.kind == MESSAGE_PONG)
			health_heard(s, &m.health);
		else if (m.kind == MESSAGE_UPGRADE)
			begin_handing_over(s);
	}
}

/* ---- signals ---- */

static void take_signal(struct supervisor *s, int sig)
{
	bool end = sig == SIGTERM || sig == SIGINT;

	if (end)
		atomic_store(&s->memory->told_to_end, true);
	if (sig == SIGHUP)
		atomic_fetch_add(&s->memory->reloads_asked, 1);
	if (s->worker && (end || sig == SIGHUP || sig == SIGUSR1))
		kill(s->worker, sig);
}

static void take_signals(struct supervisor *s)
{
	struct signalfd_siginfo info;

	while (read(s->signal_fd, &info, sizeof(info)) == sizeof(info))
		take_signal(s, (int)info.ssi_signo);
}

void supervision_give_back_signals(struct supervision *m)
{
	if (atomic_load(&m->told_to_end))
		kill(getpid(), SIGTERM);
	if (atomic_load(&m->reloads_asked) != atomic_load(&m->reloads_done))
		kill(getpid(), SIGHUP);
}

/* Between two workers; to be told to end is what ends the pause before MSEC are over. */
static void pause_for(struct supervisor *s, int msec)
{
	struct pollfd p = {.fd = s->signal_fd, .events = POLLIN};
	uint64_t until = clock_nsec() + (uint64_t)msec * 1000000, now;

	take_signals(s); /* of the worker's end, for one */
	while (!atomic_load(&s->memory->told_to_end) && (now = clock_nsec()) < until)
		if (poll(&p, 1, (int)((until - now) / 1000000) + 1) > 0)
			take_signals(s);
}

static void pause_before_next(struct supervisor *s)
{
	int msec = s->points ? MIN(10 << MIN(s->points / 2, 7u), 1000) : 0;

	/* who is killed again and again, though not by its own fault, costs others their processor
	 */
	if (s->short_lives > SHORT_LIVES_FREE)
		msec = MAX(msec, SHORT_LIFE_PAUSE_MSEC);
	if (msec)
		pause_for(s, msec);
}

/* ---- a worker's life ---- */

static pid_t start_worker(struct supervisor *s, bool resumed)
{
	pid_t pid = worker_clone();

	if (pid == 0)
		exit(s->config.work(s->config.arg, resumed));
	return pid;
}

static void life_begins(struct supervisor *s, pid_t pid, bool first)
{
	uint64_t now = clock_nsec();

	s->started = s->pong = s->progress = s->asked = s->ticked = now;
	s->ready = s->hung = s->handing_over = false;
	s->answered = 0;
	s->first = first;
	s->worker = pid;
}

/* Who slept itself (suspended, stopped) knows nothing of what the worker did meanwhile. */
static void tick(struct supervisor *s, pid_t pid)
{
	uint64_t now = clock_nsec();

	if (now - s->ticked > UINT64_C(5000000000)) {
		s->pong = s->progress = now;
		if (!s->ready)
			s->started = now;
	}
	s->ticked = now;
	health_look(s, pid, now);
	for (unsigned i = 0; i < s->nlate;) {
		if (waitpid(s->late[i], NULL, WNOHANG) == 0)
			i++;
		else
			s->late[i] = s->late[--s->nlate];
	}
	atomic_store(&s->memory->late, s->nlate);
	guardian_is_gone();
}

/* Dead, but for threads that wait in the kernel for what only a successor can answer? */
static bool only_notifications_left(struct supervisor *s, pid_t pid)
{
	struct tasks t;

	/* a descriptor that this opens for a moment could be taken for a leftover by one that
	 * starts; but one that is not ready yet may notify already */
	if (s->nlate == LATE_MAX || !atomic_load(&s->memory->swept) ||
	    tasks_look(pid, s->memory, &t))
		return false;
	return t.leader_dead && t.alive && t.alive == t.notifying;
}

/* Until it has ended; its status as of waitpid(2). */
static int watch(struct supervisor *s, pid_t pid)
{
	struct pollfd p[] = {{.fd = s->signal_fd, .events = POLLIN},
			     {.fd = s->control[0], .events = POLLIN}};
	int status;

	for (;;) {
		int n = poll(p, 2, TICK_MSEC);
		bool ended = waitpid(pid, &status, WNOHANG) == pid;

		hear(s); /* afterwards: it may have become ready just before its end */
		if (ended)
			return status;
		take_signals(s);
		tick(s, pid);
		if (n == 0 && only_notifications_left(s, pid)) {
			s->late[s->nlate++] = pid;
			atomic_store(&s->memory->late, s->nlate);
			return SIGKILL;
		}
	}
}

/* ---- what comes after it ---- */

static void write_obituary(struct supervisor *s, pid_t pid, int status)
{
	s->memory->obituary =
	    (struct obituary){.pid = pid,
			      .signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0,
			      .status = WIFEXITED(status) ? WEXITSTATUS(status) : 0,
			      .hung = s->hung,
			      .when = (uint64_t)time(NULL),
			      .died = clock_nsec()};
}

static enum outcome judge(struct supervisor *s, int status, bool resumed)
{
	struct supervision *m = s->memory;

	if (WIFEXITED(status) && atomic_load(&m->handover))
		return OUTCOME_HANDOVER;
	if (WIFEXITED(status) && atomic_load(&m->ending))
		return OUTCOME_ENDED;
	if (!s->ready && !resumed)
		return OUTCOME_ENDED; /* it never served: there is nothing to keep */
	health_count_failure(s, status, clock_nsec());
	return s->points >= POINTS_MAX ? OUTCOME_FAILED : OUTCOME_DIED;
}

static int end_status(int status)
{
	if (WIFEXITED(status))
		return WEXITSTATUS(status);
	log_error("the serving process was ended by signal %d (%s) while it started",
		  WTERMSIG(status), strsignal(WTERMSIG(status)));
	return 2;
}

static int fail(struct supervisor *s)
{
	const struct obituary *o = &s->memory->obituary;

	log_error("%s: the process that serves it ended again and again, the last one by %s %d: no "
		  "new one is started, all requests fail (EIO): unmount it, mend what the log "
		  "says, and mount it again",
		  s->config.name, o->signal ? "signal" : "exit status",
		  o->signal ? o->signal : o->status);
	do {
		take_signals(s);
	} while (!atomic_load(&s->memory->told_to_end) &&
		 !s->config.refuse(s->config.arg, s->signal_fd));
	s->config.detach(s->config.arg);
	return 2;
}

/* Returns where the new program could not be started: the old one goes on. */
static void hand_over(struct supervisor *s)
{
	int err;

	take_signals(s);
	if (atomic_load(&s->memory->told_to_end))
		return; /* the next worker does nothing but end */
	supervision_give_back_signals(s->memory);
	err = s->config.upgrade(s->config.arg);
	log_error("%s: the upgrade failed, the old program goes on: %s", s->config.name,
		  strerror(-err));
	log_release();
	atomic_store(&s->memory->upgrade_error, -err);
}

/* Nothing of the dead one is true of the next one. */
static void clear_for_next(struct supervisor *s)
{
	struct supervision *m = s->memory;

	forget_messages(s);
	atomic_store(&m->ending, false);
	atomic_store(&m->handover, false);
	atomic_store(&m->swept, false);
	atomic_store(&m->reloading, false);
	s->worker = 0;
	/* slots of threads that are still in a notification stay taken: they give them back when
	 * they die, by dying: see tasks_look() */
	for (int i = 0; !s->nlate && i < SUPERVISION_NOTIFYING; i++)
		atomic_store(&m->notifying[i], 0);
}

/* Of a program that took over: it cannot serve. Returns where there is no other one. */
static void go_back(struct supervisor *s)
{
	if (!s->told_ready)
		s->config.go_back(s->config.arg);
}

/*
 * A system without a process to spare may have one in a moment: there are promises to keep. The
 * first worker has none yet.
 */
static pid_t start_anyhow(struct supervisor *s, bool resumed)
{
	pid_t pid;

	while ((pid = start_worker(s, resumed)) < 0 && resumed &&
	       !atomic_load(&s->memory->told_to_end)) {
		log_warn("%s: no process to serve: %s", s->config.name, strerror(-pid));
		log_release();
		go_back(s);
		pause_for(s, 1000);
	}
	return pid;
}

static int no_process(struct supervisor *s, int err)
{
	log_error("%s: no process to serve: %s", s->config.name, strerror(-err));
	s->config.detach(s->config.arg);
	return 2;
}

int supervisor_run(struct supervisor *s, bool resumed)
{
	for (;;) {
		pid_t pid = start_anyhow(s, resumed);
		enum outcome outcome;
		int status;

		if (pid < 0)
			return no_process(s, pid);
		life_begins(s, pid, !resumed);
		status = watch(s, pid);
		outcome = judge(s, status, resumed);
		if (outcome == OUTCOME_ENDED)
			return end_status(status);
		if (outcome != OUTCOME_HANDOVER)
			write_obituary(s, pid, status);
		clear_for_next(s);
		go_back(s);
		if (outcome == OUTCOME_FAILED)
			return fail(s);
		if (outcome == OUTCOME_HANDOVER)
			hand_over(s);
		else
			atomic_fetch_add(&s->memory->restarts, 1);
		pause_before_next(s);
		resumed = true;
	}
}
