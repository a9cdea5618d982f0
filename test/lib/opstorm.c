/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * opstorm [-S seed] [-n ops] [-t threads] [-l max size] [-d] [-D] [-m] [-R op,op]
 *         TARGETFILE PLAINFILE
 *
 * See opstorm.h. TARGETFILE and PLAINFILE are made anew, and removed when all went well, together
 * with FILE.src beside each. An operation that the target does not support is left out on
 * both sides and counted; -R names those that must be supported. With one thread a seed gives
 * the same operations again.
 *
 * Exit status: 0, 1 for a difference or a failed operation, 2 for wrong usage.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include "opstorm.h"

#define MAX_TYPES 32

struct settings set = {.n_ops = 10000, .threads = 1, .max_size = 2u << 20};

static atomic_uint_fast64_t claimed, hot;
static atomic_uint_fast64_t done[MAX_TYPES], unsupported[MAX_TYPES];
static unsigned int total_weight;
static pthread_mutex_t report = PTHREAD_MUTEX_INITIALIZER; /* never released: one report only */

static void show_bytes(enum side side, uint64_t off)
{
	static const char *const names[] = {"target", "plain "};
	uint64_t start = off & ~15ull;
	unsigned char b[32];
	int fd = open(set.path[side], O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : pread(fd, b, sizeof(b), (off_t)start);

	fprintf(stderr, "  %s %8" PRIu64 ":", names[side], start);
	for (ssize_t i = 0; i < n; i++)
		fprintf(stderr, " %02x", b[i]);
	fprintf(stderr, "%s\n", n < 0 ? " unreadable" : n == 0 ? " end of file" : "");
	if (fd >= 0)
		close(fd);
}

void mismatch(const struct op *op, uint64_t off, const char *what)
{
	pthread_mutex_lock(&report);
	fprintf(stderr, "opstorm: %s: %s, first at offset %" PRIu64 " (seed %" PRIu64 ")\n",
		set.path[TARGET], what, off, set.seed);
	if (op)
		op_print(op);
	fprintf(stderr, " the files now:\n");
	show_bytes(TARGET, off);
	show_bytes(PLAIN, off);
	fprintf(stderr, " the last operations there:\n");
	range_print_log(off);
	_exit(1);
}

static void op_failed(const struct op *op, enum side side)
{
	int err = errno;

	pthread_mutex_lock(&report);
	fprintf(stderr, "opstorm: %s: operation failed: %s (errno %d, seed %" PRIu64 ")\n",
		set.path[side], strerror(err), err, set.seed);
	op_print(op);
	_exit(1);
}

static uint64_t rnd(struct worker *w)
{
	uint64_t z = w->rng += 0x9e3779b97f4a7c15ull;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ z >> 27) * 0x94d049bb133111ebull;
	return z ^ z >> 31;
}

/* Is NAME one of the comma separated names that -x excludes? */
static bool is_excluded(const char *name)
{
	size_t len = strlen(name);
	const char *p = set.excluded;

	while (p && *p) {
		if (!strncmp(p, name, len) && (p[len] == ',' || !p[len]))
			return true;
		p = strchr(p, ',');
		p = p ? p + 1 : NULL;
	}
	return false;
}

static unsigned int weight_of(const struct op_type *op)
{
	return (set.no_map && op->mapped) || is_excluded(op->name) ? 0 : op->weight;
}

static int pick_type(struct worker *w)
{
	unsigned int r = rnd(w) % total_weight;
	int id = 0;

	for (;; id++) {
		if (r < weight_of(&ops[id]))
			return id;
		r -= weight_of(&ops[id]);
	}
}

/*
 * Half of the requests are small and fall on the same few sectors, where several threads meet for
 * a while: what loses a neighbour's write does it there. The others have any size, as many
 * short as long ones, there or anywhere.
 */
static void pick_range(struct worker *w, struct op *op)
{
	static const uint64_t units[] = {1, 1, 1, 512, 4096};
	uint64_t unit = op->direct && set.direct == 2 ? PAGE : units[rnd(w) % 5];
	uint64_t limit = 1ull << rnd(w) % 19, kind = rnd(w) % 4;

	if (kind < 2) {
		limit = 300;
		unit = unit < PAGE ? 1 : unit;
	}
	op->len = 1 + rnd(w) % limit;
	op->off = rnd(w) % set.max_size;
	if (kind < 3)
		op->off = (atomic_load(&hot) + rnd(w) % (kind < 2 ? 1536 : 8192)) % set.max_size;
	op->off -= op->off % unit;
	op->len = (op->len + unit - 1) / unit * unit;
	if (op->off + op->len > set.max_size)
		op->len = set.max_size - op->off;
	op->src = rnd(w) % (set.max_size - op->len + 1);
	if (rnd(w) % 3)
		op->src -= op->src % unit;
	if (rnd(w) % 64 == 0)
		atomic_store(&hot, rnd(w) % (range_size() + 4096));
	if (ops[op->id].touch != TOUCH_SIZE)
		return;
	op->len = rnd(w) % set.max_size;
	if (rnd(w) & 1)
		op->len = (range_size() + set.max_size + rnd(w) % 16384 - 8192) % set.max_size;
	op->off = 0;
}

