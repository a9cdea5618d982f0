/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * checkpoint-stall [OPTION...] DIR: how long writes to an image wait while checkpoints of it are
 * taken. DIR is on a filesystem with reflinks; the image and what cachefs keeps are made in it and
 * removed.
 *
 *	-l random|install	the load: random 4 KiB writes (default); or 64 KiB writes one behind
 *				the other, with a random 4 KiB write (metadata) after each fourth
 *	-r N			writes a second, default 5000; 0: as many as there can be
 *	-s MIB			size of the image, default 1024; it is written before
 *	-i SECONDS		from one checkpoint to the next, default 5
 *	-n ROUNDS		default 20
 *	-g			clone in ranges, the writer goes through the gate
 *
 * A line a round: milliseconds of write-back before it, of the clone (-g: of the longest range),
 * until durable; the longest and the 99.9 % latency of writes that overlap the checkpoint, the same
 * of those between it and the one before; the image's extents, in thousands.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>

#include "base/util.h"
#include "durability/checkpoint_ranges.h"

#define IMAGE "checkpoint-stall.img"
#define SAMPLES ((size_t)8 << 20)
#define BIG 65536
#define SMALL 4096

static struct {
	bool install, gated;
	uint64_t rate, size;
	int interval, rounds;
} opt = {.rate = 5000, .size = (uint64_t)1024 << 20, .interval = 5, .rounds = 20};

struct sample {
	uint64_t start, nsec;
};

static struct sample *samples;
static atomic_size_t count;
static atomic_bool stop;
static struct checkpoint_gate *gate;
static char data[1 << 20];

static uint64_t next_random(void)
{
	static uint64_t x = 88172645463325252u;

	x ^= x << 13;
	x ^= x >> 7;
	return x ^= x << 17;
}

static void next_write(uint64_t number, uint64_t *off, size_t *len)
{
	uint64_t sequential = number / 5 * 4 + number % 5;

	*len = opt.install && number % 5 < 4 ? BIG : SMALL;
	*off =
	    *len == BIG ? sequential * BIG % opt.size : next_random() % (opt.size / SMALL) * SMALL;
}

/* At an even pace; one that is late goes at once. */
static void *load(void *arg)
{
	uint64_t begin = clock_nsec(), start, off;
	int fd = *(int *)arg;
	struct timespec pause;
	size_t len;

	for (size_t i = 0; i < SAMPLES && !atomic_load(&stop); i++) {
		start = clock_nsec();
		if (opt.rate && begin + i * 1000000000 / opt.rate > start) {
			start = begin + i * 1000000000 / opt.rate - start;
			pause = (struct timespec){0, (long)MIN(start, (uint64_t)999999999)};
			nanosleep(&pause, NULL);
		}
		next_write(i, &off, &len);
		start = clock_nsec();
		if (opt.gated)
			checkpoint_gate_before(gate, off, len);
		if (pwrite(fd, data + i % 512 * 8, len, (off_t)off) != (ssize_t)len) {
			perror("checkpoint-stall: write");
			exit(1);
		}
		samples[i] = (struct sample){start, clock_nsec() - start};
		atomic_store(&count, i + 1);
	}
	return NULL;
}

