/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Requests as no kernel sends them, to a real fs over a directory of its own. Each request ends
 * where its heap block ends and is freed as soon as it is released, so AddressSanitizer sees a byte
 * read beyond the end, and any use after the reply.
 */
#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

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
	struct fs_config config = { .engine = engine,
				    .privileged = geteuid() == 0,
				    .kernel_path = KERNEL_PATH_NEVER,
				    .page_timeout = -1,
				    .invalidate = no_invalidate };
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
	session = (struct session){ .fd = -1, .pool = config.pool, .minor = CACHEFS_FUSE_MINOR,
				    .flags = FUSE_SETXATTR_EXT | FUSE_CREATE_SUPP_GROUP,
				    .max_write = MAX_WRITE, .options = &options,
				    .options_lock = PTHREAD_MUTEX_INITIALIZER };
	cr_assert_eq(fs_create(&config, &session.fs), 0);
	payload = aligned_alloc(4096, MAX_WRITE + FS_READ_SLACK);
	memset(payload, 0, MAX_WRITE + FS_READ_SLACK);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

static void end(void)
{
	pool_destroy(session.pool);
	fs_destroy(session.fs);
	options_free(&options);
	free(payload);
	cr_assert_eq(nftw(directory, remove_one, 32, FTW_DEPTH | FTW_PHYS), 0);
}

static void begin(void)
{
	begin_with(&engine_threads, "cache=writeback");
}

TestSuite(dispatch, .init = begin, .fini = end, .timeout = 120);

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

static const struct request_ops record_ops = { record_send, record_release };

/* TOTAL bytes of header and arguments arrive; the header says TOLD. */
static struct outcome send_raw(struct fuse_in_header head, const void *args, size_t total,
			       size_t told)
{
	struct call *c = calloc(1, sizeof(*c));
	uint8_t *in = malloc(total);
	struct outcome o = { 0 };
	sem_t over;

	sem_init(&over, 0, 0);
	head.len = (uint32_t)told;
	head.unique = 4711;
	memcpy(in, &head, MIN(total, sizeof(head)));
	if (total > sizeof(head))
		memcpy(in + sizeof(head), args, total - sizeof(head));
	c->req = (struct request){ .ops = &record_ops, .session = &session, .len = total,
				   .in = (void *)in, .payload = payload };
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
	struct fuse_in_header head = { .opcode = opcode, .nodeid = id };
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
	{ FUSE_LOOKUP, 0, 1, false },
	{ FUSE_FORGET, sizeof(struct fuse_forget_in), 0, true },
	{ FUSE_BATCH_FORGET, sizeof(struct fuse_batch_forget_in), 0, true },
	{ FUSE_GETATTR, sizeof(struct fuse_getattr_in), 0, false },
	{ FUSE_STATX, sizeof(struct fuse_statx_in), 0, false },
	{ FUSE_SETATTR, sizeof(struct fuse_setattr_in), 0, false },
	{ FUSE_READLINK, 0, 0, false },
	{ FUSE_STATFS, 0, 0, false },
	{ FUSE_SYMLINK, 0, 2, false },
	{ FUSE_MKNOD, sizeof(struct fuse_mknod_in), 1, false },
	{ FUSE_MKDIR, sizeof(struct fuse_mkdir_in), 1, false },
	{ FUSE_UNLINK, 0, 1, false },
	{ FUSE_RMDIR, 0, 1, false },
	{ FUSE_RENAME, sizeof(struct fuse_rename_in), 2, false },
	{ FUSE_RENAME2, sizeof(struct fuse_rename2_in), 2, false },
	{ FUSE_LINK, sizeof(struct fuse_link_in), 1, false },
	{ FUSE_OPEN, sizeof(struct fuse_open_in), 0, false },
	{ FUSE_CREATE, sizeof(struct fuse_create_in), 1, false },
	{ FUSE_TMPFILE, sizeof(struct fuse_create_in), 0, false },
	{ FUSE_RELEASE, sizeof(struct fuse_release_in), 0, false },
	{ FUSE_READ, sizeof(struct fuse_read_in), 0, false },
	{ FUSE_WRITE, sizeof(struct fuse_write_in), 0, false },
	{ FUSE_FLUSH, 0, 0, false },
	{ FUSE_FSYNC, sizeof(struct fuse_fsync_in), 0, false },
	{ FUSE_FALLOCATE, sizeof(struct fuse_fallocate_in), 0, false },
	{ FUSE_LSEEK, sizeof(struct fuse_lseek_in), 0, false },
	{ FUSE_COPY_FILE_RANGE, sizeof(struct fuse_copy_file_range_in), 0, false },
	{ FUSE_COPY_FILE_RANGE_64, sizeof(struct fuse_copy_file_range_in), 0, false },
	{ FUSE_OPENDIR, 0, 0, false },
	{ FUSE_READDIR, sizeof(struct fuse_read_in), 0, false },
	{ FUSE_READDIRPLUS, sizeof(struct fuse_read_in), 0, false },
	{ FUSE_RELEASEDIR, sizeof(struct fuse_release_in), 0, false },
	{ FUSE_FSYNCDIR, sizeof(struct fuse_fsync_in), 0, false },
	{ FUSE_GETXATTR, sizeof(struct fuse_getxattr_in), 1, false },
	{ FUSE_LISTXATTR, sizeof(struct fuse_getxattr_in), 0, false },
	{ FUSE_SETXATTR, sizeof(struct fuse_setxattr_in), 1, false },
	{ FUSE_REMOVEXATTR, 0, 1, false },
	{ FUSE_IOCTL, sizeof(struct fuse_ioctl_in), 0, false },
	{ FUSE_ACCESS, 0, 0, false },
	{ FUSE_INTERRUPT, 0, 0, true },
	{ FUSE_DESTROY, 0, 0, false },
};

