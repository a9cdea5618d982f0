/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * beat [-d] [-f] [-r] [-c] [-s seconds] [-n slots] [-a ACKFILE] [-l milliseconds] PATH
 * beat -V NUMBER [-c] [-n slots] PATH
 *
 * A client with one request at a time, that knows what it was told. It writes numbers from 1 on
 *into the blocks of the file PATH (4 KiB each, number n into block n % slots), and puts each number
 *into ACKFILE, a shared mapping outside of the mount, when it was acknowledged.
 *
 *	-d	O_DIRECT
 *	-f	acknowledged when fdatasync has returned too; without it, when the write has
 *	-r	each number is read back at once and compared
 *	-c	PATH is a directory, and number n a file of that name, which is made exclusively
 *while n - slots is removed; with -f the directory is synced -l	print each number that took
 *longer: when it began and was acknowledged (date +%s.%6N), and how long it took in ms
 *
 * At the end, or after SIGTERM, it prints "numbers=N seconds=S median_us=M longest_us=L". -V looks
 *whether all numbers up to NUMBER are there that cannot have been overwritten or removed by later
 *ones, and prints the highest one; also of a copy of PATH that a power cut has left, if that had
 *fewer than slots / 2 numbers more.
 *
 * Exit status: 0, 1 for an error, a wrong byte or a number that is missing, 2 for wrong usage.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define BLOCK 4096u
#define BUCKETS 4096u /* of latency, 1/16 octave each */

static struct {
	bool direct, flush, read_back, create;
	double seconds, slow_ms;
	uint64_t slots;
	const char *ack_path, *path;
} set = {.seconds = 10, .slots = 64};

static uint64_t *acked;	       /* in ACKFILE, or a private one */
static uint64_t *block, *back; /* BLOCK bytes each, page aligned */

static int fail(const char *what, uint64_t n)
{
	fprintf(stderr, "beat: %s: %s number %" PRIu64 ": %s\n", set.path, what, n,
		strerror(errno));
	return -1;
}

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

/* ---- numbers in blocks of a file ---- */

/* All words of a block say which it is, so a torn one is seen. */
static void fill(uint64_t n)
{
	for (size_t i = 0; i < BLOCK / sizeof(*block); i++)
		block[i] = n;
}

/* The number in a block, or UINT64_MAX when it has several. */
static uint64_t number_of(const uint64_t *b)
{
	for (size_t i = 1; i < BLOCK / sizeof(*b); i++)
		if (b[i] != b[0])
			return UINT64_MAX;
	return b[0];
}

static int beat_block(int fd, uint64_t n)
{
	off_t off = (off_t)(n % set.slots * BLOCK);

	fill(n);
	if (pwrite(fd, block, BLOCK, off) != BLOCK)
		return fail("cannot write", n);
	if (set.flush && fdatasync(fd))
		return fail("cannot sync", n);
	if (!set.read_back)
		return 0;
	if (pread(fd, back, BLOCK, off) != BLOCK)
		return fail("cannot read", n);
	if (number_of(back) == n)
		return 0;
	fprintf(stderr, "beat: %s: number %" PRIu64 " reads as %" PRIu64 "\n", set.path, n,
		number_of(back));
	return -1;
}

/* Block i has the highest number <= upto that belongs there, or a later one. */
static int check_blocks(int fd, uint64_t upto)
{
	uint64_t highest = 0, bad = 0;

	for (uint64_t i = 0; i < set.slots; i++) {
		uint64_t want = upto >= i ? upto - (upto - i) % set.slots : 0, n = 0;
		ssize_t got = pread(fd, back, BLOCK, (off_t)(i * BLOCK));

		if (got < 0)
			return fail("cannot read for", want);
		if (got == BLOCK)
			n = number_of(back);
		if (n != UINT64_MAX && n >= want && (!n || n % set.slots == i)) {
			highest = n > highest ? n : highest;
			continue;
		}
		if (bad++ < 5)
			fprintf(stderr,
				"beat: %s: block %" PRIu64 " has number %" PRId64 ", not %" PRIu64
				" or a later one\n",
				set.path, i, (int64_t)n, want);
	}
	printf("highest=%" PRIu64 " wrong_blocks=%" PRIu64 "\n", highest, bad);
	return bad ? -1 : 0;
}

/* ---- numbers as names ---- */

static int beat_name(int dir, uint64_t n)
{
	char name[32];
	int fd;

	snprintf(name, sizeof(name), "%" PRIu64, n);
	fd = openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0 || close(fd))
		return fail("cannot create", n);
	if (n > set.slots) {
		snprintf(name, sizeof(name), "%" PRIu64, n - set.slots);
		if (unlinkat(dir, name, 0))
			return fail("cannot remove", n - set.slots);
	}
	return set.flush && fsync(dir) ? fail("cannot sync the directory after", n) : 0;
}

/* The half of the names that a number soon after upto has not removed yet, and what follows them.
 */
