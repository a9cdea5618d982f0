/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <criterion/criterion.h>
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/util.h"
#include "supervisor/journal.h"

#define OPCODE 9
#define SECOND 1000000000ULL

static struct journal *j;

static void begin(void)
{
	cr_assert_eq(journal_create(&j), 0);
}

static void end(void)
{
	journal_destroy(j);
}

TestSuite(journal, .init = begin, .fini = end, .timeout = 300);

static struct journal_entry *fresh(uint64_t unique)
{
	return journal_take(j, unique, OPCODE, false);
}

/* Another worker, which knows what is in the memory alone. */
static void another_worker(void)
{
	struct journal *next;
	int fd = dup(journal_memfd(j));

	cr_assert_geq(fd, 0);
	cr_assert_eq(journal_adopt(fd, &next), 0);
	cr_assert_eq(journal_memfd(next), fd);
	journal_destroy(j);
	j = next;
	cr_assert_eq(journal_resume(j), 0);
}

Test(journal, an_entry_is_as_taken)
{
	struct journal_entry *e = fresh(7);

	cr_assert(e->unique == 7 && e->opcode == OPCODE && e->counted == 0 &&
		  e->state == JOURNAL_TAKEN);
	e->counted = 5;
	e->state = JOURNAL_DONE;
	journal_release(j, e);
	cr_assert_eq(e->unique, 0);
	cr_assert_eq(fresh(8), e, "what was used last is used first");
	cr_assert(e->unique == 8 && e->counted == 0 && e->state == JOURNAL_TAKEN);
}

Test(journal, what_was_left_is_found_once)
{
	struct journal_entry *e = fresh(10), *other;

	e->state = JOURNAL_BEGUN;
	e->before[0] = (struct journal_file){3, 4};
	fresh(20);
	journal_release(j, fresh(30));
	cr_assert_null(journal_find(j, 10), "it is in use, and not left");
	another_worker();
	cr_assert_eq(journal_left(j), 2);
	e = journal_find(j, 10);
	cr_assert_not_null(e);
	cr_assert(e->unique == 10 && e->opcode == OPCODE && e->state == JOURNAL_BEGUN &&
		  e->before[0].dev == 3 && e->before[0].ino == 4);
	cr_assert_null(journal_find(j, 10));
	cr_assert_null(journal_find(j, 30));
	cr_assert_eq(journal_left(j), 1);
	for (int i = 0; i < 100; i++) {
		other = fresh(100 + (uint64_t)i);
		cr_assert(other != e && other->unique != 20);
	}
	cr_assert_eq(e->unique, 10);
	another_worker();
	cr_assert_eq(journal_left(j), 102, "a second death leaves the same, and more");
	cr_assert_not_null(journal_find(j, 10));
	cr_assert_not_null(journal_find(j, 20));
	cr_assert_not_null(journal_find(j, 199));
}

/* Only a request that is not resent says that those which are have all been received. */
Test(journal, leftovers_go_after_a_while)
{
	struct journal_entry *claimed;

	for (uint64_t i = 1; i <= 50; i++)
		fresh(i);
	another_worker();
	journal_set_patience(j, SECOND / 2);
	claimed = journal_find(j, 50);
	journal_release(j, journal_take(j, 1000, OPCODE, true));
	usleep(600000);
	journal_release(j, journal_take(j, 1001, OPCODE, true));
	cr_assert_eq(journal_left(j), 49);
	journal_release(j, fresh(1002));
	cr_assert_eq(journal_left(j), 49, "it is the first one");
	cr_assert_not_null(journal_find(j, 49));
	usleep(600000);
	journal_release(j, fresh(1003));
	cr_assert_eq(journal_left(j), 0);
	cr_assert_null(journal_find(j, 1));
	cr_assert_eq(claimed->unique, 50, "it was found, and may still be waiting for its turn");
	another_worker();
	cr_assert_eq(journal_left(j), 2, "the two that were found and not released");
}

/* ---- exhaustion ---- */

static void *release_later(void *arg)
{
	usleep(100000);
	journal_release(j, arg);
	return NULL;
}