Test(dispatch, opcodes_that_are_not_served)
{
	static const uint32_t large[] = { 4096, 65536, INT32_MAX, UINT32_MAX };

	for (uint32_t op = 0; op < 300 + ARRAY_SIZE(large); op++) {
		uint32_t opcode = op < 300 ? op : large[op - 300];
		struct outcome o;
		bool served = false;

		for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
			served |= rows[i].opcode == opcode;
		cr_assert_eq(opcode_find(opcode) != NULL, served, "opcode %u", opcode);
		if (served)
			continue;
		o = send_args(opcode, FUSE_ROOT_ID, "", 0);
		cr_assert(o.sent == 1 && o.error == -ENOSYS && o.size == 0, "opcode %u", opcode);
	}
}

/* The last of its arguments lacks one byte (a name: its NUL) or more: EINVAL, and nothing is done. */
Test(dispatch, truncated_at_every_length)
{
	uint8_t args[256];

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		const struct row *r = &rows[i];
		size_t whole = r->size + r->names * 2;

		memset(args, 0, sizeof(args));
		for (unsigned n = 0; n < r->names; n++)
			args[r->size + n * 2] = 'n';
		for (size_t len = 0; len < whole; len++) {
			struct outcome o = send_args(r->opcode, FUSE_ROOT_ID, args, len);

			cr_assert_eq(o.sent, !r->no_reply, "opcode %u, %zu bytes", r->opcode, len);
			cr_assert_eq(o.error, r->no_reply ? 0 : -EINVAL, "opcode %u, %zu bytes: %d",
				     r->opcode, len, o.error);
		}
	}
	cr_assert_eq(rmdir(directory), 0, "something was made in the directory");
	cr_assert_eq(mkdir(directory, 0700), 0);
}

Test(dispatch, names_that_are_none)
{
	static const struct {
		const char *name;
		size_t len;
	} bad[] = { { "", 1 }, { ".", 2 }, { "..", 3 }, { "a/b", 4 }, { "/", 2 }, { "abc", 3 } };
	uint8_t args[256] = { 0 };

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		const struct row *r = &rows[i];
		bool xattr = r->opcode == FUSE_GETXATTR || r->opcode == FUSE_SETXATTR ||
			     r->opcode == FUSE_REMOVEXATTR;

		for (size_t b = 0; r->names && !xattr && b < ARRAY_SIZE(bad); b++) {
			struct outcome o;

			memset(args, 0, sizeof(args));
			memcpy(args + r->size, bad[b].name, bad[b].len);
			o = send_args(r->opcode, FUSE_ROOT_ID, args, r->size + bad[b].len);
			cr_assert(o.sent == 1 && o.error == -EINVAL, "opcode %u: %s: %d", r->opcode,
				  bad[b].name, o.error);
		}
	}
}

