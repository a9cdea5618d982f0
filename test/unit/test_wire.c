/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Each block of arguments ends where its heap block ends: AddressSanitizer sees a byte too many. */
#include <criterion/criterion.h>
#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/sysmacros.h>

#include "base/util.h"
#include "fuse/ops.h"
#include "fuse/session.h"
#include "fuse/wire.h"

static struct session session;

/* A request with LEN bytes of arguments, and what was sent as its reply. */
struct fake {
	struct request req;
	int sent, released, error;
	size_t size;
	uint8_t reply[256];
};

static int fake_send(struct request *req, const struct iovec *iov, int n)
{
	struct fake *f = container_of(req, struct fake, req);
	const struct fuse_out_header *out = iov[0].iov_base;

	f->sent++;
	f->error = out->error;
	f->size = n > 1 ? iov[1].iov_len : 0;
	cr_assert_eq(out->len, sizeof(*out) + f->size);
	cr_assert_eq(out->unique, req->in->unique);
	if (f->size)
		memcpy(f->reply, iov[1].iov_base, f->size);
	return f->error == -EXDEV ? -ENOENT : 0; /* a client that is gone */
}

static void fake_release(struct request *req)
{
	container_of(req, struct fake, req)->released++;
}

static const struct request_ops fake_ops = {fake_send, fake_release};

static struct fake *fake(const void *args, size_t len)
{
	struct fake *f = calloc(1, sizeof(*f));

	f->req.ops = &fake_ops;
	f->req.session = &session;
	f->req.len = sizeof(*f->req.in) + len;
	f->req.in = malloc(f->req.len);
	*f->req.in = (struct fuse_in_header){
	    .len = (uint32_t)f->req.len, .unique = 77, .uid = 1, .gid = 2, .pid = 3};
	memcpy(f->req.in + 1, args, len);
	return f;
}

static void fake_free(struct fake *f)
{
	free(f->req.in);
	free(f);
}

Test(wire, take_to_the_last_byte)
{
	struct fake *f = fake("12345678", 8);
	struct wire_reader r = wire_args(&f->req);
	const uint8_t *args = (const uint8_t *)(f->req.in + 1);

	cr_assert_eq((const uint8_t *)wire_take(&r, 5), args);
	cr_assert_null(wire_take(&r, 4));
	cr_assert_eq((const uint8_t *)wire_take(&r, 3), args + 5, "nothing was taken in vain");
	cr_assert_not_null(wire_take(&r, 0));
	cr_assert_null(wire_take(&r, 1));
	cr_assert_null(wire_take(&r, SIZE_MAX));
	fake_free(f);
}

Test(wire, string_to_the_last_byte)
{
	struct fake *f = fake("abc\0de", 6); /* the second one has no NUL */
	struct wire_reader r = wire_args(&f->req);

	cr_assert_str_eq(wire_string(&r, 255), "abc");
	cr_assert_null(wire_string(&r, 255));
	cr_assert_not_null(wire_take(&r, 2), "what is no string is still there");
	cr_assert_null(wire_string(&r, 255), "nothing is left");
	fake_free(f);
	f = fake("", 0);
	r = wire_args(&f->req);
	cr_assert_null(wire_string(&r, 255));
	cr_assert_null(wire_name(&r));
	fake_free(f);
}

Test(wire, string_of_the_greatest_length)
{
	struct fake *f = fake("abcd\0", 6);
	struct wire_reader r = wire_args(&f->req);

	cr_assert_null(wire_string(&r, 3));
	cr_assert_str_eq(wire_string(&r, 4), "abcd");
	cr_assert_str_eq(wire_string(&r, 0), "");
	fake_free(f);
}

