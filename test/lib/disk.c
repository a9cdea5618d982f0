/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The FUSE side of the test disk, and its options. See disk.h. */
#define _GNU_SOURCE
#define FUSE_USE_VERSION 314
#include "disk.h"
#include <errno.h>
#include <fcntl.h>
#include <fuse_lowlevel.h>
#include <getopt.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#define TIMEOUT 3600.0 /* seconds; names and attributes never change */

enum { INO_ROOT = FUSE_ROOT_ID, INO_DISK, INO_CONTROL, INO_STATS, INO_END };

static const struct {
	const char *name;
	mode_t mode;
} files[INO_END] = {
    [INO_ROOT] = {".", S_IFDIR | 0700},
    [INO_DISK] = {"disk", S_IFREG | 0600},
    [INO_CONTROL] = {"control", S_IFREG | 0200},
    [INO_STATS] = {"stats", S_IFREG | 0400},
};

/* Of the process; set before the first request is read. */
static struct {
	struct rules *rules;
	struct store *store;
	struct gate *gate;
	struct control *control;
} disk;

static void get_attr(fuse_ino_t ino, struct stat *st)
{
	*st = (struct stat){.st_ino = ino, .st_mode = files[ino].mode, .st_nlink = 1};
	st->st_uid = getuid();
	st->st_gid = getgid();
	if (ino == INO_DISK)
		st->st_size = (off_t)store_size(disk.store);
}

static void op_init(void *userdata, struct fuse_conn_info *conn)
{
	(void)userdata;
	/* Direct I/O of a loop device is background requests; a frozen disk must not use them up.
	 */
	conn->max_background = 512;
	conn->congestion_threshold = 384;
}

static void op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct fuse_entry_param entry = {.attr_timeout = TIMEOUT, .entry_timeout = TIMEOUT};

	for (fuse_ino_t ino = INO_DISK; parent == INO_ROOT && ino < INO_END; ino++) {
		if (strcmp(name, files[ino].name) != 0)
			continue;
		entry.ino = ino;
		get_attr(ino, &entry.attr);
		fuse_reply_entry(req, &entry);
		return;
	}
	fuse_reply_err(req, ENOENT);
}

static void op_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct stat st;

	(void)fi;
	get_attr(ino, &st);
	fuse_reply_attr(req, &st, TIMEOUT);
}

static void op_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *attr, int to_set,
		       struct fuse_file_info *fi)
{
	(void)attr;
	/* A shell's > truncates `control`; the disk itself has one size only. */
	if ((to_set & FUSE_SET_ATTR_SIZE) && ino != INO_CONTROL)
		fuse_reply_err(req, EPERM);
	else
		op_getattr(req, ino, fi);
}

static void op_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
		       struct fuse_file_info *fi)
{
	char buf[1024];
	size_t used = 0;

	(void)fi;
	if (ino != INO_ROOT) {
		fuse_reply_err(req, ENOTDIR);
		return;
	}
	if (size > sizeof(buf))
		size = sizeof(buf);
	for (fuse_ino_t i = INO_ROOT + (fuse_ino_t)off; i < INO_END; i++) {
		struct stat st;
		size_t need;

		get_attr(i, &st);
		need = fuse_add_direntry(req, buf + used, size - used, files[i].name, &st,
					 (off_t)(i - INO_ROOT + 1));
		if (need > size - used)
			break;
		used += need;
	}
	fuse_reply_buf(req, buf, used);
}

static void op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	int access_mode = fi->flags & O_ACCMODE;
	char *stats;

	fi->direct_io = 1;
	fi->fh = 0;
	if ((ino == INO_CONTROL && access_mode != O_WRONLY) ||
	    (ino == INO_STATS && access_mode != O_RDONLY)) {
		fuse_reply_err(req, EACCES);
		return;
	}
	if (ino == INO_DISK && (fi->flags & O_TRUNC)) {
		fuse_reply_err(req, EPERM);
		return;
	}
	if (ino == INO_STATS) {
		/* One snapshot an open: a reader in small pieces gets lines that fit together. */
		stats = control_stats(disk.control);
		if (!stats) {
			fuse_reply_err(req, ENOMEM);
			return;
		}
		fi->fh = (uint64_t)(uintptr_t)stats;
	}
	if (fuse_reply_open(req, fi) < 0 && ino == INO_STATS)
		free((char *)(uintptr_t)fi->fh); /* no release will come */
}

static void op_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	if (ino == INO_STATS)
		free((char *)(uintptr_t)fi->fh);
	fuse_reply_err(req, 0);
}

static void reply_read(void *cookie, int error, const void *data, uint64_t length)
{
	if (error)
		fuse_reply_err(cookie, error);
	else
		fuse_reply_buf(cookie, data, length);
}

static void reply_write(void *cookie, int error, const void *data, uint64_t length)
{
	(void)data;
	if (error)
		fuse_reply_err(cookie, error);
	else
		fuse_reply_write(cookie, length);
}

static void reply_plain(void *cookie, int error, const void *data, uint64_t length)
{
	(void)data;
	(void)length;
	fuse_reply_err(cookie, error);
}

