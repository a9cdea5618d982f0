/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "fuse/dispatch.h"

#include "base/log.h"
#include "base/util.h"
#include "fuse/session.h"
#include "fuse/wire.h"
#include "supervisor/supervisor.h"
#include "supervisor/journal.h"

_Static_assert(FUSE_UNIQUE_RESEND == JOURNAL_RESENT, "the same mark");

static void op_ok(struct request *req)
{
	reply_error(req, 0);
}

/* No reply is owed. An operation that was interrupted goes on to its end: it may already have had
 * effects. */
static void op_ignore(struct request *req)
{
	req->ops->release(req);
}

/* Searched by number: the index is the opcode. */
static const struct opcode opcodes[] = {
#define ROW(op, place, allocates, once, run)                                                       \
	[FUSE_##op] = {FUSE_##op, #op, PLACE_##place, allocates, once, run}
#define OP(op, place, run) ROW(op, place, false, false, run)
#define OP_ALLOCATES(op, place, run) ROW(op, place, true, false, run)
#define OP_ONCE(op, place, run) ROW(op, place, false, true, run)
    OP_ONCE(LOOKUP, META, op_lookup),
    OP(FORGET, META, op_forget), /* the last descriptor of an unlinked file frees its blocks */
    OP(BATCH_FORGET, META, op_batch_forget),
    OP(GETATTR, META, op_getattr),
    OP(STATX, META, op_statx),
    OP(SETATTR, META, op_setattr),
    OP(READLINK, META, op_readlink),
    OP(STATFS, META, op_statfs),
    OP_ONCE(SYMLINK, CREDENTIALS, op_symlink),
    OP_ONCE(MKNOD, CREDENTIALS, op_mknod),
    OP_ONCE(MKDIR, CREDENTIALS, op_mkdir),
    OP_ONCE(UNLINK, META, op_unlink),
    OP_ONCE(RMDIR, META, op_rmdir),
    OP_ONCE(RENAME, META, op_rename),
    OP_ONCE(RENAME2, META, op_rename2),
    OP_ONCE(LINK, META, op_link),
    OP_ONCE(OPEN, META, op_open),
    OP_ONCE(CREATE, CREDENTIALS, op_create),
    OP_ONCE(TMPFILE, CREDENTIALS, op_tmpfile),
    OP(RELEASE, META, op_release),
    OP(READ, HERE, op_read),
    OP_ALLOCATES(WRITE, DATA, op_write),
    OP(FLUSH, HERE, op_ok),
    OP(FSYNC, FLUSH, op_fsync),
    OP_ALLOCATES(FALLOCATE, FLUSH, op_fallocate),
    OP(LSEEK, META, op_lseek),
    OP_ALLOCATES(COPY_FILE_RANGE, FLUSH, op_copy_file_range),
    OP_ALLOCATES(COPY_FILE_RANGE_64, FLUSH, op_copy_file_range_64),
    OP_ONCE(OPENDIR, META, op_opendir),
    OP(READDIR, META, op_readdir),
    OP(READDIRPLUS, META, op_readdirplus),
    OP(RELEASEDIR, META, op_release),
    OP_ONCE(FSYNCDIR, FLUSH, op_fsyncdir), /* told of an error once */
    OP(GETXATTR, META, op_getxattr),
    OP(LISTXATTR, META, op_listxattr),
    OP_ONCE(SETXATTR, FLUSH, op_setxattr),
    OP_ONCE(REMOVEXATTR, FLUSH, op_removexattr),
    OP_ONCE(IOCTL, FLUSH, op_ioctl),
    OP(ACCESS, HERE, op_ok), /* default_permissions: the kernel has decided */
    OP(INTERRUPT, HERE, op_ignore),
    OP(DESTROY, HERE, op_ok),
#undef OP
#undef OP_ALLOCATES
#undef OP_ONCE
#undef ROW
};

const struct opcode *opcode_find(uint32_t number)
{
	if (number >= ARRAY_SIZE(opcodes) || !opcodes[number].run)
		return NULL;
	return &opcodes[number];
}

/* The reply releases the entry, and takes the request from the thread. */
static void run_once(struct request *req)
{
	struct journal *j = req->session->journal;
	struct once *o = &req->once;

	if (j && !o->entry)
		o->entry = journal_take(j, o->unique, req->op->number, o->resent);
	fs_thread_once(o);
	req->op->run(req);
}

/* On a thread that may block: it may have run a request of another client before. */
static void run_blocking(struct request *req)
{
	static const uid_t root = 0;

	fs_thread_allocator(req->session->fs, req->op->allocates ? req->in->uid : root);
	if (req->op->once)
		run_once(req);
	else
		req->op->run(req);
}

static void run_job(struct pool_job *job)
{
	struct request *req = container_of(job, struct request, job);

	req->loop = NULL;
	run_blocking(req);
}

static void to_pool(struct request *req)
{
	static const enum lane lanes[] = {[PLACE_DATA] = LANE_DATA,
					  [PLACE_FLUSH] = LANE_FLUSH,
					  [PLACE_META] = LANE_META,
					  [PLACE_CREDENTIALS] = LANE_META};

	req->job = (struct pool_job){
	    .run = run_job, .key = req->in->nodeid, .lane = lanes[req->op->place]};
	pool_submit(req->session->pool, &req->job);
}

static void count_resent(struct session *s)
{
	atomic_fetch_add_explicit(&s->resent, 1, memory_order_relaxed);
	if (s->supervision)
		atomic_fetch_add(&s->supervision->resent_sum, 1);
}

/*
 * What a dead worker has left of it belongs to it from now on, however long it waits for a thread.
 * The mark stays in the header: the kernel knows the request by it.
 */
static void once_received(struct request *req)
{
	struct journal *j = req->session->journal;
	bool resent = req->in->unique & FUSE_UNIQUE_RESEND;

	if (resent)
		count_resent(req->session);
	if (!req->op->once)
		return;
	req->once =
	    (struct once){.unique = req->in->unique & ~FUSE_UNIQUE_RESEND, .resent = resent};
	if (resent && j)
		once_found(&req->once, journal_find(j, req->once.unique));
}

static bool well_formed(const struct request *req)
{
	return req->len >= sizeof(*req->in) && req->in->len == req->len;
}

void fuse_dispatch(struct request *req)
{
	struct loop *loop = req->loop;

	if (!well_formed(req)) {
		if (req->len < sizeof(*req->in))
			req->ops->release(req); /* nothing to answer to */
		else
			reply_error(req, -EIO);
		return;
	}
	req->op = opcode_find(req->in->opcode);
	if (!req->op) {
		log_debug("opcode %u is not served", req->in->opcode);
		reply_error(req, -ENOSYS);
		return;
	}
	once_received(req);
	if (req->op->place == PLACE_HERE) {
		req->op->run(req);
	} else if (req->op->place != PLACE_CREDENTIALS && loop && loop_block_begin(loop)) {
		run_blocking(req);
		loop_block_end(loop);
	} else {
		to_pool(req);
	}
}
