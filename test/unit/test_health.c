/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <criterion/criterion.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/util.h"
#include "supervisor/supervisor_internal.h"

#define SECOND UINT64_C(1000000000)

static struct supervision memory;
static struct supervisor s;
static uint64_t now;

static void begin(void)
{
	now = clock_nsec() + 1000 * SECOND; /* the machine may have started just now */
	s = (struct supervisor){.memory = &memory, .config = {.hang_timeout = 60}};
	cr_assert_eq(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, s.control), 0);
}

TestSuite(health, .init = begin, .timeout = 300);

/* Became ready so many seconds ago, and has been well until then. */
static void serves(unsigned since, unsigned well)
{
	s.ready = true;
	s.started = s.ready_at = now - since * SECOND;
	s.asked = now;
	s.pong = s.progress = now - well * SECOND;
}

static void has_failed(void)
{
	s.points = 19;
	s.short_lives = 9;
}

/* ---- what is forgotten ---- */

Test(health, who_serves_well_makes_up_for_those_before)
{
	has_failed();
	serves(11, 0);
	health_look(&s, 0, now);
	cr_assert_eq(s.points, 0);
	cr_assert_eq(s.short_lives, 0);
}

Test(health, who_has_not_served_for_long_does_not)
{
	has_failed();
	serves(9, 0);
	health_look(&s, 0, now);
	cr_assert_eq(s.points, 19);
	cr_assert_eq(s.short_lives, 9);
}

Test(health, nor_who_has_only_begun_long_ago)
{
	has_failed();
	serves(9, 0);
	s.started = now - 25 * SECOND;
	health_look(&s, 0, now);
	cr_assert_eq(s.points, 19);
}

Test(health, nor_who_may_hang_since)
{
	has_failed();
	serves(20, 15);
	health_look(&s, 0, now);
	cr_assert_eq(s.points, 19);
	cr_assert_eq(s.short_lives, 9);
	serves(30, 15);
	health_look(&s, 0, now);
	cr_assert_eq(s.points, 0);
}

Test(health, where_nobody_asks_time_is_enough)
{
	has_failed();
	s.config.hang_timeout = 0;
	serves(20, 20);
	health_look(&s, 0, now);
	cr_assert_eq(s.points, 0);
}

/* ---- what counts ---- */

static int signalled(int sig)
{
	return sig; /* as of waitpid(2) */
}

static int exited(int status)
{
	return status << 8;
}

static void dies(unsigned after, bool ready, int status)
{
	s.started = s.ready_at = s.pong = s.progress = now - after * SECOND;
	s.ready = ready;
	health_count_failure(&s, status, now);
	s.hung = false;
}

Test(health, failures_count_by_whose_fault_they_are)
{
	dies(0, false, signalled(SIGKILL));
	cr_assert_eq(s.points, 1);
	dies(0, true, signalled(SIGKILL));
	cr_assert_eq(s.points, 1);
	dies(0, true, signalled(SIGSEGV));
	cr_assert_eq(s.points, 5);
	dies(0, false, exited(2));
	cr_assert_eq(s.points, 9);
	s.hung = true;
	dies(0, false, signalled(SIGKILL));
	cr_assert_eq(s.points, 13);
	cr_assert_eq(s.short_lives, 5);
}

Test(health, lives_of_seconds_are_not_short)
{
	dies(0, true, signalled(SIGKILL));
	cr_assert_eq(s.short_lives, 1);
	dies(2, true, signalled(SIGKILL));
	cr_assert_eq(s.short_lives, 0);
}

Test(health, five_that_die_by_themselves_are_too_many)
{
	for (int i = 0; i < 4; i++)
		dies(1, true, signalled(SIGABRT));
	cr_assert_lt(s.points, POINTS_MAX);
	dies(1, true, signalled(SIGABRT));
	cr_assert_geq(s.points, POINTS_MAX);
}

Test(health, who_served_well_and_dies_has_made_up_too)
{
	has_failed();
	dies(11, true, signalled(SIGSEGV));
	cr_assert_eq(s.points, 0);
}

Test(health, to_start_for_long_is_not_to_serve)
{
	has_failed();
	dies(11, false, exited(2));
	cr_assert_eq(s.points, 23);
}

/* ---- a reload that kills ---- */

/* A worker's life: it dies in a reload that it was asked for. False: it does not try. */
static bool dies_reloading(void)
{
	bool tries = supervision_reload_begin(&memory);

	if (tries)
		health_count_failure(&s, signalled(SIGSEGV), now);
	atomic_store(&memory.reloading, false);
	return tries;
}