static void op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
		    struct fuse_file_info *fi)
{
	uint64_t offset = (uint64_t)off, end = store_size(disk.store);

	if (ino == INO_STATS) {
		const char *stats = (const char *)(uintptr_t)fi->fh;
		size_t length = strlen(stats), at = offset < length ? offset : length;
		char copy[2048]; /* the answer may bring on the release, in another thread */

		length -= at;
		if (length > size)
			length = size;
		if (length > sizeof(copy))
			length = sizeof(copy);
		memcpy(copy, stats + at, length);
		fuse_reply_buf(req, copy, length);
		return;
	}
	if (offset >= end) {
		fuse_reply_buf(req, NULL, 0);
		return;
	}
	gate_submit(disk.gate, &(struct disk_request){
				   .op = DISK_READ,
				   .offset = offset,
				   .length = size < end - offset ? size : end - offset,
				   .reply = reply_read,
				   .cookie = req,
			       });
}

static void op_write(fuse_req_t req, fuse_ino_t ino, const char *buf, size_t size, off_t off,
		     struct fuse_file_info *fi)
{
	uint64_t offset = (uint64_t)off, end = store_size(disk.store);
	int ret;

	if (ino == INO_CONTROL) {
		ret = control_execute(disk.control, buf, size);
		if (ret < 0)
			fuse_reply_err(req, -ret);
		else
			fuse_reply_write(req, size);
		return;
	}
	if (offset > end || size > end - offset) {
		fuse_reply_err(req, ENOSPC);
		return;
	}
	gate_submit(disk.gate, &(struct disk_request){
				   .op = DISK_WRITE,
				   .offset = offset,
				   .length = size,
				   /* The flags of this write; RWF_DSYNC is in them too. */
				   .fua = fi->flags & (O_DSYNC | O_SYNC),
				   .data = buf,
				   .reply = reply_write,
				   .cookie = req,
			       });
}

static void op_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
	(void)datasync;
	(void)fi;
	if (ino != INO_DISK) {
		fuse_reply_err(req, 0);
		return;
	}
	gate_submit(disk.gate, &(struct disk_request){
				   .op = DISK_FLUSH,
				   .reply = reply_plain,
				   .cookie = req,
			       });
}

/* A loop device sends PUNCH_HOLE for a discard and ZERO_RANGE for write-zeroes without unmap. */
static void op_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t off, off_t length,
			 struct fuse_file_info *fi)
{
	uint64_t end = store_size(disk.store);
	int kind = mode & ~FALLOC_FL_KEEP_SIZE;

	(void)fi;
	if (ino != INO_DISK || (kind != FALLOC_FL_PUNCH_HOLE && kind != FALLOC_FL_ZERO_RANGE)) {
		fuse_reply_err(req, EOPNOTSUPP);
		return;
	}
	if ((uint64_t)off > end || (uint64_t)length > end - (uint64_t)off) {
		fuse_reply_err(req, ENOSPC);
		return;
	}
	gate_submit(disk.gate, &(struct disk_request){
				   .op = DISK_DISCARD,
				   .offset = (uint64_t)off,
				   .length = (uint64_t)length,
				   .reply = reply_plain,
				   .cookie = req,
			       });
}

static const struct fuse_lowlevel_ops ops = {
    .init = op_init,
    .lookup = op_lookup,
    .getattr = op_getattr,
    .setattr = op_setattr,
    .readdir = op_readdir,
    .open = op_open,
    .release = op_release,
    .read = op_read,
    .write = op_write,
    .fsync = op_fsync,
    .fallocate = op_fallocate,
};

/* ---- options and main ---- */

struct options {
	uint64_t size, cache;
	const char *backing, *mountpoint;
	bool foreground, with_parent;
};

static void usage(FILE *out)
{
	fputs("usage: disk [OPTION]... MOUNTPOINT\n"
	      "Mounts the files disk, control and stats: a disk with a volatile write cache.\n"
	      "  -s, --size=SIZE     of the disk; k, M, G, T; a multiple of 512 (256M)\n"
	      "  -c, --cache=SIZE    of the volatile write cache; 0: none (64M)\n"
	      "  -b, --backing=FILE  keep the stable data there (in memory)\n"
	      "  -f, --foreground    stay in front\n"
	      "  -p, --with-parent   with -f: end when the parent process does\n"
	      "  -h, --help\n"
	      "Commands, a line each, written to MOUNTPOINT/control:\n"
	      "  delay OP MILLISECONDS [at=OFFSET+LENGTH] [nth=N] [count=N]\n"
	      "  fail OP ERRNO [at=OFFSET+LENGTH] [nth=N] [count=N]\n"
	      "  clear | freeze | thaw | flush | reset | cut /FILE [seed=N] [keep=PERCENT]\n"
	      "OP: read, write, flush, discard, all. nth=N: the N-th from now on, one unless "
	      "count.\n",
	      out);
}

static bool parse_size_option(const char *name, const char *text, uint64_t *value)
{
	if (control_parse_size(text, value) && *value % DISK_SECTOR == 0 && *value <= INT64_MAX)
		return true;
	fprintf(stderr, "disk: --%s=%s: not a size; give a multiple of 512, as 65536 or 64M\n",
		name, text);
	return false;
}

