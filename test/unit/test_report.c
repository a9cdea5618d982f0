/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The hidden directory and its reports, as the kernel asks for them, and as it never would. */
#include "dispatch.h"

#define DIR_ID (1ull << 32)
#define STATUS_ID (2ull << 32)
#define METRICS_ID (3ull << 32)

static void begin(void)
{
	begin_with(&engine_threads, "cache=unsafe");
}

TestSuite(report, .init = begin, .fini = end, .timeout = 300);

static struct fuse_entry_out lookup(uint64_t parent, const char *name)
{
	struct outcome o = send_args(FUSE_LOOKUP, parent, name, strlen(name) + 1);
	struct fuse_entry_out e;

	cr_assert_eq(o.error, 0, "%s: %d", name, o.error);
	cr_assert_eq(o.size, sizeof(e));
	memcpy(&e, o.reply, sizeof(e));
	return e;
}

static uint64_t open_fh(uint64_t id, uint32_t opcode)
{
	struct fuse_open_in in = {.flags = O_RDONLY};
	struct outcome o = send_args(opcode, id, &in, sizeof(in));
	struct fuse_open_out out;

	cr_assert_eq(o.error, 0, "%d", o.error);
	memcpy(&out, o.reply, sizeof(out));
	if (opcode == FUSE_OPEN)
		cr_assert(out.open_flags & FOPEN_DIRECT_IO);
	return out.fh;
}

static struct outcome read_at(uint64_t id, uint64_t fh, uint64_t off, uint32_t size)
{
	struct fuse_read_in in = {.fh = fh, .offset = off, .size = size};

	return send_args(FUSE_READ, id, &in, sizeof(in));
}

static void release(uint64_t id, uint64_t fh)
{
	struct fuse_release_in in = {.fh = fh};

	cr_assert_eq(send_args(FUSE_RELEASE, id, &in, sizeof(in)).error, 0);
}

static uint64_t create_fh(const char *name, uint32_t flags, uint64_t *id)
{
	struct {
		struct fuse_create_in in;
		char name[32];
	} create = {.in = {.flags = flags, .mode = 0600}};
	struct fuse_entry_out e;
	struct outcome o;
	uint64_t fh;

	snprintf(create.name, sizeof(create.name), "%s", name);
	o = send_args(FUSE_CREATE, FUSE_ROOT_ID, &create, sizeof(create.in) + strlen(name) + 1);
	cr_assert_eq(o.error, 0, "%d", o.error);
	memcpy(&e, o.reply, sizeof(e));
	memcpy(&fh, o.reply + sizeof(e), sizeof(fh));
	*id = e.nodeid;
	return fh;
}

Test(report, names)
{
	struct fuse_entry_out e = lookup(FUSE_ROOT_ID, ".cachefs");

	cr_assert_eq(e.nodeid, DIR_ID);
	cr_assert_eq(e.attr.mode, S_IFDIR | 0500);
	cr_assert_eq(e.attr.uid, geteuid());
	cr_assert(!e.entry_valid && !e.entry_valid_nsec && !e.attr_valid && !e.attr_valid_nsec);
	e = lookup(DIR_ID, "status.json");
	cr_assert_eq(e.nodeid, STATUS_ID);
	cr_assert_eq(e.attr.mode, S_IFREG | 0400);
	cr_assert(!e.entry_valid && !e.attr_valid);
	cr_assert_eq(lookup(DIR_ID, "metrics").nodeid, METRICS_ID);
	cr_assert_eq(send_args(FUSE_LOOKUP, DIR_ID, "other", 6).error, -ENOENT);
	cr_assert_eq(send_args(FUSE_LOOKUP, DIR_ID, ".cachefs", 9).error, -ENOENT);
	cr_assert_eq(send_args(FUSE_LOOKUP, STATUS_ID, "x", 2).error, -ENOTDIR);
}

