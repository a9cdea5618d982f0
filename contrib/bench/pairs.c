/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * pairs [-n PAIRS] [-m MILLISECONDS] LOAD DIR[=PID]...: how fast one load is in the directories of
 * the first half (A), beside those of the second half (B).
 *
 * One process does slices of the load (-m, default 50) in turn, ABBA, then BAAB, so that what else
 * the machine does hits both alike, and a steady drift of it cancels out. Four slices, which are
 * two pairs (-n, default 400), give one figure, the mean of log(A / B). The next figure is taken
 * from the next two directories, A's first with B's first. Two mounts of the same differ for good
 * by where their threads and memory happen to lie; so, where there is more than one directory a
 * side, each two have their mean, and the interval is of these means, not of the figures.
 *
 * PIDs are the processes that serve the directories: their processor time is compared as well.
 *
 * The file pairs.img, whose size is a multiple of 4 KiB, must be in each DIR.
 *
 * A line for operations a second, and one for microseconds of the processor for an operation: the
 * load, what it is, A, B, the ratio A / B (geometric mean) with its 95 % interval, and the same
 * without the fifth of the figures at each end: those during which something else had the
 * processors, or the disk.
 */
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "base/util.h"
#include "pairs.h"

#define DIRS 64

static struct {
	uint64_t pairs, milliseconds;
	const struct load *load;
	bool clocks; /* there are PIDs */
} opt = {.pairs = 400, .milliseconds = 50};

static unsigned dirs;
static struct target targets[DIRS];
static struct worker workers[THREADS];
static pthread_barrier_t barrier; /* of the workers and the main thread */
static struct {
	struct target *target;	     /* NULL: it is over */
	uint64_t counts_from, until; /* clock_nsec() */
} now;

void pairs_fail(const char *format, ...)
{
	int err = errno;
	va_list args;

	fputs("pairs: ", stderr);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fprintf(stderr, ": %s\n", strerror(err));
	exit(1);
}

/* ---- slices ---- */

static void work(struct worker *w)
{
	struct target *t = now.target;
	uint64_t counted = 0, start, end;

	w->all = 0;
	if (w->load->begin)
		w->load->begin(w, t);
	while ((start = clock_nsec()) < now.counts_from)
		w->all += w->load->step(w, t);
	do {
		counted += w->load->step(w, t);
		end = clock_nsec();
	} while (end < now.until);
	w->rate = (double)counted * 1e9 / (double)(end - start);
	w->all += counted;
	if (w->load->end)
		w->load->end(w, t);
}

static void *worker_main(void *arg)
{
	for (;;) {
		pthread_barrier_wait(&barrier);
		if (!now.target)
			return NULL;
		work(arg);
		pthread_barrier_wait(&barrier);
	}
}