/* 0: go on; else the exit status plus 1. */
static int parse_options(int argc, char **argv, struct options *options)
{
	static const struct option longs[] = {
	    {"size", required_argument, NULL, 's'},
	    {"cache", required_argument, NULL, 'c'},
	    {"backing", required_argument, NULL, 'b'},
	    {"foreground", no_argument, NULL, 'f'},
	    {"with-parent", no_argument, NULL, 'p'},
	    {"help", no_argument, NULL, 'h'},
	    {NULL, 0, NULL, 0},
	};
	bool good = true;
	int c;

	while (good && (c = getopt_long(argc, argv, "s:c:b:fph", longs, NULL)) != -1) {
		if (c == 's')
			good = parse_size_option("size", optarg, &options->size);
		else if (c == 'c')
			good = parse_size_option("cache", optarg, &options->cache);
		else if (c == 'b')
			options->backing = optarg;
		else if (c == 'f')
			options->foreground = true;
		else if (c == 'p')
			options->with_parent = true;
		else
			good = false;
		if (c == 'h') {
			usage(stdout);
			return 1;
		}
	}
	if (good && options->size == 0) {
		fputs("disk: --size=0: a disk has a size; give one as 64M\n", stderr);
		good = false;
	} else if (good && optind != argc - 1) {
		usage(stderr);
		good = false;
	}
	options->mountpoint = good ? argv[optind] : NULL;
	return good ? 0 : 2;
}

static int loop(struct fuse_session *session)
{
	struct fuse_loop_config *config = fuse_loop_cfg_create();
	int ret;

	fuse_loop_cfg_set_max_threads(config, 4);
	fuse_loop_cfg_set_idle_threads(config, 4);
	/* Positive: the signal that ended us, which is a normal end. */
	ret = fuse_session_loop_mt(session, config);
	fuse_loop_cfg_destroy(config);
	return ret < 0 ? ret : 0;
}

/* After the daemon's fork, since it starts threads. */
static int serve(struct fuse_session *session)
{
	int ret = gate_new(&disk.gate, disk.rules, disk.store);

	if (ret == 0)
		ret = control_new(&disk.control, disk.rules, disk.store, disk.gate);
	if (ret == 0)
		ret = loop(session);
	/* While the session still has its device: the gate answers what waits in it. */
	gate_free(disk.gate);
	control_free(disk.control);
	return ret;
}

/* 0, a negative errno, or 1: failed and said so. */
static int mount_and_serve(struct fuse_session *session, const struct options *options)
{
	pid_t parent = getppid();
	char *mountpoint;
	struct stat st;
	int ret;

	if (fuse_set_signal_handlers(session) != 0)
		return -EIO;
	if (options->with_parent) {
		prctl(PR_SET_PDEATHSIG, SIGTERM);
		if (getppid() != parent)
			raise(SIGTERM);
	}
	/* Memory reclaim may write to the loop device and so wait for us. Needs privilege. */
	prctl(PR_SET_IO_FLUSHER, 1, 0, 0, 0);
	/* fuse_daemonize() goes to /, and the unmount needs the name again: so it is absolute. */
	mountpoint = realpath(options->mountpoint, NULL);
	if (!mountpoint || stat(mountpoint, &st) < 0) {
		ret = -errno;
	} else if (!S_ISDIR(st.st_mode)) {
		ret = -ENOTDIR;
	} else if (fuse_session_mount(session, mountpoint) != 0) {
		ret = 1; /* libfuse has said why */
	} else {
		ret = fuse_daemonize(options->foreground) == 0 ? serve(session) : -ECHILD;
		fuse_session_unmount(session);
	}
	free(mountpoint);
	fuse_remove_signal_handlers(session);
	return ret;
}

int main(int argc, char **argv)
{
	struct options options = {.size = 256 << 20, .cache = 64 << 20};
	char *fuse_argv[] = {argv[0], "-o", "fsname=disk,subtype=disk,nosuid,nodev", NULL};
	struct fuse_args args = FUSE_ARGS_INIT(3, fuse_argv);
	struct fuse_session *session = NULL;
	int ret = parse_options(argc, argv, &options);

	if (ret != 0)
		return ret - 1;
	ret = store_new(&disk.store, options.size, options.cache, options.backing);
	if (ret < 0)
		fprintf(stderr, "disk: %s, %" PRIu64 " bytes: %s\n",
			options.backing ? options.backing : "memory", options.size, strerror(-ret));
	if (ret == 0 && !(disk.rules = rules_new()))
		ret = -ENOMEM;
	if (ret == 0 && !(session = fuse_session_new(&args, &ops, sizeof(ops), NULL)))
		ret = -EIO;
	if (ret == 0) {
		ret = mount_and_serve(session, &options);
		if (ret < 0)
			fprintf(stderr, "disk: mount at %s: %s\n", options.mountpoint,
				strerror(-ret));
	}
	if (session)
		fuse_session_destroy(session);
	fuse_opt_free_args(&args);
	rules_free(disk.rules);
	store_free(disk.store);
	return ret != 0 ? 1 : 0;
}
