/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a serving process is told by signals, on a thread of its own; and that none is lost when it
 * hands over. */
#include <signal.h>
#include <unistd.h>

#include "base/util.h"
#include "cachefs.h"
#include "server_internal.h"
#include "supervisor/supervisor.h"
#include "transport/transport.h"

/* What the thread is at is done before a hand-over, all being served meanwhile; but what takes
 * longer is the successor's. */
#define LEAVE_NSEC UINT64_C(10000000000)

/* Those that were asked for until now, by one. */
static void reload(struct server *s)
{
	struct supervision *m = s->supervision;
	unsigned asked = m ? atomic_load(&m->reloads_asked) : 0;
	struct cachefs_reload result;

	if (m && asked == atomic_load(&m->reloads_done))
		return; /* by an earlier one, or an earlier worker asked for it */
	control_reload(&s->session, &result); /* it logs what came of it */
	if (m)
		atomic_store(&m->reloads_done, asked);
}

static void asked_to_reload(struct server *s, pid_t by)
{
	struct supervision *m = s->supervision;

	/* the supervisor has counted it; be this worker killed meanwhile, it is not lost */
	if (m && by != atomic_load(&m->supervisor))
		atomic_fetch_add(&m->reloads_asked, 1);
	/* who hands over leaves it to the successor */
	if (!atomic_load(&s->ending))
		reload(s);
}

static void *signal_thread(void *arg)
{
	struct server *s = arg;
	siginfo_t info;
	sigset_t set;

	sigfillset(&set);
	if (s->supervision)
		reload(s); /* what the worker before was asked for, and did not do */
	while (!atomic_load(&s->ending)) {
		int sig = sigwaitinfo(&set, &info);

		/* who ends wakes us by SIGUSR1; another one that was taken by then counts */
		if (sig == SIGHUP)
			asked_to_reload(s, info.si_pid);
		else if (sig == SIGTERM || sig == SIGINT ||
			 (sig == SIGUSR1 && !atomic_load(&s->ending)))
			s->told(s, sig);
	}
	return NULL;
}

void server_begin_signals(struct server *s, void (*told)(struct server *s, int sig))
{
	s->told = told;
	s->have_signals = pthread_create(&s->signals, NULL, signal_thread, s) == 0;
}

/* False: somebody else has. */
static bool begin_end(struct server *s)
{
	if (atomic_exchange(&s->ending, true))
		return false;
	if (s->have_signals)
		pthread_kill(s->signals, SIGUSR1);
	return true;
}

void server_end_signals(struct server *s)
{
	if (begin_end(s) && s->have_signals)
		pthread_join(s->signals, NULL);
}

bool server_leave_signals(struct server *s)
{
	uint64_t until = clock_nsec() + LEAVE_NSEC;

	if (!begin_end(s))
		return false;
	while (s->have_signals && pthread_tryjoin_np(s->signals, NULL)) {
		/* who is told to end uses the transport until then */
		if (clock_nsec() > until && !atomic_load(&s->told_to_end))
			break;
		transport_kick(s->transport); /* it is the caller that does so else */
		usleep(1000);
	}
	/* without a supervisor there is nobody to hand over to */
	return !atomic_load(&s->told_to_end) &&
	       getppid() == atomic_load(&s->supervision->supervisor);
}

void server_keep_pending_signals(struct server *s)
{
	struct supervision *m = s->supervision;
	sigset_t set;

	if (sigpending(&set))
		return;
	if (sigismember(&set, SIGTERM) || sigismember(&set, SIGINT))
		atomic_store(&m->told_to_end, true);
	if (sigismember(&set, SIGHUP))
		atomic_fetch_add(&m->reloads_asked, 1);
}
