/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * namestorm [-S seed] [-n ops] [-s seconds] [-t threads] [-w seconds] [-k] [-x op,op] [-B BACKING]
 *           DIR
 *
 * See namestorm.h. DIR is an empty directory of the mount, BACKING the same one in the backing
 * directory: it is compared too, at the end. What was made is removed when all went well, and
 * without -k. With one thread a seed gives the same operations again. An operation that takes
 * longer than -w seconds (default 120) is a difference.
 *
 * Exit status: 0, 1 for a difference, 2 for wrong usage.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include "namestorm.h"

#define MAX_TYPES 64

struct settings set = {.threads = 8, .hang = 120};

static struct worker workers[MAX_THREADS];
static atomic_uint_fast64_t claimed;
static atomic_uint_fast64_t done[MAX_TYPES];
static atomic_uint ended;
static const struct op_type *all_ops[MAX_TYPES];
static unsigned int n_types, total_weight;
static double started;
static const char *left_out;
static pthread_mutex_t report = PTHREAD_MUTEX_INITIALIZER; /* never released: one report only */

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

void die(const char *what, const char *path)
{
	fprintf(stderr, "namestorm: %s: %s: %s\n", path, what, strerror(errno));
	exit(1);
}

uint64_t rnd(struct worker *w, uint64_t below)
{
	uint64_t z = w->rng += 0x9e3779b97f4a7c15ull;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ z >> 27) * 0x94d049bb133111ebull;
	return (z ^ z >> 31) % below;
}

/* ---- the history ---- */

static struct history *current(struct worker *w)
{
	return &w->history[(atomic_load(&w->n_ops) - 1) % HISTORY];
}

void say(struct worker *w, const char *format, ...)
{
	struct history *h = &w->history[atomic_load(&w->n_ops) % HISTORY];
	va_list ap;

	va_start(ap, format);
	vsnprintf(h->text, sizeof(h->text), format, ap);
	va_end(ap);
	h->end = 0;
	h->start = now();
	atomic_fetch_add(&w->n_ops, 1);
}

static void note_end(struct worker *w, const char *result)
{
	struct history *h = current(w);
	size_t n = strlen(h->text);

	h->end = now();
	snprintf(h->text + n, sizeof(h->text) - n, " = %s", result);
}

/* Does a line of the history have something to do with another: an inode of it, or a path? */
static bool is_related(const char *line, const char *to)
{
	char words[2 * LINE_LEN], *save;

	snprintf(words, sizeof(words), "%s", to);
	for (char *word = strtok_r(words, " (),:", &save); word;
	     word = strtok_r(NULL, " (),:", &save)) {
		const char *found = strstr(line, word);
		size_t len = strlen(word);

		if ((word[0] == '#' || strchr(word, '/')) && strcmp(word, "#0") && found &&
		    (!found[len] || !strchr("0123456789/", found[len])))
			return true;
	}
	return false;
}

static void print_line(const struct history *h, const char *mark)
{
	fprintf(stderr, "%s%.6f +%.6f %s\n", mark, h->start, h->end ? h->end - h->start : 0.0,
		h->text);
}

static void print_history(struct worker *w, const char *message)
{
	uint64_t n = atomic_load(&w->n_ops), first = n > HISTORY ? n - HISTORY : 0;
	unsigned int shown = 0;
	char to[2 * LINE_LEN];

	if (!n)
		return;
	snprintf(to, sizeof(to), "%s %s", message, current(w)->text);
	fprintf(stderr, " history (time, duration), what has to do with it:\n");
	for (uint64_t i = first; i < n; i++)
		if (is_related(w->history[i % HISTORY].text, to) && shown++ < 100)
			print_line(&w->history[i % HISTORY], "  ");
	fprintf(stderr, " the thread's last operations:\n");
	for (uint64_t i = n > first + 25 ? n - 25 : first; i < n; i++)
		print_line(&w->history[i % HISTORY], "  ");
}

void wrong(struct worker *w, const char *format, ...)
{
	char message[LINE_LEN];
	va_list ap;

	va_start(ap, format);
	vsnprintf(message, sizeof(message), format, ap);
	va_end(ap);
	pthread_mutex_lock(&report);
	fprintf(stderr, "namestorm: thread %u: %s (seed %" PRIu64 ", %.6f)\n", w->id, message,
		set.seed, now());
	print_history(w, message);
	_exit(1);
}

