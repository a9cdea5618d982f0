/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Reading directories. Offsets are the backing filesystem's own cookies, which stay right while the
 * directory changes. The kernel lets one reader at a time onto an open directory.
 */
#include <dirent.h>
#include <string.h>
#include <sys/syscall.h>

#include "fs/internal.h"
#include "fs/once.h"

struct linux_dirent64 { /* getdents64(2) */
	uint64_t d_ino;
	int64_t d_off;
	unsigned short d_reclen;
	unsigned char d_type;
	char d_name[];
};

#define DENTS_MIN 1024 /* holds the longest name */
#define DENTS_MAX 32768

int fs_opendir(struct fs *fs, uint64_t id, uint64_t *fh)
{
	_cleanup_path_ struct path_fd p = PATH_FD_NONE;
	struct node *n = node_get(fs, id);
	struct handle *h;
	int fd, err = n ? path_fd_get(fs, n, &p) : report_opendir(fs, id, fh);

	if (err || !n)
		return err;
	h = handle_of_request(fs, id);
	if (!h) {
		fd = fs_reopen(fs, p.fd, O_RDONLY | O_DIRECTORY);
		err = fd < 0 ? fd : handle_create_dir(fs, n, fd, &h);
	}
	if (err)
		return err;
	handle_publish(h);
	*fh = handle_id(h);
	return 0;
}

void fs_releasedir(struct fs *fs, uint64_t fh)
{
	fs_release(fs, fh);
}

int fs_fsyncdir(struct fs *fs, uint64_t fh, bool datasync)
{
	struct handle *h = handle_get(fs, fh);
	uint64_t start;
	int err;

	if (!h || h->report)
		return h ? 0 : -EBADF;
	if (fs_switches(fs).no_flush) {
		flush_count_write(NULL, false, 0);
		return 0;
	}
	if (once_done(&err))
		return err;
	start = clock_nsec();
	err = fs->config.engine->sync(h->fd, datasync); /* a directory's errors are not latched */
	flush_count_write(NULL, true, clock_nsec() - start);
	if (err == -EINVAL) /* a filesystem without fsync for directories */
		return 0;
	if (!err)
		err = fs_sync_again(fs, true);
	return err ? once_end(err) : 0;
}

static bool dot_or_dotdot(const char *name)
{
	return name[0] == '.' && (!name[1] || (name[1] == '.' && !name[2]));
}

struct readdir {
	struct fs *fs;
	struct node *dir;
	int dir_fd; /* O_PATH of DIR, or -1: not looked up */
	bool (*emit)(void *arg, const struct fs_dirent *d);
	void *arg;
};

/* False when there is no room for it. */
static bool emit_one(const struct readdir *r, const struct linux_dirent64 *d)
{
	struct fs_entry e;
	struct fs_dirent out = {
	    .ino = d->d_ino, .next = (uint64_t)d->d_off, .type = d->d_type, .name = d->d_name};

	if (fs_private_name(r->fs, r->dir, d->d_name))
		return true;
	/* one that vanished meanwhile is listed without being looked up, as readdir would */
	if (r->dir_fd >= 0 && !dot_or_dotdot(d->d_name) &&
	    !fs_entry_lookup(r->fs, r->dir, r->dir_fd, d->d_name, &e)) {
		out.entry = &e;
		out.ino = e.st.stx_ino;
	}
	if (r->emit(r->arg, &out))
		return true;
	if (out.entry)
		fs_forget(r->fs, e.id, 1);
	return false;
}

static int dir_seek(struct handle *h, uint64_t off)
{
	if (h->dir_pos == off)
		return 0;
	if (lseek(h->fd, (off_t)off, SEEK_SET) < 0)
		return -errno;
	h->dir_pos = off;
	return 0;
}

int fs_readdir(struct fs *fs, uint64_t id, uint64_t fh, uint64_t off, size_t size,
	       size_t min_record, bool plus, bool (*emit)(void *arg, const struct fs_dirent *d),
	       void *arg)
{
	_cleanup_path_ struct path_fd p = PATH_FD_NONE;
	struct handle *h = handle_get(fs, fh);
	struct readdir r = {
	    .fs = fs, .dir = node_get(fs, id), .dir_fd = -1, .emit = emit, .arg = arg};
	/* the shortest record takes 24 bytes here and MIN_RECORD there; so all that is read fits,
	 * and the next call goes on where the descriptor stands */
	size_t want = MIN(MAX(size * 24 / min_record, DENTS_MIN), DENTS_MAX);
	char buf[DENTS_MAX] __attribute__((aligned(8)));
	long n;
	int err;

	if (h && h->report)
		return report_readdir(fs, h, off, plus, emit, arg);
	if (!h || !r.dir)
		return -EBADF;
	err = dir_seek(h, off);
	if (!err && plus) {
		err = path_fd_get(fs, r.dir, &p);
		r.dir_fd = p.fd;
	}
	if (err)
		return err;
	n = syscall(SYS_getdents64, h->fd, buf, want);
	if (n < 0)
		return -errno;
	for (long pos = 0; pos < n;) {
		const struct linux_dirent64 *d = (const void *)(buf + pos);

		if (!emit_one(&r, d)) {
			h->dir_pos = UINT64_MAX; /* stands further than what was delivered */
			return 0;
		}
		h->dir_pos = (uint64_t)d->d_off;
		pos += d->d_reclen;
	}
	return 0;
}