Test(dispatch, header_says_another_length)
{
	struct fuse_in_header head = { .opcode = FUSE_GETATTR, .nodeid = FUSE_ROOT_ID };
	struct fuse_getattr_in in = { 0 };
	size_t whole = sizeof(head) + sizeof(in);
	const size_t wrong[] = { 0, 1, sizeof(head), whole - 1, whole + 1, UINT32_MAX };
	struct outcome o = send_raw(head, &in, whole, whole);

	cr_assert(o.sent == 1 && o.error == 0 && o.size == sizeof(struct fuse_attr_out));
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		o = send_raw(head, &in, whole, wrong[i]);
		cr_assert(o.sent == 1 && o.error == -EIO && o.size == 0, "%zu", wrong[i]);
	}
	for (size_t len = 0; len < sizeof(head); len++)
		cr_assert_eq(send_raw(head, NULL, len, len).sent, 0, "%zu: whom to answer?", len);
}

/* ---- sizes ---- */

/* Creates NAME in the root. */
static void create(const char *name, uint64_t *id, uint64_t *fh)
{
	struct {
		struct fuse_create_in in;
		char name[32];
	} args = { .in = { .flags = O_RDWR, .mode = S_IFREG | 0600 } };
	struct {
		struct fuse_entry_out entry;
		struct open_out_740 open;
	} out;
	struct outcome o;

	strcpy(args.name, name);
	o = send_args(FUSE_CREATE, FUSE_ROOT_ID, &args, sizeof(args.in) + strlen(name) + 1);
	cr_assert(o.error == 0 && o.size == sizeof(out), "%d", o.error);
	memcpy(&out, o.reply, sizeof(out));
	*id = out.entry.nodeid;
	*fh = out.open.fh;
}

static struct outcome write_sized(uint64_t id, uint64_t fh, uint64_t off, uint32_t size, size_t have)
{
	uint8_t args[sizeof(struct fuse_write_in) + 64];
	struct fuse_write_in in = { .fh = fh, .offset = off, .size = size };

	memset(args, 'd', sizeof(args));
	memcpy(args, &in, sizeof(in));
	return send_args(FUSE_WRITE, id, args, sizeof(in) + have);
}

static struct outcome read_sized(uint32_t opcode, uint64_t id, uint64_t fh, uint64_t off,
				 uint32_t size)
{
	struct fuse_read_in in = { .fh = fh, .offset = off, .size = size };

	return send_args(opcode, id, &in, sizeof(in));
}

Test(dispatch, sizes_of_reads_and_writes)
{
	uint64_t id, fh;
	struct outcome o;

	create("f", &id, &fh);
	o = write_sized(id, fh, 0, 64, 64);
	cr_assert(o.error == 0 && *(uint32_t *)(void *)o.reply == 64);
	cr_assert_eq(write_sized(id, fh, 0, 64, 63).error, -EINVAL);
	cr_assert_eq(write_sized(id, fh, 0, UINT32_MAX, 64).error, -EINVAL);
	cr_assert_eq(write_sized(id, fh, (uint64_t)INT64_MAX - 63, 64, 64).error, -EINVAL);
	cr_assert_eq(write_sized(id, fh, UINT64_MAX, 64, 64).error, -EINVAL);
	o = read_sized(FUSE_READ, id, fh, 0, MAX_WRITE);
	cr_assert(o.error == 0 && o.size == 64 && o.reply[0] == 'd' && o.reply[63] == 'd');
	o = read_sized(FUSE_READ, id, fh, 64, MAX_WRITE);
	cr_assert(o.error == 0 && o.size == 0, "the end of the file");
	cr_assert_eq(read_sized(FUSE_READ, id, fh, 0, MAX_WRITE + 1).error, -EINVAL);
	cr_assert_eq(read_sized(FUSE_READ, id, fh, 0, UINT32_MAX).error, -EINVAL);
	cr_assert_eq(read_sized(FUSE_READ, id, fh, UINT64_MAX, 1).error, -EINVAL);
	cr_assert_eq(read_sized(FUSE_READDIR, FUSE_ROOT_ID, 0, 0, MAX_WRITE + 1).error, -EINVAL);
	cr_assert_eq(read_sized(FUSE_READDIRPLUS, FUSE_ROOT_ID, 0, 0, UINT32_MAX).error, -EINVAL);
}

static struct outcome xattr(uint32_t opcode, uint64_t id, uint32_t size, size_t value)
{
	uint8_t args[sizeof(struct fuse_setxattr_in) + 64] = { 0 };
	size_t head = opcode == FUSE_SETXATTR ? sizeof(struct fuse_setxattr_in) :
						sizeof(struct fuse_getxattr_in);

	memcpy(args, &size, sizeof(size)); /* the first field of both */
	if (opcode == FUSE_LISTXATTR)
		return send_args(opcode, id, args, head);
	strcpy((char *)args + head, "user.t");
	return send_args(opcode, id, args, head + sizeof("user.t") + value);
}