int expect(struct worker *w, long ret, int want)
{
	int err = ret < 0 ? errno : 0;

	note_end(w, err ? strerrorname_np(err) : "ok");
	if (err != want)
		wrong(w, "%s, should be %s: %s", err ? strerrorname_np(err) : "success",
		      want ? strerrorname_np(want) : "success", current(w)->text);
	return err;
}

/* ---- threads ---- */

static bool time_over(void)
{
	if (set.n_ops && atomic_fetch_add(&claimed, 1) >= set.n_ops)
		return true;
	return set.seconds > 0 && now() - started > set.seconds;
}

static void one_op(struct worker *w)
{
	unsigned int r = (unsigned int)rnd(w, total_weight), id = 0;

	for (; r >= all_ops[id]->weight; id++)
		r -= all_ops[id]->weight;
	if (all_ops[id]->run(w))
		atomic_fetch_add(&done[id], 1);
}

static void *worker_main(void *arg)
{
	struct worker *w = arg;

	while (!time_over())
		one_op(w);
	atomic_fetch_add(&ended, 1);
	return NULL;
}

/* Waits for the threads; reports the one that waits for the mount too long. */
static void watch(void)
{
	while (atomic_load(&ended) < set.threads) {
		usleep(100000);
		for (unsigned int i = 0; i < set.threads; i++) {
			const struct history *h;

			if (!atomic_load(&workers[i].n_ops))
				continue;
			h = current(&workers[i]);
			if (!h->end && now() - h->start > set.hang &&
			    atomic_load(&ended) < set.threads)
				wrong(&workers[i], "no answer for %.0f s: %.100s", now() - h->start,
				      h->text);
		}
	}
}

/* Is NAME one of the comma separated names that -x leaves out? */
static bool is_left_out(const char *name)
{
	size_t len = strlen(name);
	const char *p = left_out;

	while (p && *p) {
		if (!strncmp(p, name, len) && (p[len] == ',' || !p[len]))
			return true;
		p = strchr(p, ',');
		p = p ? p + 1 : NULL;
	}
	return false;
}

static void add_ops(const struct op_type *ops)
{
	for (; ops->name; ops++) {
		if (is_left_out(ops->name))
			continue;
		all_ops[n_types++] = ops;
		total_weight += ops->weight;
	}
}

