/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ckpt: durability/checkpoint.h by hand, on a backing directory without a mount, and a writer whose
 * traces show whether a checkpoint is a state that the file had.
 *
 *	ckpt probe ROOT			has its filesystem reflinks? prints yes, no, or why not
 *	ckpt take ROOT FILE [N]		N checkpoints (1) of ROOT/FILE
 *	ckpt take-ranges ROOT FILE	one, in ranges
 *	ckpt info ROOT FILE N		of the newest (0) or the one before (1): SIZE UNIQUE and
 *where it is, under ROOT
 *	ckpt rollback ROOT FILE [NAME]	prints the name that the tainted file got; NAME: in the
 *place of this file beside FILE, which is refused ckpt dry-run ROOT FILE		the same,
 *changing nothing ckpt drop ROOT FILE ckpt collect ROOT ckpt each ROOT			one line a
 *file: PATH SIZE
 *	ckpt ranges ROOT FILE [N]	N checkpoints in ranges, with a writer as below behind the
 *gate; each is verified
 *	ckpt write FILE			until it is killed: numbers 1, 2, 3... each over another
 *block ckpt verify FILE		no later number without all the earlier ones; prints the
 *last
 *
 * Exit status: 0; 1 with the error's name on stderr; 2 for wrong usage.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/util.h"
#include "durability/checkpoint_ranges.h"

#define BLOCK 4096
#define WORDS (BLOCK / sizeof(uint64_t))
#define STEP 7919 /* coprime to any number of blocks that is a power of two */

struct run {
	int root;
	struct private_dir *dir;
	struct checkpoints *checkpoints;
	struct file_id id;
	const char *name;
	const char *number;
};

static int fail(const char *what, int err)
{
	fprintf(stderr, "ckpt: %s: %s (%s)\n", what, strerrorname_np(-err), strerror(-err));
	return 1;
}

/* ---- the module ---- */

static int probe(struct run *r)
{
	int err = checkpoint_probe(r->root);

	puts(err == 0 ? "yes" : err == -EOPNOTSUPP ? "no" : strerrorname_np(-err));
	return 0;
}

static int take(struct run *r)
{
	_cleanup_fd_ int fd = openat(r->root, r->name, O_RDONLY | O_CLOEXEC);
	int n = r->number ? atoi(r->number) : 1;
	struct checkpoint_cost cost;
	int err = fd < 0 ? -errno : 0;

	for (; n > 0 && !err; n--) {
		err = checkpoint_take(r->checkpoints, fd, &r->id, r->name, &cost);
		if (!err)
			printf("flushed=%" PRIu64 " clone=%" PRIu64 " durable=%" PRIu64 "\n",
			       cost.flushed_nsec, cost.clone_nsec, cost.durable_nsec);
	}
	return err;
}

static int take_ranges(struct run *r)
{
	_cleanup_fd_ int fd = openat(r->root, r->name, O_RDONLY | O_CLOEXEC);
	struct checkpoint_gate *g;
	int err = fd < 0 ? -errno : checkpoint_gate_create(&g);

	if (err)
		return err;
	err = checkpoint_take_ranges(r->checkpoints, fd, &r->id, r->name, g, NULL);
	checkpoint_gate_destroy(g);
	return err;
}

static int info(struct run *r)
{
	unsigned n = r->number ? (unsigned)atoi(r->number) : 0;
	struct checkpoint_info i;
	char text[FILE_ID_TEXT];
	int err = checkpoint_info(r->checkpoints, &r->id, n, &i);

	if (err)
		return err;
	file_id_text(&r->id, text);
	printf("%" PRIu64 " %" PRIu64 " %s/checkpoints/%s/%s\n", i.size, i.unique, PRIVATE_DIR,
	       text, i.name);
	return 0;
}