static int is_unsupported(int err)
{
	return err == EOPNOTSUPP || err == ENOSYS || err == EXDEV || err == ENODEV;
}

static void compare_read(struct worker *w, const struct op *op, ssize_t got, ssize_t want)
{
	ssize_t n = got < want ? got : want;

	if (memcmp(w->buf[TARGET], w->buf[PLAIN], (size_t)n)) {
		for (ssize_t i = 0; i < n; i++)
			if (w->buf[TARGET][i] != w->buf[PLAIN][i])
				mismatch(op, op->off + (uint64_t)i, "read wrong bytes");
	}
	if (got != want)
		mismatch(op, op->off + (uint64_t)n, got < want ? "short read" : "read too much");
}

static void one_op(struct worker *w)
{
	struct op op = {.thread = w->id};
	const struct op_type *type;
	ssize_t n[SIDES];

	op.id = pick_type(w);
	op.salt = rnd(w);
	op.direct = set.direct && rnd(w) % 2;
	type = &ops[op.id];
	pick_range(w, &op);
	if (range_hold(&op))
		return;
	for (enum side s = TARGET; s < SIDES; s++) {
		n[s] = type->run(w, &op, s);
		if (n[s] >= 0)
			continue;
		if (s != TARGET || !is_unsupported(errno))
			op_failed(&op, s);
		op.result = -errno;
		atomic_fetch_add(&unsupported[op.id], 1);
		range_release(&op);
		return;
	}
	op.result = n[TARGET];
	if (type->reads)
		compare_read(w, &op, n[TARGET], n[PLAIN]);
	atomic_fetch_add(&done[op.id], 1);
	range_release(&op);
}

static void die(const char *what, const char *path)
{
	fprintf(stderr, "opstorm: %s: %s: %s\n", path, what, strerror(errno));
	exit(1);
}

static int open_file(const char *path, int flags)
{
	int fd = open(path, flags | O_CLOEXEC, 0644);

	if (fd < 0)
		die("cannot open", path);
	return fd;
}

static void worker_open(struct worker *w)
{
	w->direct = -1;
	if (set.direct)
		w->direct = open_file(set.path[TARGET], O_RDWR | O_DIRECT);
	for (enum side s = TARGET; s < SIDES; s++) {
		w->fd[s] = open_file(set.path[s], O_RDWR);
		w->append[s] = open_file(set.path[s], O_RDWR | O_APPEND);
		w->src[s] = open_file(set.src_path[s], O_RDONLY);
		w->buf[s] = aligned_alloc(PAGE, MAX_LEN + PAGE);
		if (!w->buf[s])
			die("no memory for buffers", set.path[s]);
	}
	w->mem = memfd_create("opstorm", MFD_CLOEXEC);
	if (w->mem < 0 || pipe2(w->pipe, O_CLOEXEC))
		die("memfd_create or pipe", set.path[TARGET]);
}

static void *worker_main(void *arg)
{
	struct worker *w = arg;

	while (atomic_fetch_add(&claimed, 1) < set.n_ops)
		one_op(w);
	return NULL;
}

/* Whole files, at the end; by every kind of descriptor that the test used. */
static void compare_files(struct worker *w, int target)
{
	struct stat st[SIDES];
	struct op op = {.len = MAX_LEN};

	for (enum side s = TARGET; s < SIDES; s++)
		if (fstat(w->fd[s], &st[s]))
			die("fstat", set.path[s]);
	if (st[TARGET].st_size != st[PLAIN].st_size)
		mismatch(NULL, (uint64_t)st[PLAIN].st_size, "the sizes differ");
	if ((uint64_t)st[PLAIN].st_size != range_size())
		mismatch(NULL, range_size(), "the plain file's size is not what was computed");
	for (; op.off < range_size(); op.off += MAX_LEN) {
		ssize_t got = pread(target, w->buf[TARGET], MAX_LEN, (off_t)op.off);
		ssize_t want = pread(w->fd[PLAIN], w->buf[PLAIN], MAX_LEN, (off_t)op.off);

		if (got < 0 || want < 0)
			die("cannot read", set.path[got < 0 ? TARGET : PLAIN]);
		compare_read(w, &op, got, want);
	}
}

static void make_files(void)
{
	struct op op = {.len = MAX_LEN};
	char *buf = malloc(MAX_LEN);

	for (enum side s = TARGET; s < SIDES; s++) {
		int fd;

		if (!buf || asprintf(&set.src_path[s], "%s.src", set.path[s]) < 0)
			die("no memory", set.path[s]);
		close(open_file(set.path[s], O_RDWR | O_CREAT | O_TRUNC));
		fd = open_file(set.src_path[s], O_RDWR | O_CREAT | O_TRUNC);
		for (uint64_t off = 0; off < set.max_size; off += MAX_LEN) {
			op.salt = off + set.seed;
			op_data(&op, buf);
			if (pwrite(fd, buf, MAX_LEN, (off_t)off) != MAX_LEN)
				die("cannot write", set.src_path[s]);
		}
		close(fd);
	}
	free(buf);
}