Test(dispatch, sizes_of_attributes)
{
	uint64_t id, fh;

	create("f", &id, &fh);
	cr_assert_eq(xattr(FUSE_SETXATTR, id, 5, 4).error, -EINVAL);
	cr_assert_eq(xattr(FUSE_SETXATTR, id, UINT32_MAX, 8).error, -EINVAL);
	cr_assert_eq(xattr(FUSE_GETXATTR, id, 65537, 0).error, -EINVAL);
	cr_assert_eq(xattr(FUSE_GETXATTR, id, UINT32_MAX, 0).error, -EINVAL);
	cr_assert_eq(xattr(FUSE_LISTXATTR, id, 65537, 0).error, -EINVAL);
	cr_assert_eq(xattr(FUSE_GETXATTR, id, 65536, 0).error, -ENODATA);
	cr_assert_eq(xattr(FUSE_LISTXATTR, id, 65536, 0).error, 0);
}

/* More entries than there are bytes for them. */
Test(dispatch, forgets_beyond_the_end)
{
	struct {
		struct fuse_batch_forget_in in;
		struct fuse_forget_one one[2];
	} args = { .in = { .count = UINT32_MAX } };
	uint64_t id, fh;

	create("f", &id, &fh);
	args.one[0] = (struct fuse_forget_one){ .nodeid = UINT64_MAX, .nlookup = UINT64_MAX };
	args.one[1] = (struct fuse_forget_one){ .nodeid = 0, .nlookup = 1 };
	for (size_t len = 0; len <= sizeof(args); len++)
		cr_assert_eq(send_args(FUSE_BATCH_FORGET, 0, &args, len).sent, 0);
	cr_assert_eq(write_sized(id, fh, 0, 1, 1).error, 0, "the file is still there");
}

static struct outcome ioctl_sized(uint32_t cmd, uint32_t in_size, uint32_t out_size, size_t have)
{
	size_t room = sizeof(struct fuse_ioctl_in) + 16384;
	uint8_t *args = calloc(1, room);
	struct fuse_ioctl_in in = { .cmd = cmd, .in_size = in_size, .out_size = out_size };
	struct outcome o;

	memcpy(args, &in, sizeof(in));
	memset(args + sizeof(in), 'x', room - sizeof(in)); /* a string that never ends */
	o = send_args(FUSE_IOCTL, FUSE_ROOT_ID, args, sizeof(in) + have);
	free(args);
	return o;
}

static int ioctl_result(const struct outcome *o)
{
	const struct fuse_ioctl_out *out = (const void *)o->reply;

	return o->error ? o->error : out->result;
}

Test(dispatch, sizes_of_ioctls)
{
	static const uint32_t cmds[] = { CACHEFS_IOC_INFO, CACHEFS_IOC_REMOUNT };
	struct outcome o;

	for (size_t i = 0; i < ARRAY_SIZE(cmds); i++) {
		uint32_t size = _IOC_SIZE(cmds[i]);

		cr_assert_eq(ioctl_sized(cmds[i], size, 16385, size).error, -EINVAL);
		cr_assert_eq(ioctl_sized(cmds[i], 16385, size, 16384).error, -EINVAL);
		cr_assert_eq(ioctl_sized(cmds[i], UINT32_MAX, UINT32_MAX, 0).error, -EINVAL);
		o = ioctl_sized(cmds[i], 0, size - 1, 0);
		cr_assert_eq(ioctl_result(&o), -EINVAL);
	}
	o = ioctl_sized(CACHEFS_IOC_REMOUNT, _IOC_SIZE(CACHEFS_IOC_REMOUNT),
			_IOC_SIZE(CACHEFS_IOC_REMOUNT), _IOC_SIZE(CACHEFS_IOC_REMOUNT) - 1);
	cr_assert_eq(ioctl_result(&o), -EINVAL, "told, but not there");
	o = ioctl_sized(CACHEFS_IOC_REMOUNT, _IOC_SIZE(CACHEFS_IOC_REMOUNT),
			_IOC_SIZE(CACHEFS_IOC_REMOUNT), _IOC_SIZE(CACHEFS_IOC_REMOUNT));
	cr_assert_eq(ioctl_result(&o), -EINVAL, "options without a NUL");
	o = ioctl_sized(CACHEFS_IOC_INFO, 0, _IOC_SIZE(CACHEFS_IOC_INFO), 0);
	cr_assert_eq(ioctl_result(&o), 0);
	cr_assert_eq(o.size, sizeof(struct fuse_ioctl_out) + sizeof(struct cachefs_info));
	cr_assert_eq(ioctl_sized(0xdeadbeef, 0, 0, 0).error, -ENOTTY);
}