Test(wire, names)
{
	static const struct {
		const char *bytes;
		size_t len;
		bool good;
	} rows[] = {
	    {"a", 2, true},	{"...", 4, true},      {".a", 3, true},	  {"..a", 4, true},
	    {"a b\n", 5, true}, {"\xff\xfe", 3, true}, {"", 1, false},	  {".", 2, false},
	    {"..", 3, false},	{"/", 2, false},       {"a/b", 4, false}, {"a/", 3, false},
	    {"../a", 5, false}, {"a", 1, false},       {"abc", 3, false}, {"", 0, false},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct fake *f = fake(rows[i].bytes, rows[i].len);
		struct wire_reader r = wire_args(&f->req);
		const char *name = wire_name(&r);

		cr_assert_eq(name != NULL, rows[i].good, "row %zu: %s", i, rows[i].bytes);
		if (name)
			cr_assert_str_eq(name, rows[i].bytes);
		fake_free(f);
	}
}

/* Too long a name is passed on: the backing filesystem says ENAMETOOLONG. */
Test(wire, long_names)
{
	char *name = malloc(PATH_MAX + 2);

	for (size_t len = PATH_MAX - 1; len <= PATH_MAX + 1; len++) {
		struct fake *f;
		struct wire_reader r;

		memset(name, 'n', len);
		name[len] = 0;
		f = fake(name, len + 1);
		r = wire_args(&f->req);
		cr_assert_eq(wire_name(&r) != NULL, len <= PATH_MAX, "%zu", len);
		fake_free(f);
	}
	free(name);
}

/* ---- who creates something ---- */

struct extension {
	uint32_t size, type, nr, groups[3];
};

/* A name in front of extensions of LEN bytes; TOLD: what the header says their length is. */
static struct fake *creation(const char *name, const void *ext, size_t len, uint16_t told)
{
	size_t namelen = strlen(name) + 1;
	uint8_t args[256];
	struct fake *f;

	memcpy(args, name, namelen);
	if (len)
		memcpy(args + namelen, ext, len);
	f = fake(args, namelen + len);
#if FUSE_KERNEL_MINOR_VERSION >= 38
	f->req.in->total_extlen = told / 8;
#else
	f->req.in->padding = told / 8;
#endif
	return f;
}

static bool caller_of(struct fake *f, struct fs_caller *c, bool name_too)
{
	struct wire_reader r = wire_args(&f->req);
	bool good = wire_caller(&f->req, &r, 022, c);

	if (good && name_too)
		cr_assert_not_null(wire_name(&r));
	if (good && name_too)
		cr_assert(r.pos == r.end, "the extensions are cut off");
	fake_free(f);
	return good;
}

Test(wire, caller)
{
	/* at every alignment: a name of any length stands in front of it */
	static const char *const names[] = {"a", "ab", "abc", "abcd", "abcde"};
	struct extension e = {.size = 24, .type = FUSE_EXT_GROUPS, .nr = 1, .groups = {42}};
	struct fs_caller c;

	session.flags = 0;
	cr_assert(caller_of(creation("a", NULL, 0, 0), &c, true));
	cr_assert(c.uid == 1 && c.gid == 2 && c.pid == 3 && c.umask == 022);
	cr_assert_not(c.group_known);
	session.flags = FUSE_CREATE_SUPP_GROUP;
	cr_assert(caller_of(creation("a", NULL, 0, 0), &c, true));
	cr_assert(c.group_known && c.group == 2, "no extension: no group matters");
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		cr_assert(caller_of(creation(names[i], &e, sizeof(e), sizeof(e)), &c, true));
		cr_assert_eq(c.group, 42, "%s", names[i]);
	}
	e.type = 99; /* some newer kernel's */
	cr_assert(caller_of(creation("a", &e, sizeof(e), sizeof(e)), &c, true));
	cr_assert_eq(c.group, 2);
	e = (struct extension){.size = 24, .type = FUSE_EXT_GROUPS, .groups = {42}};
	cr_assert(caller_of(creation("a", &e, sizeof(e), sizeof(e)), &c, true));
	cr_assert_eq(c.group, 2, "an empty list");
}