static double cpu_seconds(const struct target *t)
{
	struct timespec ts;

	if (!opt.clocks)
		return 0;
	if (clock_gettime(t->clock, &ts) < 0)
		pairs_fail("%s: the process that serves it", t->dir);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

/* Before it counts, an eighth of the time again, for what was asleep and out of the caches. */
static void do_slice(struct target *t, double *rate, double *cpu)
{
	uint64_t length = opt.milliseconds * 1000000, all = 0;
	double before = cpu_seconds(t);

	now.target = t;
	now.counts_from = clock_nsec() + length / 8;
	now.until = now.counts_from + length;
	pthread_barrier_wait(&barrier);
	pthread_barrier_wait(&barrier);
	*rate = 0;
	for (unsigned i = 0; i < opt.load->threads; i++) {
		*rate += workers[i].rate;
		all += workers[i].all;
	}
	*cpu = (cpu_seconds(t) - before) / (double)all;
}

/* ---- figures ---- */

/* Logarithms of all slices of A and of B, summed; of A / B, by figure, that of directory 0 first.
 */
struct figures {
	double a, b, *ratios;
};

static void add(struct figures *f, uint64_t number, const double *slices)
{
	double a = (log(slices[0]) + log(slices[3])) / 2;
	double b = (log(slices[1]) + log(slices[2])) / 2;

	f->a += a;
	f->b += b;
	f->ratios[number] = a - b;
}

static int ascending(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

struct estimate {
	double mean, error; /* its standard error */
	uint64_t degrees;   /* of freedom; 0: the error is unknown */
};

/* Without CUT of the N values at each end, which are sorted (Yuen: the error by what is left and
 * its ends). */
static struct estimate estimate(const double *v, uint64_t n, uint64_t cut)
{
	uint64_t left = n - 2 * cut;
	double mean = 0, winsorized = 0, square = 0;

	for (uint64_t i = 0; i < n; i++) {
		double value = v[MIN(MAX(i, cut), n - cut - 1)];

		mean += i >= cut && i < n - cut ? v[i] / (double)left : 0;
		winsorized += value / (double)n;
	}
	for (uint64_t i = 0; i < n; i++) {
		double value = v[MIN(MAX(i, cut), n - cut - 1)] - winsorized;

		square += value * value;
	}
	if (left < 2)
		return (struct estimate){mean, 0, 0};
	return (struct estimate){mean, sqrt(square / (double)(left * (left - 1))), left - 1};
}

/* Of N ratios of which each UNITS-th is of the same two directories, without the fifth at each end
 * or with all. */
static struct estimate sum_up(const double *ratios, uint64_t n, unsigned units, bool trimmed)
{
	double *v = calloc(n, sizeof(*v)), means[DIRS] = {0};
	struct estimate e = {0};

	if (!v)
		pairs_fail("memory");
	for (unsigned unit = 0; unit < units; unit++) {
		uint64_t own = 0;

		for (uint64_t i = unit; i < n; i += units)
			v[own++] = ratios[i];
		qsort(v, own, sizeof(*v), ascending);
		e = estimate(v, own, trimmed ? own / 5 : 0);
		means[unit] = e.mean;
	}
	free(v);
	return units > 1 ? estimate(means, units, 0) : e;
}

/* Student's t for 95 %. */
static double student(uint64_t degrees)
{
	static const double few[] = {12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306};
	double z = 1.959964, d = (double)degrees;

	if (degrees <= ARRAY_SIZE(few))
		return few[degrees - 1];
	return z + (pow(z, 3) + z) / (4 * d) +
	       (5 * pow(z, 5) + 16 * pow(z, 3) + 3 * z) / (96 * d * d);
}

static void show_ratio(struct estimate e)
{
	double width = e.degrees ? student(e.degrees) * e.error : 0;

	if (e.degrees)
		printf("  %7.3f  %5.3f to %5.3f", exp(e.mean), exp(e.mean - width),
		       exp(e.mean + width));
	else
		printf("  %7.3f  %5s to %5s", exp(e.mean), "?", "?");
}

static void show(const struct figures *f, uint64_t n, const char *what, double scale)
{
	double a = scale * exp(f->a / (double)n), b = scale * exp(f->b / (double)n);
	int digits = scale > 1 ? 2 : 0;

	printf("%-16s %-14s %9.*f %9.*f", opt.load->name, what, digits, a, digits, b);
	show_ratio(sum_up(f->ratios, n, dirs / 2, false));
	show_ratio(sum_up(f->ratios, n, dirs / 2, true));
	putchar('\n');
}

/* SLICES are A, B, B, A, whatever their order in time was. */
static void measure(uint64_t number, double *rates, double *cpus)
{
	static const unsigned orders[][4] = {{0, 1, 2, 3}, {1, 0, 3, 2}};
	uint64_t units = dirs / 2, unit = number % units;
	const unsigned *order = orders[number / units % 2];

	for (unsigned i = 0; i < 4; i++) {
		bool is_a = order[i] == 0 || order[i] == 3;

		do_slice(&targets[is_a ? unit : units + unit], &rates[order[i]], &cpus[order[i]]);
	}
}

static void run(void)
{
	uint64_t n = opt.pairs / 2;
	struct figures rate = {.ratios = calloc(n, sizeof(double))};
	struct figures cpu = {.ratios = calloc(n, sizeof(double))};
	double rates[4], cpus[4];

	if (!rate.ratios || !cpu.ratios)
		pairs_fail("memory");
	for (uint64_t i = 0; i < n; i++) {
		measure(i, rates, cpus);
		add(&rate, i, rates);
		add(&cpu, i, cpus);
	}
	show(&rate, n, "operations/s", 1);
	if (opt.clocks)
		show(&cpu, n, "processor, us", 1e6);
	free(rate.ratios);
	free(cpu.ratios);
}

/* ---- begin and end ---- */

static bool number(const char *text, uint64_t min, uint64_t max, uint64_t *value)
{
	char *end;

	errno = 0;
	*value = strtoull(text, &end, 10);
	return !errno && *end == '\0' && end != text && *value >= min && *value <= max;
}

static void open_target(struct target *t, char *arg)
{
	char *pid = strrchr(arg, '=');
	struct stat st = {0};
	uint64_t id = 0;

	if (pid)
		*pid++ = '\0';
	t->dir = arg;
	errno = 0;
	if (pid && !number(pid, 1, INT32_MAX, &id))
		errno = EINVAL;
	else if (pid)
		errno = clock_getcpuclockid((pid_t)id, &t->clock);
	if (errno)
		pairs_fail("%s=%s", arg, pid);
	t->dir_fd = open(arg, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (t->dir_fd < 0)
		pairs_fail("%s", arg);
	for (unsigned i = 0; i < opt.load->threads; i++) {
		t->fds[i] = openat(t->dir_fd, PAIRS_FILE, opt.load->flags | O_CLOEXEC);
		if (t->fds[i] < 0 || fstat(t->fds[i], &st) < 0)
			pairs_fail("%s/" PAIRS_FILE, arg);
	}
	t->blocks = (uint64_t)st.st_size / BLOCK;
	errno = EINVAL;
	if (t->blocks == 0)
		pairs_fail("%s/" PAIRS_FILE " must have a block at least", arg);
}

static void close_target(struct target *t)
{
	for (unsigned i = 0; i < opt.load->threads; i++)
		close(t->fds[i]);
	close(t->dir_fd);
}

static void start_workers(void)
{
	errno = pthread_barrier_init(&barrier, NULL, opt.load->threads + 1);
	if (errno)
		pairs_fail("barrier");
	for (unsigned i = 0; i < opt.load->threads; i++) {
		struct worker *w = &workers[i];

		w->index = i;
		w->load = opt.load;
		w->random = clock_nsec() * 2654435761u + i + 1;
		w->buf = aligned_alloc(BLOCK, (size_t)DEPTH * BLOCK);
		if (!w->buf)
			pairs_fail("memory");
		memset(w->buf, (int)i + 1, (size_t)DEPTH * BLOCK);
		if (w->load->depth && syscall(SYS_io_setup, DEPTH, &w->aio) < 0)
			pairs_fail("io_setup");
		errno = pthread_create(&w->thread, NULL, worker_main, w);
		if (errno)
			pairs_fail("thread");
	}
}

static void stop_workers(void)
{
	now.target = NULL;
	pthread_barrier_wait(&barrier);
	for (unsigned i = 0; i < opt.load->threads; i++) {
		pthread_join(workers[i].thread, NULL);
		if (opt.load->depth)
			syscall(SYS_io_destroy, workers[i].aio);
		free(workers[i].buf);
	}
	pthread_barrier_destroy(&barrier);
}

/* The first of the directories, or 0. */
static int options(int argc, char **argv)
{
	int ch, first;

	while ((ch = getopt(argc, argv, "n:m:")) != -1) {
		if (ch == 'n' ? !number(optarg, 2, 1000000, &opt.pairs) || opt.pairs % 2
			      : ch != 'm' || !number(optarg, 1, 60000, &opt.milliseconds))
			return 0;
	}
	first = optind + 1;
	for (const struct load *l = pairs_loads; l->name && optind < argc; l++) {
		if (strcmp(argv[optind], l->name) == 0)
			opt.load = l;
	}
	if (!opt.load || argc <= first || (argc - first) % 2 || argc - first > DIRS)
		return 0;
	dirs = (unsigned)(argc - first);
	opt.clocks = true;
	for (int i = first; i < argc; i++)
		opt.clocks = strchr(argv[i], '=') && opt.clocks;
	return opt.pairs / 2 >= dirs / 2 ? first : 0;
}

int main(int argc, char **argv)
{
	int first = options(argc, argv);

	if (!first) {
		fputs("usage: pairs [-n PAIRS] [-m MILLISECONDS] LOAD DIR[=PID]...\n"
		      "PAIRS is even, so is the number of directories, and no greater; loads:",
		      stderr);
		for (const struct load *l = pairs_loads; l->name; l++)
			fprintf(stderr, " %s", l->name);
		fputc('\n', stderr);
		return 2;
	}
	for (unsigned i = 0; i < dirs; i++)
		open_target(&targets[i], argv[first + (int)i]);
	start_workers();
	run();
	stop_workers();
	for (unsigned i = 0; i < dirs; i++)
		close_target(&targets[i]);
	return fflush(stdout) == 0 ? 0 : 1;
}
