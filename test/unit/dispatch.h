/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Requests as no kernel sends them, to a real fs over a directory of its own. Each request ends
 * where its heap block ends and is freed as soon as it is released, so AddressSanitizer sees a byte
 * read beyond the end, and any use after the reply.
 */
#ifndef CACHEFS_TEST_DISPATCH_H
#define CACHEFS_TEST_DISPATCH_H

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <string.h>

#include "../lib/remove_tree.h"
#include "base/log.h"
#include "base/util.h"
#include "cachefs.h"
#include "fs/cred.h"
#include "fs/probe.h"
#include "fuse/dispatch.h"
#include "fuse/session.h"

#define MAX_WRITE 8192

static struct session session;
static struct options options;
static char directory[4096];
static uint8_t *payload;
static uint64_t unique = 4711; /* of the next request */

static void thread_init(enum lane lane)
{
	if (lane == LANE_META)
		cred_thread_init();
}

static void no_invalidate(void *arg, uint64_t id, int64_t off, int64_t len)
{
	(void)arg;
	(void)id;
	(void)off;
	(void)len;
}

static void begin_with(const struct engine *engine, const char *mode)
{
	struct fs_config config = {.engine = engine,
				   .privileged = geteuid() == 0,
				   .kernel_path = KERNEL_PATH_NEVER,
				   .page_timeout = -1,
				   .invalidate = no_invalidate};
	const char *tmp = getenv("TMPDIR");
	char error[OPTIONS_ERROR_SIZE];

	log_open("test", LOG_TO_STDERR, LOG_LEVEL_ERROR);
	options_init(&options);
	cr_assert_eq(options_parse_string(&options, mode, error, sizeof(error)), 0, "%s", error);
	snprintf(directory, sizeof(directory), "%s/cachefs-test.XXXXXX", tmp ? tmp : "/var/tmp");
	cr_assert_not_null(mkdtemp(directory));
	config.source_fd = probe_source(directory, &config.caps.open_tree);
	cr_assert_geq(config.source_fd, 0);
	probe_backing(config.source_fd, config.privileged, &config.caps);
	config.switches = options.switches;
	cr_assert_eq(pool_create(&config.pool, thread_init), 0);
	session = (struct session){.fd = -1,
				   .pool = config.pool,
				   .minor = CACHEFS_FUSE_MINOR,
				   .flags = FUSE_SETXATTR_EXT | FUSE_CREATE_SUPP_GROUP,
				   .max_write = MAX_WRITE,
				   .options = &options,
				   .options_lock = PTHREAD_MUTEX_INITIALIZER};
	cr_assert_eq(fs_create(&config, &session.fs), 0);
	payload = aligned_alloc(4096, MAX_WRITE + FS_READ_SLACK);
	memset(payload, 0, MAX_WRITE + FS_READ_SLACK);
}

static void end(void)
{
	pool_destroy(session.pool);
	fs_destroy(session.fs);
	options_free(&options);
	free(payload);
	cr_assert_eq(remove_tree(directory), 0);
}

/* ---- one request ---- */

struct outcome {
	int sent, released, error;
	size_t size;
	uint8_t reply[512]; /* its beginning */
};

struct call {
	struct request req;
	struct outcome *out;
	sem_t *over;
};

static int record_send(struct request *req, const struct iovec *iov, int n)
{
	struct outcome *o = container_of(req, struct call, req)->out;
	const struct fuse_out_header *head = iov[0].iov_base;

	o->sent++;
	o->error = head->error;
	o->size = n > 1 ? iov[1].iov_len : 0;
	cr_assert_eq(head->len, sizeof(*head) + o->size);
	cr_assert_eq(head->unique, req->in->unique);
	cr_assert(head->error <= 0 && head->error > -1000, "%d", head->error);
	if (n > 1)
		memcpy(o->reply, iov[1].iov_base, MIN(o->size, sizeof(o->reply)));
	return 0;
}

static void record_release(struct request *req)
{
	struct call *c = container_of(req, struct call, req);
	sem_t *over = c->over;

	c->out->released++;
	free(req->in);
	free(c);
	sem_post(over);
}

static const struct request_ops record_ops = {record_send, record_release};
static const struct request_ops *ops = &record_ops;