Test(wire, malformed_extensions)
{
	static const uint32_t sizes[] = {0, 1, 7, 25, 32, 4096, UINT32_MAX, UINT32_MAX - 7};
	struct extension e = {.size = 24, .type = FUSE_EXT_GROUPS, .nr = 1};
	struct fs_caller c;

	session.flags = FUSE_CREATE_SUPP_GROUP;
	cr_assert_not(caller_of(creation("a", &e, sizeof(e), 32), &c, false), "more than is there");
	cr_assert_not(caller_of(creation("a", &e, sizeof(e), 65528), &c, false));
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		e.size = sizes[i];
		cr_assert_not(caller_of(creation("a", &e, sizeof(e), sizeof(e)), &c, false),
			      "size %u", sizes[i]);
	}
	e = (struct extension){.size = 8, .type = FUSE_EXT_GROUPS};
	cr_assert(caller_of(creation("a", &e, 8, 8), &c, false), "no list at all");
	cr_assert_eq(c.group, 2);
}

/* ---- replies ---- */

Test(wire, replies)
{
	struct fake *f = fake("", 0);
	uint32_t size;

	reply_error(&f->req, -EPERM);
	cr_assert(f->sent == 1 && f->released == 1 && f->error == -EPERM && f->size == 0);
	reply_data(&f->req, "abc", 3);
	cr_assert(f->sent == 2 && f->released == 2 && f->error == 0 && f->size == 3);
	cr_assert_arr_eq(f->reply, "abc", 3);
	cr_assert_eq(reply_data_checked(&f->req, "abc", 3), 0);
	reply_value(&f->req, -ENODATA, NULL, false);
	cr_assert(f->error == -ENODATA && f->size == 0);
	reply_value(&f->req, 2, "xy", false);
	cr_assert(f->error == 0 && f->size == 2);
	reply_value(&f->req, 4711, NULL, true);
	memcpy(&size, f->reply, sizeof(size));
	cr_assert(f->size == sizeof(struct fuse_getxattr_out) && size == 4711);
	cr_assert_eq(f->sent, 6);
	cr_assert_eq(f->released, 6);
	fake_free(f);
}

Test(wire, timeouts)
{
	static const struct {
		double seconds;
		uint64_t sec;
		uint32_t nsec;
	} rows[] = {{0, 0, 0},
		    {1, 1, 0},
		    {0.5, 0, 500000000},
		    {2.25, 2, 250000000},
		    {1073741824.0, 1073741824, 0}};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		uint64_t sec;
		uint32_t nsec;

		wire_timeout(rows[i].seconds, &sec, &nsec);
		cr_assert(sec == rows[i].sec && nsec == rows[i].nsec, "%g", rows[i].seconds);
	}
}

Test(wire, attributes)
{
	struct statx st = {.stx_ino = 1ull << 40,
			   .stx_size = 1ull << 41,
			   .stx_blocks = 3,
			   .stx_mode = S_IFBLK | 04755,
			   .stx_nlink = 4,
			   .stx_uid = 5,
			   .stx_gid = 6,
			   .stx_blksize = 4096,
			   .stx_rdev_major = 0xabc,
			   .stx_rdev_minor = 0x12345};
	struct fuse_entry_out entry;
	struct fs_entry e = {.id = 9, .st = st};
	struct fuse_attr a;

	st.stx_mtime = (struct statx_timestamp){.tv_sec = -1, .tv_nsec = 999999999};
	wire_attr(&a, &st);
	cr_assert(a.ino == 1ull << 40 && a.size == 1ull << 41 && a.blocks == 3 && a.nlink == 4);
	cr_assert(a.mode == (S_IFBLK | 04755) && a.uid == 5 && a.gid == 6 && a.blksize == 4096);
	cr_assert_eq((int64_t)a.mtime, -1);
	cr_assert_eq(a.mtimensec, 999999999);
	/* new_encode_dev() of the kernel */
	cr_assert_eq(a.rdev, (0x12345u & 0xff) | 0xabcu << 8 | (0x12345u & ~0xffu) << 12);
	session.entry_timeout = 1.5;
	session.attr_timeout = 0.25;
	wire_entry(&session, &entry, &e);
	cr_assert(entry.nodeid == 9 && entry.entry_valid == 1 && entry.attr_valid == 0);
	cr_assert(entry.entry_valid_nsec == 500000000 && entry.attr_valid_nsec == 250000000);
}