static int check_names(int dir, uint64_t upto)
{
	uint64_t n = upto > set.slots / 2 ? upto - set.slots / 2 : 1;
	char name[32];

	for (;; n++) {
		snprintf(name, sizeof(name), "%" PRIu64, n);
		if (!faccessat(dir, name, F_OK, 0))
			continue;
		if (n <= upto)
			return fail("cannot find", n);
		break;
	}
	printf("highest=%" PRIu64 "\n", n - 1);
	return 0;
}

/* ---- both ---- */

static int must_open(void)
{
	int flags = set.create ? O_RDONLY | O_DIRECTORY : O_RDWR | (set.direct ? O_DIRECT : 0);
	int fd = open(set.path, flags | O_CLOEXEC);

	if (fd >= 0)
		return fd;
	fprintf(stderr, "beat: %s: cannot open: %s\n", set.path, strerror(errno));
	exit(1);
}

static void map_acked(void)
{
	int fd =
	    set.ack_path ? open(set.ack_path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644) : -1;

	if (set.ack_path && (fd < 0 || ftruncate(fd, sizeof(*acked)))) {
		fprintf(stderr, "beat: %s: %s\n", set.ack_path, strerror(errno));
		exit(1);
	}
	acked = mmap(NULL, sizeof(*acked), PROT_READ | PROT_WRITE,
		     fd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED, fd, 0);
	block = aligned_alloc(BLOCK, BLOCK);
	back = aligned_alloc(BLOCK, BLOCK);
	if (acked == MAP_FAILED || !block || !back) {
		fprintf(stderr, "beat: no memory\n");
		exit(1);
	}
}

/* The bucket of a latency: 16 for each doubling. */
static unsigned int bucket_of(double us)
{
	double low = 1;
	unsigned int octave = 0, part;

	for (; low * 2 <= us && octave < BUCKETS / 16 - 1; octave++)
		low *= 2;
	part = us <= low ? 0 : (unsigned int)((us / low - 1) * 16);
	return octave * 16 + (part > 15 ? 15 : part);
}

static double bucket_value(unsigned int bucket)
{
	return (double)(1ull << bucket / 16) * (1 + (bucket % 16 + 0.5) / 16);
}

/* SIGTERM ends it well; blocked, so that it interrupts no request. */
static void block_term(void)
{
	sigset_t term;

	sigemptyset(&term);
	sigaddset(&term, SIGTERM);
	sigprocmask(SIG_BLOCK, &term, NULL);
}

static bool term_pending(void)
{
	sigset_t pending;

	return !sigpending(&pending) && sigismember(&pending, SIGTERM);
}

static int run(int fd)
{
	static uint64_t count[BUCKETS];
	double start = now(), before = start, longest = 0, after;
	uint64_t n = 0, seen = 0;
	unsigned int median = 0;

	block_term();
	while (before - start < set.seconds && !term_pending()) {
		if (set.create ? beat_name(fd, n + 1) : beat_block(fd, n + 1))
			return 1;
		__atomic_store_n(acked, ++n, __ATOMIC_RELEASE);
		after = now();
		count[bucket_of((after - before) * 1e6)]++;
		if (after - before > longest)
			longest = after - before;
		if (set.slow_ms > 0 && (after - before) * 1e3 > set.slow_ms)
			printf("%.6f %.6f %.3f\n", before, after, (after - before) * 1e3);
		before = after;
	}
	while (median < BUCKETS && (seen += count[median]) < (n + 1) / 2)
		median++;
	printf("numbers=%" PRIu64 " seconds=%.1f median_us=%.1f longest_us=%.0f\n", n,
	       before - start, bucket_value(median), longest * 1e6);
	return 0;
}

static int usage(void)
{
	fprintf(stderr, "usage: beat [-d] [-f] [-r] [-c] [-s seconds] [-n slots] [-a ACKFILE]\n"
			"            [-l milliseconds] PATH\n"
			"       beat -V NUMBER [-c] [-n slots] PATH\n");
	return 2;
}

int main(int argc, char **argv)
{
	bool check = false;
	uint64_t upto = 0;
	int c;

	while ((c = getopt(argc, argv, "dfrcs:n:a:l:V:")) != -1) {
		switch (c) {
		case 'd':
			set.direct = true;
			break;
		case 'f':
			set.flush = true;
			break;
		case 'r':
			set.read_back = true;
			break;
		case 'c':
			set.create = true;
			break;
		case 's':
			set.seconds = strtod(optarg, NULL);
			break;
		case 'n':
			set.slots = strtoull(optarg, NULL, 0);
			break;
		case 'a':
			set.ack_path = optarg;
			break;
		case 'l':
			set.slow_ms = strtod(optarg, NULL);
			break;
		case 'V':
			check = true;
			upto = strtoull(optarg, NULL, 0);
			break;
		default:
			return usage();
		}
	}
	if (argc - optind != 1 || !set.slots)
		return usage();
	set.path = argv[optind];
	map_acked();
	if (!check) {
		int status = run(must_open());

		/* No leak checker: timeout(1) sends SIGCONT behind its SIGTERM, which takes away
		 * the SIGSTOP that such a one waits for, and it would wait for good. */
		fflush(stdout);
		_exit(status);
	}
	return (set.create ? check_names : check_blocks)(must_open(), upto) ? 1 : 0;
}