/* A backing entry of that name, as that of crash markers, is neither seen nor reached. */
Test(report, hides_what_the_backing_has)
{
	char path[4200];

	snprintf(path, sizeof(path), "%s/.cachefs", directory);
	cr_assert(mkdir(path, 0777) == 0 || errno == EEXIST);
	snprintf(path, sizeof(path), "%s/.cachefs/inside", directory);
	cr_assert_eq(mkdir(path, 0777), 0);
	cr_assert_eq(lookup(FUSE_ROOT_ID, ".cachefs").attr.mode, S_IFDIR | 0500);
	cr_assert_eq(send_args(FUSE_LOOKUP, DIR_ID, "inside", 7).error, -ENOENT);
}

/* Ids that look like these and are none. */
Test(report, other_ids_are_stale)
{
	static const uint64_t ids[] = {4ull << 32, 5ull << 32, UINT64_MAX << 32, 1ull << 63};
	struct fuse_getattr_in in = {0};

	for (size_t i = 0; i < ARRAY_SIZE(ids); i++) {
		cr_assert_eq(send_args(FUSE_GETATTR, ids[i], &in, sizeof(in)).error, -ESTALE);
		cr_assert_eq(send_args(FUSE_LOOKUP, ids[i], "x", 2).error, -ESTALE);
		cr_assert_eq(send_args(FUSE_MKDIR, ids[i], "12345678x", 10).error, -ESTALE);
	}
}

Test(report, reading_at_any_offset)
{
	uint64_t fh = open_fh(STATUS_ID, FUSE_OPEN);
	struct outcome o = read_at(STATUS_ID, fh, 0, 4096);
	size_t len = o.size;

	cr_assert_gt(len, 100);
	cr_assert_eq(o.reply[0], '{');
	cr_assert_eq(read_at(STATUS_ID, fh, len - 1, 4096).reply[0], '\n');
	cr_assert_eq(read_at(STATUS_ID, fh, len - 1, 4096).size, 1);
	cr_assert_eq(read_at(STATUS_ID, fh, 5, 7).size, 7);
	cr_assert_eq(read_at(STATUS_ID, fh, len, 4096).size, 0);
	cr_assert_eq(read_at(STATUS_ID, fh, INT64_MAX - 4096, 4096).size, 0);
	cr_assert_eq(read_at(STATUS_ID, fh, INT64_MAX - 4096, 4096).error, 0);
	release(STATUS_ID, fh);
	cr_assert_eq(read_at(STATUS_ID, fh, 0, 4096).error, -EBADF, "released");
}

/* What one open reads stays as it was; another one sees what has happened since. */
Test(report, a_snapshot_of_its_own)
{
	uint64_t before = open_fh(STATUS_ID, FUSE_OPEN), fh, after, id;
	size_t len = read_at(STATUS_ID, before, 0, MAX_WRITE).size;
	struct fuse_getattr_in getattr = {.getattr_flags = FUSE_GETATTR_FH, .fh = before};
	struct fuse_attr_out attr;
	struct outcome o;

	fh = create_fh("f", O_RDWR, &id);
	after = open_fh(STATUS_ID, FUSE_OPEN);
	cr_assert_eq(read_at(STATUS_ID, before, 0, MAX_WRITE).size, len);
	cr_assert_gt(read_at(STATUS_ID, after, 0, MAX_WRITE).size, len);
	o = send_args(FUSE_GETATTR, STATUS_ID, &getattr, sizeof(getattr));
	memcpy(&attr, o.reply, sizeof(attr));
	cr_assert_eq(attr.attr.size, len, "of the handle");
	getattr.getattr_flags = 0;
	o = send_args(FUSE_GETATTR, STATUS_ID, &getattr, sizeof(getattr));
	memcpy(&attr, o.reply, sizeof(attr));
	cr_assert_gt(attr.attr.size, len, "of the last one");
	release(STATUS_ID, before);
	release(STATUS_ID, after);
	release(FUSE_ROOT_ID, fh);
}

