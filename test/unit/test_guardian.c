/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <criterion/criterion.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/util.h"
#include "supervisor/guardian.h"

#define MSEC UINT64_C(1000000)
#define LATE_USEC 200000 /* after the patience of a guardian that has 10 ms */
#define ROUNDS 300
#define SERVES 3 /* exit status of a program that released its guardian */
#define STEPPED_BACK 4

/* What the processes have in common. */
struct shared {
	atomic_int turn;
	atomic_int taken; /* how often a guardian took over */
	atomic_bool hung; /* its last word */
};

static struct shared *shared;
static struct guardian g;

static void begin(void)
{
	shared =
	    mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	cr_assert_neq(shared, MAP_FAILED);
}

static void end(void)
{
	munmap(shared, sizeof(*shared));
}

TestSuite(guardian, .init = begin, .fini = end, .timeout = 300);

static void take_over(void *arg, bool hung)
{
	(void)arg;
	atomic_store(&shared->hung, hung);
	atomic_fetch_add(&shared->taken, 1);
}

/* The status of a process that is guarded, and does what PROGRAM does. */
static int guarded(uint64_t patience, void (*program)(unsigned arg), unsigned arg)
{
	int status;
	pid_t pid;

	atomic_store(&shared->turn, GUARDIAN_WAITS);
	pid = fork();
	cr_assert_geq(pid, 0);
	if (pid == 0) {
		g = (struct guardian){.turn = &shared->turn, .patience = patience};
		if (guardian_start(&g, take_over, NULL))
			_exit(1);
		program(arg);
		_exit(0);
	}
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	return status;
}

/* By a guardian, which does so at its own time. */
static bool is_taken(void)
{
	for (int i = 0; i < 60000 && !atomic_load(&shared->taken); i++)
		usleep(1000);
	return atomic_load(&shared->taken) == 1;
}

static void serve(void)
{
	while (!guardian_is_gone())
		usleep(100);
	_exit(SERVES);
}

static void does_nothing(unsigned arg)
{
	(void)arg;
}

static void hangs(unsigned arg)
{
	(void)arg;
	for (;;)
		pause();
}

static void releases(unsigned usec)
{
	uint64_t until = clock_nsec() + usec * UINT64_C(1000);

	while (clock_nsec() < until)
		;
	if (!guardian_release(g.pid, g.turn))
		_exit(STEPPED_BACK);
	serve();
}

Test(guardian, takes_over_from_a_program_that_ends)
{
	cr_assert_eq(guarded(GUARDIAN_PATIENCE_NSEC, does_nothing, 0), 0);
	cr_assert(is_taken());
	cr_assert_not(shared->hung);
}

Test(guardian, ends_a_program_that_hangs)
{
	int status = guarded(10 * MSEC, hangs, 0);

	cr_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	cr_assert(is_taken());
	cr_assert(shared->hung);
}

Test(guardian, does_nothing_when_it_is_released)
{
	int status = guarded(GUARDIAN_PATIENCE_NSEC, releases, 0);

	cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == SERVES);
	cr_assert_eq(shared->taken, 0);
}

static void comes_too_late(unsigned arg)
{
	(void)arg;
	atomic_store(&shared->turn, GUARDIAN_ACTS); /* it has not killed anybody yet */
	releases(0);
}

Test(guardian, goes_on_where_a_program_steps_back)
{
	int status = guarded(GUARDIAN_PATIENCE_NSEC, comes_too_late, 0);

	cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == STEPPED_BACK);
	cr_assert(is_taken());
}

static void finds_it_acting(unsigned arg)
{
	(void)arg;
	atomic_store(&shared->turn, GUARDIAN_ACTS); /* it has not killed anybody yet */
	if (guardian_end(&g))
		_exit(SERVES);
	usleep(LATE_USEC); /* it asks again and again by then whether this process has ended */
	_exit(atomic_load(&shared->taken) ? 1 : STEPPED_BACK);
}

Test(guardian, that_acts_knows_when_the_one_that_could_not_exec_has_ended)
{
	int status = guarded(10 * MSEC, finds_it_acting, 0);

	cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == STEPPED_BACK);
	cr_assert(is_taken());
}

static void is_slow_to_release(unsigned arg)
{
	(void)arg;
	atomic_store(&shared->turn, GUARDIAN_RELEASED); /* and has not killed it yet */
	usleep(LATE_USEC);
	releases(0);
}

Test(guardian, steps_back_when_it_comes_too_late)
{
	int status = guarded(10 * MSEC, is_slow_to_release, 0);

	cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == SERVES);
	cr_assert_eq(shared->taken, 0);
}

static void dies_before_it_releases(unsigned arg)
{
	(void)arg;
	atomic_store(&shared->turn, GUARDIAN_RELEASED);
	usleep(LATE_USEC);
}

Test(guardian, that_stepped_back_still_takes_over_from_a_program_that_ends)
{
	cr_assert_eq(guarded(10 * MSEC, dies_before_it_releases, 0), 0);
	cr_assert(is_taken());
	cr_assert_not(shared->hung);
}

static void another_program_releases_it_again(unsigned arg)
{
	(void)arg;
	atomic_store(&shared->turn, GUARDIAN_RELEASED);
	if (guardian_release(g.pid, g.turn) && guardian_release(g.pid, g.turn))
		serve();
}

Test(guardian, may_be_released_twice)
{
	int status = guarded(GUARDIAN_PATIENCE_NSEC, another_program_releases_it_again, 0);

	cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == SERVES);
	cr_assert_eq(shared->taken, 0);
}

static void is_the_guardian_itself(unsigned arg)
{
	(void)arg;
	atomic_store(&shared->turn, GUARDIAN_ACTS);
	_exit(guardian_release(getpid(), &shared->turn) && guardian_release(0, NULL) ? SERVES : 1);
}

Test(guardian, that_took_over_has_none)
{
	int status = guarded(GUARDIAN_PATIENCE_NSEC, is_the_guardian_itself, 0);

	cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == SERVES);
}

/* Both come to their decision in the same moment: one of them goes on, and never both. */
Test(guardian, one_of_both_goes_on)
{
	int serve_count = 0;

	for (unsigned i = 0; i < ROUNDS; i++) {
		int status;

		atomic_store(&shared->taken, 0);
		status = guarded(MSEC, releases, 900 + i * 2);
		if (WIFEXITED(status) && WEXITSTATUS(status) == SERVES) {
			cr_assert_eq(shared->taken, 0);
			serve_count++;
			continue;
		}
		cr_assert(WIFSIGNALED(status) || WEXITSTATUS(status) == STEPPED_BACK);
		cr_assert(is_taken());
	}
	cr_log_info("%d of %d served", serve_count, ROUNDS);
}