Test(journal, who_finds_none_waits)
{
	struct journal_entry *first = fresh(1), *e;
	pthread_t thread;

	for (uint64_t i = 2; i <= JOURNAL_ENTRIES; i++) {
		e = fresh(i);
		cr_assert(e && e->unique == i);
	}
	cr_assert_eq(pthread_create(&thread, NULL, release_later, first), 0);
	cr_assert_eq(fresh(99999), first);
	cr_assert_eq(first->unique, 99999);
	pthread_join(thread, NULL);
	another_worker();
	cr_assert_eq(journal_left(j), JOURNAL_ENTRIES);
}

Test(journal, who_finds_none_waits_for_leftovers_to_go)
{
	uint64_t start;

	for (uint64_t i = 1; i <= JOURNAL_ENTRIES; i++)
		fresh(i);
	another_worker();
	journal_set_patience(j, SECOND / 2);
	start = clock_nsec();
	cr_assert_eq(fresh(99999)->unique, 99999);
	cr_assert_geq(clock_nsec() - start, SECOND / 2);
	cr_assert_eq(journal_left(j), 0);
}

/* ---- threads ---- */

#define THREADS 8
#define ROUNDS 20000

static void *take_and_release(void *arg)
{
	uint64_t base = (uint64_t)(uintptr_t)arg << 32;
	struct journal_entry *held[5] = {0};

	for (uint64_t i = 1; i <= ROUNDS; i++) {
		unsigned n = (unsigned)(i % ARRAY_SIZE(held));

		if (held[n]) {
			cr_assert_eq(held[n]->unique, base + i - ARRAY_SIZE(held));
			journal_release(j, held[n]);
		}
		held[n] = fresh(base + i);
	}
	for (unsigned n = 0; n < ARRAY_SIZE(held); n++)
		journal_release(j, held[n]);
	return NULL;
}

Test(journal, threads_share_no_entry)
{
	pthread_t threads[THREADS];

	for (uintptr_t i = 0; i < THREADS; i++)
		cr_assert_eq(pthread_create(&threads[i], NULL, take_and_release, (void *)(i + 1)),
			     0);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	another_worker();
	cr_assert_eq(journal_left(j), 0);
	for (uint64_t i = 1; i <= JOURNAL_ENTRIES; i++) /* none was lost */
		fresh(i);
}

/* A process that ends anywhere leaves what it had published, and nothing that is torn. */
Test(journal, another_process_is_killed)
{
	for (int round = 0; round < 20; round++) {
		pid_t pid = fork();
		unsigned left;

		if (!pid) {
			for (uint64_t i = 1;; i++) {
				struct journal_entry *e = fresh(i);

				e->before[0] = (struct journal_file){i, i};
				atomic_store(&e->state, JOURNAL_BEGUN);
				journal_release(j, e);
			}
		}
		usleep(2000);
		kill(pid, SIGKILL);
		cr_assert_eq(waitpid(pid, NULL, 0), pid);
		another_worker();
		left = journal_left(j);
		cr_assert_leq(left, (unsigned)round + 1, "%u", left);
	}
}

/* ---- the memory ---- */

static long used_bytes(void)
{
	struct stat st;

	cr_assert_eq(fstat(journal_memfd(j), &st), 0);
	return (long)st.st_blocks * 512;
}

Test(journal, memory_is_used_as_entries_are)
{
	cr_assert_leq(used_bytes(), 4096);
	for (uint64_t i = 1; i <= 1000; i++)
		journal_release(j, fresh(i));
	cr_assert_leq(used_bytes(), 8192);
	another_worker();
	cr_assert_leq(used_bytes(), 8192, "looking touches nothing else");
}

Test(journal, only_a_journal_is_adopted)
{
	struct journal *none = NULL;
	struct stat st;
	int fd = memfd_create("none", MFD_CLOEXEC);

	cr_assert_eq(journal_adopt(fd, &none), -EINVAL);
	cr_assert_eq(fstat(journal_memfd(j), &st), 0);
	cr_assert_eq(ftruncate(fd, st.st_size), 0);
	cr_assert_eq(journal_adopt(fd, &none), -EINVAL);
	cr_assert_null(none);
	cr_assert_eq(close(fd), 0, "it is still the caller's");
	cr_assert_eq(journal_adopt(-1, &none), -EBADF);
}