static int by_nsec(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

/* Of the writes that overlap FROM to TO, in milliseconds. */
static void latencies(uint64_t from, uint64_t to, double *longest, double *most)
{
	size_t n = atomic_load(&count), found = 0;
	uint64_t *all = malloc(n * sizeof(*all) + 1);

	for (size_t i = 0; all && i < n; i++) {
		if (samples[i].start < to && samples[i].start + samples[i].nsec > from)
			all[found++] = samples[i].nsec;
	}
	*longest = *most = 0;
	if (found > 0) {
		qsort(all, found, sizeof(*all), by_nsec);
		*longest = (double)all[found - 1] / 1e6;
		*most = (double)all[(found - 1) * 999 / 1000] / 1e6;
	}
	free(all);
}

static unsigned extents(int fd)
{
	struct fiemap map = {.fm_length = FIEMAP_MAX_OFFSET};

	return ioctl(fd, FS_IOC_FIEMAP, &map) < 0 ? 0 : map.fm_mapped_extents;
}

static int fail(const char *what, int err)
{
	fprintf(stderr, "checkpoint-stall: %s: %s\n", what, strerror(-err));
	return 1;
}

static int make_image(int root, int *fd)
{
	*fd = openat(root, IMAGE, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (*fd < 0)
		return -errno;
	for (uint64_t off = 0; off < opt.size; off += sizeof(data)) {
		if (pwrite(*fd, data, sizeof(data), (off_t)off) != sizeof(data))
			return errno ? -errno : -ENOSPC;
	}
	return sysret(fsync(*fd));
}

static int rounds(struct checkpoints *c, int fd, const struct file_id *id)
{
	double during, during_most, before, before_most;
	uint64_t start, end = clock_nsec();
	struct checkpoint_cost cost;
	int err;

	puts("round write-back  clone durable | longest  99.9% | between longest  99.9% | extents");
	for (int round = 1; round <= opt.rounds; round++) {
		sleep((unsigned)opt.interval);
		start = clock_nsec();
		latencies(end, start, &before, &before_most);
		start = clock_nsec();
		err = opt.gated ? checkpoint_take_ranges(c, fd, id, IMAGE, gate, &cost)
				: checkpoint_take(c, fd, id, IMAGE, &cost);
		if (err)
			return err;
		end = clock_nsec();
		usleep(10000); /* a write that has waited is counted when it is through */
		latencies(start, end, &during, &during_most);
		printf("%5d %10.1f %6.1f %7.1f | %7.1f %6.2f | %15.1f %6.2f | %6.1fk\n", round,
		       (double)cost.flushed_nsec / 1e6, (double)cost.clone_nsec / 1e6,
		       (double)cost.durable_nsec / 1e6, during, during_most, before, before_most,
		       extents(fd) / 1000.0);
		fflush(stdout);
	}
	return 0;
}

static int run(int root)
{
	struct checkpoints *c = NULL;
	struct private_dir *p = NULL;
	_cleanup_fd_ int fd = -1;
	struct file_id id;
	pthread_t thread;
	int err = make_image(root, &fd);

	if (!err && !file_id_of(fd, &id))
		err = -EOPNOTSUPP;
	if (!err)
		err = private_dir_create(root, &p);
	if (!err)
		err = private_dir_own(p);
	if (!err)
		err = checkpoints_create(p, root, &c);
	if (!err)
		err = -pthread_create(&thread, NULL, load, &fd);
	if (!err) {
		err = rounds(c, fd, &id);
		atomic_store(&stop, true);
		pthread_join(thread, NULL);
		printf("%.0f writes a second\n",
		       (double)count * 1e9 / (double)(clock_nsec() - samples[0].start));
	}
	if (c)
		checkpoint_drop(c, &id);
	checkpoints_destroy(c);
	private_dir_destroy(p);
	unlinkat(root, IMAGE, 0);
	return err;
}

static int options(int argc, char **argv)
{
	int ch;

	while ((ch = getopt(argc, argv, "l:r:s:i:n:g")) != -1) {
		switch (ch) {
		case 'l':
			opt.install = strcmp(optarg, "install") == 0;
			break;
		case 'r':
			opt.rate = strtoull(optarg, NULL, 10);
			break;
		case 's':
			opt.size = strtoull(optarg, NULL, 10) << 20;
			break;
		case 'i':
			opt.interval = atoi(optarg);
			break;
		case 'n':
			opt.rounds = atoi(optarg);
			break;
		case 'g':
			opt.gated = true;
			break;
		default:
			return -1;
		}
	}
	return optind + 1 == argc && opt.size && opt.interval > 0 && opt.rounds > 0 ? 0 : -1;
}

int main(int argc, char **argv)
{
	int root, err;

	if (options(argc, argv) < 0) {
		fprintf(stderr, "usage: checkpoint-stall [-l random|install] [-r WRITES-A-SECOND] "
				"[-s MIB] [-i SECONDS] [-n ROUNDS] [-g] DIR\n");
		return 2;
	}
	root = open(argv[optind], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (root < 0)
		return fail(argv[optind], -errno);
	samples = malloc(SAMPLES * sizeof(*samples));
	if (!samples)
		return fail("memory for the samples", -ENOMEM);
	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (char)next_random();
	err = checkpoint_gate_create(&gate);
	err = err ? err : run(root);
	checkpoint_gate_destroy(gate);
	free(samples);
	close(root);
	return err ? fail(argv[optind], err) : 0;
}
