/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "dispatch.h"

static void begin(void)
{
	begin_with(&engine_threads, "cache=writeback");
}

TestSuite(dispatch, .init = begin, .fini = end, .timeout = 300);

Test(dispatch, opcodes_that_are_not_served)
{
	static const uint32_t large[] = {4096, 65536, INT32_MAX, UINT32_MAX};

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

/* The last argument lacks a byte (a name: its NUL) or more: EINVAL, and nothing is done. */
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
	} bad[] = {{"", 1}, {".", 2}, {"..", 3}, {"a/b", 4}, {"/", 2}, {"abc", 3}};
	uint8_t args[256] = {0};

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
	struct fuse_in_header head = {.opcode = FUSE_GETATTR, .nodeid = FUSE_ROOT_ID};
	struct fuse_getattr_in in = {0};
	size_t whole = sizeof(head) + sizeof(in);
	const size_t wrong[] = {0, 1, sizeof(head), whole - 1, whole + 1, UINT32_MAX};
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
	} args = {.in = {.flags = O_RDWR, .mode = S_IFREG | 0600}};
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

static struct outcome write_sized(uint64_t id, uint64_t fh, uint64_t off, uint32_t size,
				  size_t have)
{
	uint8_t args[sizeof(struct fuse_write_in) + 64];
	struct fuse_write_in in = {.fh = fh, .offset = off, .size = size};

	memset(args, 'd', sizeof(args));
	memcpy(args, &in, sizeof(in));
	return send_args(FUSE_WRITE, id, args, sizeof(in) + have);
}

static struct outcome read_sized(uint32_t opcode, uint64_t id, uint64_t fh, uint64_t off,
				 uint32_t size)
{
	struct fuse_read_in in = {.fh = fh, .offset = off, .size = size};

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
	uint8_t args[sizeof(struct fuse_setxattr_in) + 64] = {0};
	size_t head = opcode == FUSE_SETXATTR ? sizeof(struct fuse_setxattr_in)
					      : sizeof(struct fuse_getxattr_in);

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
	} args = {.in = {.count = UINT32_MAX}};
	uint64_t id, fh;

	create("f", &id, &fh);
	args.one[0] = (struct fuse_forget_one){.nodeid = UINT64_MAX, .nlookup = UINT64_MAX};
	args.one[1] = (struct fuse_forget_one){.nodeid = 0, .nlookup = 1};
	for (size_t len = 0; len <= sizeof(args); len++)
		cr_assert_eq(send_args(FUSE_BATCH_FORGET, 0, &args, len).sent, 0);
	cr_assert_eq(write_sized(id, fh, 0, 1, 1).error, 0, "the file is still there");
}

static struct outcome ioctl_sized(uint32_t cmd, uint32_t in_size, uint32_t out_size, size_t have)
{
	size_t room = sizeof(struct fuse_ioctl_in) + 16384;
	uint8_t *args = calloc(1, room);
	struct fuse_ioctl_in in = {.cmd = cmd, .in_size = in_size, .out_size = out_size};
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
	static const uint32_t cmds[] = {CACHEFS_IOC_INFO, CACHEFS_IOC_REMOUNT};
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

/* ---- ids and handles that were never given ---- */

Test(dispatch, ids_and_handles_that_are_none)
{
	static const uint64_t none[] = {
	    0,		2,	    1023,	1024,		1u << 20,  1u << 24,
	    UINT32_MAX, 1ull << 32, 1ull << 63, UINT64_MAX - 1, UINT64_MAX};
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