static int rollback_or_not(struct run *r, bool dry_run)
{
	char path[PATH_MAX], kept[NAME_MAX + 1];
	_cleanup_fd_ int beside = -1;
	struct file_id new_id;
	const char *slash = strrchr(r->name, '/');
	int err;

	snprintf(path, sizeof(path), "%.*s", slash ? (int)(slash - r->name) : 1,
		 slash ? r->name : ".");
	beside = openat(r->root, path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	err = beside < 0 ? -errno
			 : checkpoint_rollback(r->checkpoints, &r->id, beside,
					       r->number ? r->number
					       : slash	 ? slash + 1
							 : r->name,
					       dry_run, kept, &new_id);
	if (!err)
		puts(kept);
	return err;
}

static int rollback(struct run *r)
{
	return rollback_or_not(r, false);
}

static int dry_run(struct run *r)
{
	return rollback_or_not(r, true);
}

static int drop(struct run *r)
{
	return checkpoint_drop(r->checkpoints, &r->id);
}

static int collect(struct run *r)
{
	return checkpoint_collect(r->checkpoints);
}

static void show(void *arg, const struct file_id *id, const char *path,
		 const struct checkpoint_info *newest)
{
	(void)arg;
	(void)id;
	printf("%s %" PRIu64 "\n", path, newest->size);
}

static int each(struct run *r)
{
	return checkpoint_each(r->checkpoints, show, NULL);
}

/* ---- the writer ---- */

static struct checkpoint_gate *gate; /* NULL: there is none */
static atomic_bool stop;
static atomic_ullong written; /* the last number that was */

static uint64_t block_of(uint64_t number, uint64_t blocks)
{
	return number * STEP % blocks;
}

static int write_numbers(int fd, uint64_t blocks)
{
	uint64_t buf[WORDS];

	for (uint64_t number = 1; !atomic_load(&stop); number++) {
		for (size_t i = 0; i < WORDS; i++)
			buf[i] = number;
		if (gate)
			checkpoint_gate_before(gate, block_of(number, blocks) * BLOCK, BLOCK);
		if (pwrite(fd, buf, BLOCK, (off_t)(block_of(number, blocks) * BLOCK)) != BLOCK)
			return errno ? -errno : -ENOSPC;
		atomic_store(&written, number);
	}
	return 0;
}

/* Each block must hold what its last writer up to LAST wrote, whole. */
static int verify_numbers(int fd, uint64_t blocks)
{
	_cleanup_free_ uint64_t *found = calloc(blocks, sizeof(*found));
	uint64_t buf[WORDS], last = 0, expected;

	for (uint64_t b = 0; found && b < blocks; b++) {
		if (pread(fd, buf, BLOCK, (off_t)(b * BLOCK)) != BLOCK)
			return -EIO;
		found[b] = buf[0];
		last = MAX(last, buf[0]);
		if (memcmp(buf, buf + 1, BLOCK - sizeof(*buf)) != 0) {
			fprintf(stderr, "ckpt: block %" PRIu64 ": torn\n", b);
			return -EBADMSG;
		}
	}
	for (uint64_t number = last; found && number > 0 && number + blocks > last; number--) {
		expected = number;
		if (found[block_of(number, blocks)] != expected) {
			fprintf(stderr, "ckpt: %" PRIu64 " is there, %" PRIu64 " is not\n", last,
				number);
			return -EBADMSG;
		}
	}
	printf("%" PRIu64 "\n", last);
	return found ? 0 : -ENOMEM;
}

static int numbers(const char *verb, const char *file)
{
	_cleanup_fd_ int fd = open(file, O_RDWR | O_CLOEXEC);
	struct stat st;
	int err;

	if (fd < 0 || fstat(fd, &st) < 0)
		return fail(file, -errno);
	err = verb[0] == 'w' ? write_numbers(fd, (uint64_t)st.st_size / BLOCK)
			     : verify_numbers(fd, (uint64_t)st.st_size / BLOCK);
	return err ? fail(file, err) : 0;
}

/* ---- the writer and the gate ---- */

struct writer {
	int fd;
	uint64_t blocks;
	int err;
};

static void *write_gated(void *arg)
{
	struct writer *w = arg;

	w->err = write_numbers(w->fd, w->blocks);
	return NULL;
}

static int take_and_verify(struct run *r, const struct writer *w)
{
	struct checkpoint_info i;
	_cleanup_fd_ int fd = -1;
	char text[FILE_ID_TEXT], path[PATH_MAX];
	int err = checkpoint_take_ranges(r->checkpoints, w->fd, &r->id, r->name, gate, NULL);

	if (!err)
		err = checkpoint_info(r->checkpoints, &r->id, 0, &i);
	if (err)
		return err;
	file_id_text(&r->id, text);
	snprintf(path, sizeof(path), "%s/checkpoints/%s/%s", PRIVATE_DIR, text, i.name);
	fd = openat(r->root, path, O_RDONLY | O_CLOEXEC);
	return fd < 0 ? -errno : verify_numbers(fd, w->blocks);
}

static int ranges(struct run *r)
{
	_cleanup_fd_ int fd = openat(r->root, r->name, O_RDWR | O_CLOEXEC);
	unsigned long long seen = 0;
	struct writer w = {.fd = fd};
	pthread_t thread;
	struct stat st;
	int err;

	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	w.blocks = (uint64_t)st.st_size / BLOCK;
	err = checkpoint_gate_create(&gate);
	if (!err)
		err = -pthread_create(&thread, NULL, write_gated, &w);
	if (err)
		return err;
	for (int n = r->number ? atoi(r->number) : 1; n > 0 && !err; n--) {
		/* it may rest for a while; a minute is an error of its own */
		for (int i = 0; i < 1200 && (!i || atomic_load(&written) == seen); i++)
			usleep(50000);
		seen = atomic_load(&written);
		err = take_and_verify(r, &w);
	}
	atomic_store(&stop, true);
	pthread_join(thread, NULL);
	checkpoint_gate_destroy(gate);
	return err ? err : w.err;
}

/* ---- */

static const struct verb {
	const char *name;
	int (*run)(struct run *r);
	bool file;
} verbs[] = {
    {"probe", probe, false},	 {"take", take, true},	       {"info", info, true},
    {"drop", drop, true},	 {"rollback", rollback, true}, {"dry-run", dry_run, true},
    {"each", each, false},	 {"ranges", ranges, true},     {"take-ranges", take_ranges, true},
    {"collect", collect, false},
};

static int open_run(struct run *r, const char *root)
{
	int err;

	r->root = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (r->root < 0)
		return -errno;
	if (r->name) {
		_cleanup_fd_ int fd = openat(r->root, r->name, O_PATH | O_NOFOLLOW | O_CLOEXEC);

		if (fd < 0)
			return -errno;
		if (!file_id_of(fd, &r->id))
			return -EOPNOTSUPP;
	}
	err = private_dir_create(r->root, &r->dir);
	return err ? err : checkpoints_create(r->dir, r->root, &r->checkpoints);
}

int main(int argc, char **argv)
{
	struct run r = {.root = -1};
	const struct verb *v = verbs;
	int err;

	if (argc == 3 && (strcmp(argv[1], "write") == 0 || strcmp(argv[1], "verify") == 0))
		return numbers(argv[1], argv[2]);
	while (argc > 2 && v < verbs + ARRAY_SIZE(verbs) && strcmp(v->name, argv[1]) != 0)
		v++;
	if (argc < 3 || v == verbs + ARRAY_SIZE(verbs) || (v->file && argc < 4)) {
		fprintf(stderr, "usage: ckpt VERB ROOT [FILE [N]]\n");
		return 2;
	}
	if (v->file) {
		r.name = argv[3];
		r.number = argv[4];
	}
	err = open_run(&r, argv[2]);
	if (!err && v->run != probe && v->run != info && v->run != each)
		err = private_dir_own(r.dir);
	err = err ? err : v->run(&r);
	checkpoints_destroy(r.checkpoints);
	private_dir_destroy(r.dir);
	if (r.root >= 0)
		close(r.root);
	return err ? fail(argv[1], err) : 0;
}