/* TOTAL bytes of header and arguments arrive; the header says TOLD. */
static struct outcome send_raw(struct fuse_in_header head, const void *args, size_t total,
			       size_t told)
{
	struct call *c = calloc(1, sizeof(*c));
	uint8_t *in = malloc(total);
	struct outcome o = {0};
	sem_t over;

	sem_init(&over, 0, 0);
	head.len = (uint32_t)told;
	head.unique = unique;
	memcpy(in, &head, MIN(total, sizeof(head)));
	if (total > sizeof(head))
		memcpy(in + sizeof(head), args, total - sizeof(head));
	c->req = (struct request){
	    .ops = ops, .session = &session, .len = total, .in = (void *)in, .payload = payload};
	c->out = &o;
	c->over = &over;
	fuse_dispatch(&c->req);
	while (sem_wait(&over) < 0)
		;
	cr_assert_eq(o.released, 1);
	cr_assert_leq(o.sent, 1);
	return o;
}

static struct outcome send_args(uint32_t opcode, uint64_t id, const void *args, size_t len)
{
	struct fuse_in_header head = {.opcode = opcode, .nodeid = id};
	size_t total = sizeof(head) + len;

	return send_raw(head, args, total, total);
}

/* ---- every opcode ---- */

/* Arguments of an opcode: a structure, then names; more may follow. */
static const struct row {
	uint32_t opcode;
	size_t size;
	unsigned names;
	bool no_reply;
} rows[] = {
    {FUSE_LOOKUP, 0, 1, false},
    {FUSE_FORGET, sizeof(struct fuse_forget_in), 0, true},
    {FUSE_BATCH_FORGET, sizeof(struct fuse_batch_forget_in), 0, true},
    {FUSE_GETATTR, sizeof(struct fuse_getattr_in), 0, false},
    {FUSE_STATX, sizeof(struct fuse_statx_in), 0, false},
    {FUSE_SETATTR, sizeof(struct fuse_setattr_in), 0, false},
    {FUSE_READLINK, 0, 0, false},
    {FUSE_STATFS, 0, 0, false},
    {FUSE_SYMLINK, 0, 2, false},
    {FUSE_MKNOD, sizeof(struct fuse_mknod_in), 1, false},
    {FUSE_MKDIR, sizeof(struct fuse_mkdir_in), 1, false},
    {FUSE_UNLINK, 0, 1, false},
    {FUSE_RMDIR, 0, 1, false},
    {FUSE_RENAME, sizeof(struct fuse_rename_in), 2, false},
    {FUSE_RENAME2, sizeof(struct fuse_rename2_in), 2, false},
    {FUSE_LINK, sizeof(struct fuse_link_in), 1, false},
    {FUSE_OPEN, sizeof(struct fuse_open_in), 0, false},
    {FUSE_CREATE, sizeof(struct fuse_create_in), 1, false},
    {FUSE_TMPFILE, sizeof(struct fuse_create_in), 0, false},
    {FUSE_RELEASE, sizeof(struct fuse_release_in), 0, false},
    {FUSE_READ, sizeof(struct fuse_read_in), 0, false},
    {FUSE_WRITE, sizeof(struct fuse_write_in), 0, false},
    {FUSE_FLUSH, 0, 0, false},
    {FUSE_FSYNC, sizeof(struct fuse_fsync_in), 0, false},
    {FUSE_FALLOCATE, sizeof(struct fuse_fallocate_in), 0, false},
    {FUSE_LSEEK, sizeof(struct fuse_lseek_in), 0, false},
    {FUSE_COPY_FILE_RANGE, sizeof(struct fuse_copy_file_range_in), 0, false},
    {FUSE_COPY_FILE_RANGE_64, sizeof(struct fuse_copy_file_range_in), 0, false},
    {FUSE_OPENDIR, 0, 0, false},
    {FUSE_READDIR, sizeof(struct fuse_read_in), 0, false},
    {FUSE_READDIRPLUS, sizeof(struct fuse_read_in), 0, false},
    {FUSE_RELEASEDIR, sizeof(struct fuse_release_in), 0, false},
    {FUSE_FSYNCDIR, sizeof(struct fuse_fsync_in), 0, false},
    {FUSE_GETXATTR, sizeof(struct fuse_getxattr_in), 1, false},
    {FUSE_LISTXATTR, sizeof(struct fuse_getxattr_in), 0, false},
    {FUSE_SETXATTR, sizeof(struct fuse_setxattr_in), 1, false},
    {FUSE_REMOVEXATTR, 0, 1, false},
    {FUSE_IOCTL, sizeof(struct fuse_ioctl_in), 0, false},
    {FUSE_ACCESS, 0, 0, false},
    {FUSE_INTERRUPT, 0, 0, true},
    {FUSE_DESTROY, 0, 0, false},
};

#endif
