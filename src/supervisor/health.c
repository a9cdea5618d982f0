/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Is the worker well; and what those that were not come to, taken together. */
#include <signal.h>
#include <sys/wait.h>

#include "base/util.h"
#include "supervisor/supervisor_internal.h"

/* A worker that serves longer has served well: what went wrong before it counts no more. */
#define GOOD_LIFE_NSEC UINT64_C(10000000000)
/* What a failure counts: too many are five workers that end by their own fault within seconds, or
 * twenty that are killed before they serve. */
#define POINTS_OWN_FAULT 4
#define POINTS_KILLED_EARLY 1
#define SHORT_LIFE_NSEC UINT64_C(1000000000)
/* How often health is asked for; a limit shorter than three times that finds everybody hung. */
#define ASK_LEAST_NSEC UINT64_C(1000000000)
#define ASK_MOST_NSEC UINT64_C(15000000000)
#define HANG_LEAST_NSEC (3 * ASK_LEAST_NSEC)
/* To become ready takes at most this long, or the worker counts as hung; more where the limit for
 * those that serve is more than twice that. */
#define START_NSEC UINT64_C(30000000000)
/* The first one, for which only the command in front waits, puts images back
 * (after-crash=rollback), and who is ended in the midst of that might never come to an end. */
#define FIRST_START_NSEC UINT64_C(600000000000)

void health_heard(struct supervisor *s, const struct health *h)
{
	uint64_t now = clock_nsec();

	s->pong = now;
	if (h->answered != s->answered || !h->waiting || !h->idle)
		s->progress = now;
	s->answered = h->answered;
}

/* Until when it is known to have been well; where nobody asks, it is for now. */
static uint64_t well_until(const struct supervisor *s, uint64_t now)
{
	return s->config.hang_timeout > 0 ? MIN(s->pong, s->progress) : now;
}

static bool served_well(const struct supervisor *s, uint64_t until)
{
	return s->ready && until > s->ready_at + GOOD_LIFE_NSEC;
}

static bool is_late(const struct supervisor *s, uint64_t now, uint64_t limit)
{
	if (!s->ready)
		return now - s->started > MAX(limit / 2, s->first ? FIRST_START_NSEC : START_NSEC);
	return now - s->pong > limit + limit / 2 || now - s->progress > limit;
}

/* Whoever ends by itself, or hands over, answers no questions any more, and may flush for long. */
static void look_for_hang(struct supervisor *s, pid_t pid, uint64_t now)
{
	uint64_t limit = (uint64_t)(s->config.hang_timeout * 1e9);
	struct tasks t;

	if (!limit || s->hung || s->handing_over || atomic_load(&s->memory->ending))
		return;
	limit = MAX(limit, HANG_LEAST_NSEC);
	if (s->ready && now - s->asked >= MIN(MAX(limit / 4, ASK_LEAST_NSEC), ASK_MOST_NSEC)) {
		s->asked = now;
		supervisor_tell(s, MESSAGE_PING);
	}
	if (!is_late(s, now, limit) || tasks_look(pid, s->memory, &t) || t.waiting_for_storage ||
	    t.traced)
		return;
	s->hung = true;
	kill(pid, SIGKILL);
}

void health_look(struct supervisor *s, pid_t pid, uint64_t now)
{
	if (served_well(s, well_until(s, now))) {
		s->points = s->short_lives = 0;
		if (!atomic_load(&s->memory->reloading)) /* it may still kill it */
			atomic_store(&s->memory->reload_deaths, 0);
	}
	look_for_hang(s, pid, now);
}

void health_count_failure(struct supervisor *s, int status, uint64_t now)
{
	bool killed = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL && !s->hung;
	/* of one that hung, until it did */
	uint64_t until = s->hung ? MIN(s->pong, s->progress) : now;
	bool well = served_well(s, until);

	if (well)
		s->points = 0;
	if (!killed && (s->hung || !well))
		s->points += POINTS_OWN_FAULT;
	else if (!s->ready)
		s->points += POINTS_KILLED_EARLY;
	if (atomic_load(&s->memory->reloading))
		atomic_fetch_add(&s->memory->reload_deaths, 1);
	s->short_lives = until - s->started < SHORT_LIFE_NSEC ? s->short_lives + 1 : 0;
}