/* What the filesystem under test can do at all. */
static void probe(void)
{
	struct stat st;
	int fd = openat(set.root_fd, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

	set.tmpfile = fd >= 0;
	if (fd >= 0)
		close(fd);
	if (mkdirat(set.root_fd, SHARED, 0755) || mkdirat(set.root_fd, "a", 0755))
		die("cannot make directories; it must be empty", set.root);
	set.dir_nlink = !fstatat(set.root_fd, "a", &st, 0) && st.st_nlink == 2;
	set.exchange = !renameat2(set.root_fd, "a", set.root_fd, SHARED, RENAME_EXCHANGE);
	if (unlinkat(set.root_fd, "a", AT_REMOVEDIR))
		die("cannot remove the directory", "a");
	fd = openat(set.root_fd, SHARED, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	set.locks = !flock(fd, LOCK_EX | LOCK_NB);
	close(fd);
}

static void worker_start(struct worker *w, unsigned int id)
{
	w->id = id;
	w->rng = set.seed * 1000003 + id;
	w->buf = malloc(MAX_SIZE + 1);
	w->own = inode_new(w, KIND_DIR, 0755);
	w->shared = inode_new(w, KIND_DIR, 0755);
	if (!w->buf)
		die("no memory", "");
	w->own->nlink = w->shared->nlink = 1;
	snprintf(w->own->top, sizeof(w->own->top), "t%u", id);
	snprintf(w->shared->top, sizeof(w->shared->top), SHARED);
	snprintf(w->prefix, sizeof(w->prefix), "t%u.", id);
	w->shared->prefix = w->prefix;
	w->dirs[w->n_dirs++] = w->own;
	w->dirs[w->n_dirs++] = w->shared;
	if (mkdirat(set.root_fd, w->own->top, 0755))
		die("cannot make the directory", w->own->top);
	shared_start(w);
}

static void run(void)
{
	pthread_t threads[MAX_THREADS];

	started = now();
	for (unsigned int i = 0; i < set.threads; i++) {
		errno = pthread_create(&threads[i], NULL, worker_main, &workers[i]);
		if (errno)
			die("pthread_create", set.root);
	}
	watch();
	for (unsigned int i = 0; i < set.threads; i++)
		pthread_join(threads[i], NULL);
}

/* ---- the end ---- */

static void compare_side(const char *root)
{
	for (unsigned int i = 0; i < set.threads; i++) {
		char own[64];

		/* of a token that nobody got */
		snprintf(own, sizeof(own), "%s/own", workers[i].own->top);
		unlinkat(set.root_fd, own, 0);
		compare_all(&workers[i], root);
	}
	shared_check(workers, root);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	if (ftw->level && remove(path))
		die("cannot remove", path);
	return 0;
}

static void close_all(struct worker *w)
{
	for (unsigned int i = 0; i < HANDLES; i++)
		if (w->handles[i].inode)
			handle_close(w, &w->handles[i]);
	for (unsigned int i = 0; i < DIR_HANDLES; i++)
		if (w->dir_handles[i].inode)
			handle_close(w, &w->dir_handles[i]);
	if (close(w->log_fd))
		wrong(w, "close of " APPENDED " failed");
}

static void summary(double seconds)
{
	uint64_t all = 0;

	for (unsigned int i = 0; i < n_types; i++)
		all += atomic_load(&done[i]);
	printf("threads=%u done=%" PRIu64 " seconds=%.1f rate=%.0f\n", set.threads, all, seconds,
	       (double)all / seconds);
	for (unsigned int i = 0; i < n_types; i++)
		printf("%s%s=%" PRIuFAST64, i ? " " : "", all_ops[i]->name, atomic_load(&done[i]));
	printf("\n%s%s%s", set.tmpfile ? "" : "no O_TMPFILE\n",
	       set.exchange ? "" : "no RENAME_EXCHANGE\n", set.locks ? "" : "no flock\n");
}

static int usage(void)
{
	fprintf(stderr,
		"usage: namestorm [-S seed] [-n ops] [-s seconds] [-t threads, 1..%u]\n"
		"                 [-w seconds (the longest operation)] [-k (keep the files)]\n"
		"                 [-x op,op (left out, as the summary names them)]\n"
		"                 [-B the same directory in the backing] DIR (empty)\n",
		MAX_THREADS);
	return 2;
}

/* 0 when the command line is right. */
static int parse(int argc, char **argv, bool *keep)
{
	int c;

	set.seed = (uint64_t)time(NULL) * 1000 + (uint64_t)getpid() % 1000;
	while ((c = getopt(argc, argv, "S:n:s:t:w:kB:x:")) != -1) {
		switch (c) {
		case 'S':
			set.seed = strtoull(optarg, NULL, 0);
			break;
		case 'n':
			set.n_ops = strtoull(optarg, NULL, 0);
			break;
		case 's':
			set.seconds = strtod(optarg, NULL);
			break;
		case 't':
			set.threads = (unsigned int)strtoul(optarg, NULL, 0);
			break;
		case 'w':
			set.hang = strtod(optarg, NULL);
			break;
		case 'k':
			*keep = true;
			break;
		case 'x':
			left_out = optarg;
			break;
		case 'B':
			set.back = optarg;
			break;
		default:
			return -1;
		}
	}
	return argc - optind == 1 && set.threads && set.threads <= MAX_THREADS && set.hang > 0 &&
		       (set.n_ops || set.seconds > 0)
		   ? 0
		   : -1;
}

int main(int argc, char **argv)
{
	bool keep = false;

	if (parse(argc, argv, &keep))
		return usage();
	set.root = argv[optind];
	set.root_fd = open(set.root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (set.root_fd < 0)
		die("cannot open the directory", set.root);
	umask(0);
	printf("seed=%" PRIu64 "\n", set.seed);
	fflush(stdout);
	add_ops(name_ops);
	add_ops(file_ops);
	add_ops(shared_ops);
	probe();
	for (unsigned int i = 0; i < set.threads; i++)
		worker_start(&workers[i], i);
	run();
	summary(now() - started);
	compare_side(set.root);
	if (set.back)
		compare_side(set.back);
	for (unsigned int i = 0; i < set.threads; i++)
		close_all(&workers[i]);
	if (!keep && nftw(set.root, remove_one, 16, FTW_DEPTH | FTW_PHYS))
		die("cannot walk", set.root);
	return 0;
}
