/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "supervisor/supervisor.h"

#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "base/log.h"
#include "base/util.h"
#include "supervisor/supervisor_internal.h"

#define TICK_MSEC 1000
/* A worker that lives longer has served well: what went wrong before it counts no more. */
#define GOOD_LIFE_NSEC UINT64_C(10000000000)
/* What a failure counts, and how many are too many: five workers that end by their own fault within
 * seconds, or twenty that are killed before they serve. */
#define POINTS_OWN_FAULT 4
#define POINTS_KILLED_EARLY 1
#define POINTS_MAX 20

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
		free(s);
		return -errno;
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

static void tell(struct supervisor *s, enum message_kind kind)
{
	struct message m = {.kind = kind};

	/* a worker that does not read is found by what it does not answer */
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
	if (!s->told_ready)
		s->config.ready(s->config.arg);
	s->told_ready = true;
}

static void hear_health(struct supervisor *s, const struct health *h)
{
	uint64_t now = clock_nsec();

	s->pong = now;
	if (h->answered != s->answered || !h->waiting || !h->idle)
		s->progress = now;
	s->answered = h->answered;
}

static void hear(struct supervisor *s)
{
	struct message m;

	while (recv(s->control[0], &m, sizeof(m), MSG_DONTWAIT) == sizeof(m)) {
		if (m.kind == MESSAGE_READY)
			became_ready(s);
		else if (m.kind == MESSAGE_PONG)
			hear_health(s, &m.health);
		else if (m.kind == MESSAGE_UPGRADE)
			tell(s, MESSAGE_HAND_OVER);
	}
}

/* ---- signals ---- */

static void take_signal(struct supervisor *s, int sig)
{
	pid_t worker = atomic_load(&s->memory->worker);

	if (sig == SIGTERM || sig == SIGINT)
		atomic_store(&s->memory->told_to_end, true);
	if (worker > 0 && (sig == SIGTERM || sig == SIGINT || sig == SIGHUP || sig == SIGUSR1))
		kill(worker, sig);
}

static void take_signals(struct supervisor *s)
{
	struct signalfd_siginfo info;

	while (read(s->signal_fd, &info, sizeof(info)) == sizeof(info))
		take_signal(s, (int)info.ssi_signo);
}

/* Between two workers; a signal ends the pause. */
static void pause_before_next(struct supervisor *s)
{
	struct pollfd p = {.fd = s->signal_fd, .events = POLLIN};
	int msec = s->points ? MIN(10 << (s->points / 2), 1000) : 0;

	if (msec && poll(&p, 1, msec) > 0)
		take_signals(s);
}

/* ---- a worker's life ---- */

/*
 * clone(2) as it is, since fork(3) has no CLONE_FILES. No other thread exists, so nothing of the C
 * library is in the midst of anything.
 */
static pid_t start_worker(struct supervisor *s, bool resumed)
{
	pid_t pid;

	fflush(NULL);
	pid = (pid_t)syscall(SYS_clone, CLONE_FILES | SIGCHLD, 0, NULL, NULL, 0);
	if (pid == 0) {
		atomic_store(&s->memory->worker, getpid());
		exit(s->config.work(s->config.arg, resumed));
	}
	return pid < 0 ? -errno : pid;
}

static void life_begins(struct supervisor *s, pid_t pid)
{
	uint64_t now = clock_nsec();

	s->started = s->pong = s->progress = s->asked = s->ticked = now;
	s->ready = s->hung = false;
	s->answered = 0;
	atomic_store(&s->memory->worker, pid);
}

static void look_for_hang(struct supervisor *s, pid_t pid, uint64_t now)
{
	uint64_t limit = (uint64_t)(s->config.hang_timeout * 1e9);
	struct tasks t;

	if (!limit || !s->ready || s->hung)
		return;
	if (now - s->asked >= MAX(limit / 4, UINT64_C(1000000000))) {
		s->asked = now;
		tell(s, MESSAGE_PING);
	}
	if (now - s->pong < limit + limit / 2 && now - s->progress < limit)
		return;
	tasks_look(pid, s->memory, &t);
	if (t.waiting_for_storage || t.traced)
		return;
	s->hung = true;
	kill(pid, SIGKILL);
}

/* Who slept itself (suspended, stopped) knows nothing of what the worker did meanwhile. */
static void tick(struct supervisor *s, pid_t pid)
{
	uint64_t now = clock_nsec();

	if (now - s->ticked > UINT64_C(5000000000))
		s->pong = s->progress = now;
	s->ticked = now;
	look_for_hang(s, pid, now);
	for (unsigned i = 0; i < s->nlate;) {
		if (waitpid(s->late[i], NULL, WNOHANG) == 0)
			i++;
		else
			s->late[i] = s->late[--s->nlate];
	}
}

/* Dead, but for threads that wait in the kernel for what only a successor can answer? */
static bool only_notifications_left(struct supervisor *s, pid_t pid)
{
	struct tasks t;

	if (s->nlate == LATE_MAX)
		return false;
	tasks_look(pid, s->memory, &t);
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

		hear(s);
		if (waitpid(pid, &status, WNOHANG) == pid)
			return status;
		take_signals(s);
		tick(s, pid);
		if (n == 0 && only_notifications_left(s, pid)) {
			s->late[s->nlate++] = pid;
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

static void count_failure(struct supervisor *s, int status)
{
	bool killed = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL && !s->hung;
	bool good_life = s->ready && clock_nsec() - s->started > GOOD_LIFE_NSEC;

	if (good_life && !s->hung)
		s->points = 0;
	else if (!killed)
		s->points += POINTS_OWN_FAULT;
	else if (!s->ready)
		s->points += POINTS_KILLED_EARLY;
}

static enum outcome judge(struct supervisor *s, int status, bool resumed)
{
	struct supervision *m = s->memory;

	if (WIFEXITED(status) && atomic_load(&m->handover))
		return OUTCOME_HANDOVER;
	if (WIFEXITED(status) && (atomic_load(&m->ending) || (!s->ready && !resumed)))
		return OUTCOME_ENDED;
	if (!s->ready && !resumed)
		return OUTCOME_ENDED; /* it never served: there is nothing to keep */
	count_failure(s, status);
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
	int err = s->config.upgrade(s->config.arg);

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
	atomic_store(&m->worker, 0);
	/* slots of threads that are still in a notification stay taken: they give them back when
	 * they die, by dying: see tasks_look() */
	for (int i = 0; !s->nlate && i < SUPERVISION_NOTIFYING; i++)
		atomic_store(&m->notifying[i], 0);
}

int supervisor_run(struct supervisor *s, bool resumed)
{
	s->told_ready = resumed;
	for (;;) {
		pid_t pid = start_worker(s, resumed);
		int status = W_EXITCODE(2, 0);
		enum outcome outcome;

		if (pid > 0) {
			life_begins(s, pid);
			status = watch(s, pid);
		} else {
			log_warn("%s: no process to serve: %s", s->config.name, strerror(-pid));
			log_release();
			s->ready = false;
		}
		outcome = judge(s, status, resumed);
		if (outcome == OUTCOME_ENDED)
			return end_status(status);
		if (outcome != OUTCOME_HANDOVER)
			write_obituary(s, pid, status);
		clear_for_next(s);
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