/* One file, as the ioctl has it: without the open that asks. */
Test(report, of_one_file)
{
	static struct cachefs_status st;
	uint64_t id, asking = create_fh("f", O_RDONLY, &id), other, write_only, dir;
	struct fuse_open_in in = {.flags = O_RDWR | O_DSYNC};
	struct fuse_open_out out;
	struct outcome o;

	cr_assert_eq(fs_file_status(session.fs, asking, &st), 0);
	cr_assert_eq(st.opens, 0);
	cr_assert_eq(st.kernel_path, CACHEFS_KERNEL_PATH_CLOSED);
	cr_assert_eq(st.size, 0);
	cr_assert_eq(st.deleted, 0);
	cr_assert_eq(st.checkpoint_age_s, -1);
	o = send_args(FUSE_OPEN, id, &in, sizeof(in));
	memcpy(&out, o.reply, sizeof(out));
	other = out.fh;
	cr_assert_eq(fs_file_status(session.fs, asking, &st), 0);
	cr_assert(st.opens == 1 && st.writers == 1 && st.clients_total == 1 &&
		  st.clients_shown == 1);
	cr_assert_eq(st.clients[0].flags & (O_ACCMODE | O_DSYNC), O_RDWR | O_DSYNC);
	cr_assert(st.opens_total == 2 && st.opens_sync == 1 && st.opens_direct == 0);
	cr_assert_eq(st.kernel_path, CACHEFS_KERNEL_PATH_NEVER);
	cr_assert_eq(st.switches, CACHEFS_WRITEBACK | CACHEFS_NO_FLUSH);
	cr_assert_eq(fs_file_status(session.fs, other, &st), 0);
	cr_assert_eq(st.writers, 0, "the other way round");
	write_only = create_fh("w", O_WRONLY, &id);
	cr_assert_eq(fs_file_status(session.fs, write_only, &st), -EBADF);
	dir = open_fh(FUSE_ROOT_ID, FUSE_OPENDIR);
	cr_assert_eq(fs_file_status(session.fs, dir, &st), -ENOTTY);
	cr_assert_eq(fs_file_status(session.fs, 4711, &st), -ENOTTY);
	release(FUSE_ROOT_ID, asking);
	release(FUSE_ROOT_ID, other);
	release(FUSE_ROOT_ID, write_only);
	release(FUSE_ROOT_ID, dir);
}

Test(report, for_reading_only)
{
	static const uint32_t flags[] = {O_WRONLY, O_RDWR, O_RDONLY | O_TRUNC, O_RDWR | O_APPEND};

	for (size_t i = 0; i < ARRAY_SIZE(flags); i++) {
		struct fuse_open_in in = {.flags = flags[i]};

		cr_assert_eq(send_args(FUSE_OPEN, STATUS_ID, &in, sizeof(in)).error, -EACCES);
		cr_assert_eq(send_args(FUSE_OPEN, DIR_ID, &in, sizeof(in)).error, -EISDIR);
	}
}

/* What each opcode says to a directory and a file of ours, open or not. */
Test(report, every_opcode)
{
	static const struct {
		uint32_t opcode;
		int directory, file;
	} wanted[] = {
	    {FUSE_SETATTR, -EPERM, -EPERM},
	    {FUSE_READLINK, -EINVAL, -EINVAL},
	    {FUSE_STATFS, 0, 0},
	    {FUSE_SYMLINK, -EPERM, -EPERM},
	    {FUSE_MKNOD, -EPERM, -EPERM},
	    {FUSE_MKDIR, -EPERM, -EPERM},
	    {FUSE_UNLINK, -EPERM, -EPERM},
	    {FUSE_RMDIR, -EPERM, -EPERM},
	    {FUSE_RENAME, -EPERM, -EPERM},
	    {FUSE_RENAME2, -EPERM, -EPERM},
	    {FUSE_CREATE, -EPERM, -EPERM},
	    {FUSE_TMPFILE, -EPERM, -EPERM},
	    {FUSE_LISTXATTR, 0, 0},
	    {FUSE_REMOVEXATTR, -EPERM, -EPERM},
	    {FUSE_GETXATTR, -ENODATA, -ENODATA},
	    {FUSE_IOCTL, -ENOTTY, -ENOTTY},
	    {FUSE_FSYNC, 0, 0},
	    {FUSE_FSYNCDIR, 0, 0},
	    {FUSE_WRITE, -EBADF, -EBADF},
	    {FUSE_FALLOCATE, -EBADF, -EBADF},
	};
	uint64_t dir = open_fh(DIR_ID, FUSE_OPENDIR), file = open_fh(METRICS_ID, FUSE_OPEN);

	for (size_t i = 0; i < ARRAY_SIZE(wanted); i++) {
		for (int of_file = 0; of_file < 2; of_file++) {
			uint64_t id = of_file ? METRICS_ID : DIR_ID, fh = of_file ? file : dir;
			uint8_t args[256] = {0};
			struct outcome o;
			size_t len = 0;

			for (size_t r = 0; r < ARRAY_SIZE(rows); r++) {
				if (rows[r].opcode != wanted[i].opcode)
					continue;
				/* handles stand first, in those that have one and matter here */
				if (rows[r].size >= 8 && !rows[r].names)
					memcpy(args, &fh, sizeof(fh));
				len = rows[r].size;
				for (unsigned n = 0; n < rows[r].names; n++, len += 2)
					args[len] = 'n';
			}
			if (wanted[i].opcode == FUSE_SETATTR || wanted[i].opcode == FUSE_LISTXATTR)
				memset(args, 0, 8);
			o = send_args(wanted[i].opcode, id, args, len);
			cr_assert_eq(o.error, of_file ? wanted[i].file : wanted[i].directory,
				     "opcode %u, file %d: %d", wanted[i].opcode, of_file, o.error);
		}
	}
	release(DIR_ID, dir);
	release(METRICS_ID, file);
}