/* ---- ids and handles that were never given, and bytes by chance ---- */

Test(dispatch, ids_and_handles_that_are_none)
{
	static const uint64_t none[] = { 0, 2, 1023, 1024, 1u << 20, 1u << 24, UINT32_MAX,
					 1ull << 32, 1ull << 63, UINT64_MAX - 1, UINT64_MAX };
	uint8_t args[256];

	for (size_t n = 0; n < ARRAY_SIZE(none); n++) {
		for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
			const struct row *r = &rows[i];
			size_t len = r->size + r->names * 2;
			struct outcome o;

			memset(args, 0, sizeof(args));
			for (unsigned k = 0; k < r->names; k++)
				args[r->size + k * 2] = 'n';
			if (r->size >= 16 && r->opcode != FUSE_SETATTR)
				memcpy(args, &none[n], 8); /* where most have their handle */
			o = send_args(r->opcode, none[n], args, len);
			cr_assert_eq(o.sent, !r->no_reply);
		}
	}
}

static uint64_t last_id, last_fh;

static uint64_t word(unsigned *seed)
{
	uint64_t r = (uint64_t)rand_r(seed) << 33 ^ (uint64_t)rand_r(seed) << 11 ^
		     (uint64_t)rand_r(seed);

	switch (rand_r(seed) % 8) {
	case 0:
		return 0;
	case 1:
	case 2:
		return last_fh;
	case 3:
		return last_id;
	case 4:
		return UINT64_MAX >> r % 64;
	case 5:
	case 6:
		return r % 65536;
	default:
		return r;
	}
}

static void by_chance(unsigned *seed)
{
	const struct row *r = &rows[(size_t)rand_r(seed) % ARRAY_SIZE(rows)];
	uint64_t args[40], id = rand_r(seed) % 3 ? FUSE_ROOT_ID : word(seed);
	size_t len = r->size;
	struct outcome o;

	if (rand_r(seed) % 3 == 0 && last_id)
		id = last_id;
	for (size_t i = 0; i < ARRAY_SIZE(args); i++)
		args[i] = word(seed);
	for (unsigned n = 0; n < r->names; n++, len += 2)
		memcpy((char *)args + len, (char[]){ (char)('a' + rand_r(seed) % 6), 0 }, 2);
	len += (size_t)rand_r(seed) % 3 ? 0 : (size_t)rand_r(seed) % 100;
	o = send_args(r->opcode, id, args, len);
	cr_assert_eq(o.sent, !r->no_reply, "opcode %u", r->opcode);
	if (o.error || o.size < sizeof(uint64_t))
		return;
	if (r->opcode == FUSE_OPEN || r->opcode == FUSE_OPENDIR)
		memcpy(&last_fh, o.reply, sizeof(last_fh));
	if (r->opcode == FUSE_LOOKUP || r->opcode == FUSE_CREATE)
		memcpy(&last_id, o.reply, sizeof(last_id));
	if (r->opcode == FUSE_CREATE)
		memcpy(&last_fh, o.reply + sizeof(struct fuse_entry_out), sizeof(last_fh));
}

static struct storm {
	const struct engine *engine;
	const char mode[32];
} storms[] = { { &engine_threads, "cache=writeback" }, { &engine_threads, "cache=directsync" },
	       { &engine_threads, "cache=unsafe" }, { &engine_null, "cache=writethrough" } };

ParameterizedTestParameters(dispatch_chance, each_is_answered_once)
{
	/* the engines by address: each test is a new process of this program */
	static unsigned which[] = { 0, 1, 2, 3 };

	return cr_make_param_array(unsigned, which, ARRAY_SIZE(which));
}

ParameterizedTest(unsigned *which, dispatch_chance, each_is_answered_once, .timeout = 300)
{
	struct rlimit small = { 1 << 20, 1 << 20 }; /* no request may fill the disk */
	unsigned seed = 1 + *which;

	begin_with(storms[*which].engine, storms[*which].mode);
	signal(SIGXFSZ, SIG_IGN); /* not before: the fs reserves address space in a file */
	cr_assert_eq(setrlimit(RLIMIT_FSIZE, &small), 0);
	for (int i = 0; i < 10000; i++)
		by_chance(&seed);
	cr_assert_neq(last_id, 0, "nothing was ever created");
	end();
}