Test(health, a_reload_that_kills_is_given_up)
{
	cr_assert(dies_reloading());
	for (int i = 0; i < RELOAD_SUCCESSORS; i++)
		cr_assert(dies_reloading());
	cr_assert_not(dies_reloading());
	serves(11, 0);
	health_look(&s, 0, now);
	cr_assert(dies_reloading(), "tried again when one has served well");
}

Test(health, also_one_that_takes_its_time)
{
	for (int i = 0; i <= RELOAD_SUCCESSORS; i++) {
		cr_assert(supervision_reload_begin(&memory));
		serves(11, 0);
		health_look(&s, 0, now);
		health_count_failure(&s, signalled(SIGSEGV), now);
		atomic_store(&memory.reloading, false);
	}
	cr_assert_not(dies_reloading());
}

Test(health, a_reload_that_succeeds_makes_up_for_those_before)
{
	for (int i = 0; i < RELOAD_SUCCESSORS; i++)
		cr_assert(dies_reloading());
	cr_assert(supervision_reload_begin(&memory));
	supervision_reload_end(&memory);
	cr_assert(dies_reloading());
}

Test(health, who_dies_of_something_else_does_not_count)
{
	for (int i = 0; i < 10; i++)
		health_count_failure(&s, signalled(SIGSEGV), now);
	cr_assert(dies_reloading());
}

/* ---- one that hangs while it starts ---- */

static pid_t sleeper(void)
{
	pid_t pid = fork();

	cr_assert_geq(pid, 0);
	while (pid == 0)
		pause();
	return pid;
}

static void starts(unsigned since)
{
	s.ready = false;
	s.started = s.asked = s.pong = s.progress = now - since * SECOND;
}

/* Looks at PID, which has been starting for so long, more than once (it may be a fault of a page
 * that it waits for); and ends it. */
static bool is_hung(pid_t pid, unsigned since)
{
	starts(since);
	for (int i = 0; i < 50 && !s.hung; i++) {
		health_look(&s, pid, now);
		usleep(1000);
	}
	kill(pid, SIGKILL);
	cr_assert_eq(waitpid(pid, NULL, 0), pid);
	return s.hung;
}

Test(health, half_a_minute_is_enough_to_start)
{
	cr_assert_not(is_hung(sleeper(), 29));
	cr_assert(is_hung(sleeper(), 31));
}

Test(health, the_first_one_has_files_to_put_back)
{
	s.first = true;
	cr_assert_not(is_hung(sleeper(), 599));
	cr_assert(is_hung(sleeper(), 601));
}

Test(health, who_wants_more_patience_has_it)
{
	s.config.hang_timeout = 600;
	cr_assert_not(is_hung(sleeper(), 299));
	cr_assert(is_hung(sleeper(), 301));
}

Test(health, or_all_patience)
{
	s.config.hang_timeout = 0;
	cr_assert_not(is_hung(sleeper(), 900));
}

/* In uninterruptible sleep (as vfork(2) has it) until END is closed. */
static pid_t waits_uninterruptibly(int *end)
{
	int ends[2];
	pid_t pid;
	char c = 0;

	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
	pid = fork();
	cr_assert_geq(pid, 0);
	if (pid == 0) {
		close(ends[0]);
		if (syscall(SYS_clone, CLONE_VFORK | SIGCHLD, 0, NULL, NULL, 0) == 0)
			_exit(write(ends[1], &c, 1) == 1 && read(ends[1], &c, 1) == 0 ? 0 : 1);
		for (;;)
			pause();
	}
	close(ends[1]);
	cr_assert_eq(read(ends[0], &c, 1), 1);
	*end = ends[0];
	return pid;
}

/* Its thread comes to that sleep, or out of it. */
static bool comes_to_wait(pid_t pid, bool waiting)
{
	struct tasks t;

	for (int i = 0; i < 60000; i++) {
		if (!tasks_look(pid, &memory, &t) && t.alive && t.waiting_for_storage == waiting)
			return true;
		usleep(1000);
	}
	return false;
}

Test(health, who_waits_for_storage_is_left_alone)
{
	int end;
	pid_t pid = waits_uninterruptibly(&end);

	cr_assert(comes_to_wait(pid, true));
	starts(900);
	health_look(&s, pid, now);
	cr_assert_not(s.hung);
	close(end);
	cr_assert(comes_to_wait(pid, false));
	cr_assert(is_hung(pid, 900), "and no longer");
}