/* With each other's handles, and with none. */
Test(report, mixed_up_handles)
{
	uint64_t dir = open_fh(DIR_ID, FUSE_OPENDIR), file = open_fh(METRICS_ID, FUSE_OPEN);
	uint64_t root = open_fh(FUSE_ROOT_ID, FUSE_OPENDIR), handles[] = {dir, file, root, 0, 99};
	static const uint64_t ids[] = {FUSE_ROOT_ID, DIR_ID, STATUS_ID, METRICS_ID};
	static const uint32_t opcodes[] = {FUSE_READ,	   FUSE_READDIR,  FUSE_READDIRPLUS,
					   FUSE_LSEEK,	   FUSE_FSYNCDIR, FUSE_FSYNC,
					   FUSE_FALLOCATE, FUSE_GETATTR};

	for (size_t o = 0; o < ARRAY_SIZE(opcodes); o++)
		for (size_t h = 0; h < ARRAY_SIZE(handles); h++)
			for (size_t i = 0; i < ARRAY_SIZE(ids); i++) {
				uint64_t args[5] = {handles[h], 0, 4096, 0, 0};

				if (opcodes[o] == FUSE_GETATTR) {
					args[0] = FUSE_GETATTR_FH;
					args[1] = handles[h];
				}
				for (size_t r = 0; r < ARRAY_SIZE(rows); r++)
					if (rows[r].opcode == opcodes[o])
						send_args(opcodes[o], ids[i], args, rows[r].size);
			}
	release(DIR_ID, dir);
	release(METRICS_ID, file);
	release(FUSE_ROOT_ID, root);
}

static size_t entries_from(uint64_t fh, uint32_t opcode, uint64_t off, uint32_t size)
{
	struct fuse_read_in in = {.fh = fh, .offset = off, .size = size};

	return send_args(opcode, DIR_ID, &in, sizeof(in)).size;
}

Test(report, listing)
{
	uint64_t fh = open_fh(DIR_ID, FUSE_OPENDIR);
	size_t whole = entries_from(fh, FUSE_READDIR, 0, 4096);

	cr_assert_eq(whole, 2 * 32 + FUSE_DIRENT_ALIGN(FUSE_NAME_OFFSET + 11) +
				FUSE_DIRENT_ALIGN(FUSE_NAME_OFFSET + 7));
	cr_assert_eq(entries_from(fh, FUSE_READDIR, 0, 40), 32, "one fits");
	cr_assert_eq(entries_from(fh, FUSE_READDIR, 1, 4096), whole - 32, "goes on behind it");
	cr_assert_eq(entries_from(fh, FUSE_READDIR, 4, 4096), 0);
	cr_assert_eq(entries_from(fh, FUSE_READDIR, UINT64_MAX, 4096), 0);
	cr_assert_gt(entries_from(fh, FUSE_READDIRPLUS, 0, 4096), whole);
	release(DIR_ID, fh);
}