static void remove_files(void)
{
	for (enum side s = TARGET; s < SIDES; s++)
		if (unlink(set.path[s]) || unlink(set.src_path[s]))
			die("cannot remove", set.path[s]);
}

/* The index of a type by name, or -1. */
static int find_type(const char *name)
{
	for (int i = 0; ops[i].name; i++)
		if (!strcmp(ops[i].name, name))
			return i;
	return -1;
}

/* 0 when every operation in the list exists, ran, and was always supported. */
static int check_required(char *list)
{
	int bad = 0;

	for (char *name = strtok(list, ","); name; name = strtok(NULL, ",")) {
		int id = find_type(name);

		if (id >= 0 && atomic_load(&done[id]) && !atomic_load(&unsupported[id]))
			continue;
		fprintf(stderr, "opstorm: -R %s: %s\n", name,
			id < 0 ? "no such operation" : "never ran, or is not supported");
		bad = 1;
	}
	return bad;
}

static void summary(double seconds)
{
	uint64_t all = 0;

	for (int i = 0; ops[i].name; i++)
		all += atomic_load(&done[i]);
	printf("seed=%" PRIu64 " threads=%u done=%" PRIu64 " seconds=%.1f rate=%.0f\n", set.seed,
	       set.threads, all, seconds, (double)all / seconds);
	for (int i = 0; ops[i].name; i++)
		printf("%s%s=%" PRIuFAST64, i ? " " : "", ops[i].name, atomic_load(&done[i]));
	printf("\nunsupported:");
	for (int i = 0; ops[i].name; i++)
		if (atomic_load(&unsupported[i]))
			printf(" %s=%" PRIuFAST64, ops[i].name, atomic_load(&unsupported[i]));
	printf("\n");
}

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static void run(void)
{
	static struct worker workers[MAX_THREADS];
	pthread_t threads[MAX_THREADS];
	double start = now();

	for (unsigned int i = 0; i < set.threads; i++) {
		workers[i].id = i;
		workers[i].rng = set.seed * 1000003 + i;
		worker_open(&workers[i]);
	}
	for (unsigned int i = 0; i < set.threads; i++) {
		errno = pthread_create(&threads[i], NULL, worker_main, &workers[i]);
		if (errno)
			die("pthread_create", set.path[TARGET]);
	}
	for (unsigned int i = 0; i < set.threads; i++)
		pthread_join(threads[i], NULL);
	compare_files(&workers[0], workers[0].fd[TARGET]);
	if (set.direct == 1)
		compare_files(&workers[0], workers[0].direct);
	summary(now() - start);
}

static int usage(void)
{
	fprintf(
	    stderr,
	    "usage: opstorm [-S seed] [-n ops] [-t threads, 1..%u] [-l max size, MiB]\n"
	    "               [-d (also O_DIRECT, at any alignment)] [-D (also O_DIRECT, aligned)]\n"
	    "               [-m (no mmap)] [-R op,op (must be supported)] [-x op,op (left out)]\n"
	    "               TARGETFILE PLAINFILE\n",
	    MAX_THREADS);
	return 2;
}

int main(int argc, char **argv)
{
	char *required = NULL;
	int c;

	set.seed = (uint64_t)time(NULL) * 1000 + (uint64_t)getpid() % 1000;
	while ((c = getopt(argc, argv, "S:n:t:l:dDmR:x:")) != -1) {
		switch (c) {
		case 'S':
			set.seed = strtoull(optarg, NULL, 0);
			break;
		case 'n':
			set.n_ops = strtoull(optarg, NULL, 0);
			break;
		case 't':
			set.threads = (unsigned int)strtoul(optarg, NULL, 0);
			break;
		case 'l':
			set.max_size = strtoull(optarg, NULL, 0) << 20;
			break;
		case 'd':
			set.direct = 1;
			break;
		case 'D':
			set.direct = 2;
			break;
		case 'm':
			set.no_map = 1;
			break;
		case 'R':
			required = optarg;
			break;
		case 'x':
			set.excluded = optarg;
			break;
		default:
			return usage();
		}
	}
	if (argc - optind != 2 || !set.n_ops || !set.threads || set.threads > MAX_THREADS ||
	    !set.max_size || set.max_size > 1u << 30)
		return usage();
	set.path[TARGET] = argv[optind];
	set.path[PLAIN] = argv[optind + 1];
	for (int i = 0; ops[i].name; i++)
		total_weight += weight_of(&ops[i]);
	printf("seed=%" PRIu64 "\n", set.seed);
	fflush(stdout);
	make_files();
	run();
	remove_files();
	return required ? check_required(required) : 0;
}
