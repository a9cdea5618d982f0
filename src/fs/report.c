/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "fs/report.h"

#include <dirent.h>
#include <string.h>
#include <sys/mman.h>

#include "fs/internal.h"
#include "observe/status.h"

static const struct {
	const char *name;
	char *(*render)(const struct status *s, size_t *len); /* NULL: a directory */
	mode_t mode;
} rows[] = {
    [REPORT_DIR] = {CACHEFS_DIR, NULL, S_IFDIR | 0500},
    [REPORT_STATUS] = {CACHEFS_STATUS_FILE, status_json, S_IFREG | 0400},
    [REPORT_METRICS] = {CACHEFS_METRICS_FILE, status_metrics, S_IFREG | 0400},
};

void reports_init(struct fs *fs)
{
	clock_gettime(CLOCK_REALTIME, &fs->reports.since);
	fs->reports.owner = geteuid(); /* who mounted */
}

void report_free(struct report *r)
{
	if (r)
		free(r->text);
	free(r);
}

/* ---- ids ---- */

static uint64_t id_of(enum report_kind kind)
{
	return ((uint64_t)kind + 1) << 32;
}

static bool kind_of(uint64_t id, enum report_kind *kind)
{
	if (!fs_is_report(id) || id >> 32 > REPORT_KINDS)
		return false;
	*kind = (enum report_kind)((id >> 32) - 1);
	return true;
}

int report_or_stale(uint64_t id, int err)
{
	enum report_kind kind;

	return kind_of(id, &kind) ? err : -ESTALE;
}

/* ---- names and attributes ---- */

static struct statx_timestamp timestamp(struct timespec t)
{
	return (struct statx_timestamp){.tv_sec = t.tv_sec, .tv_nsec = (uint32_t)t.tv_nsec};
}

static void attributes(struct fs *fs, enum report_kind kind, size_t size, struct statx *st)
{
	struct statx_timestamp since = timestamp(fs->reports.since);
	bool directory = S_ISDIR(rows[kind].mode);

	*st = (struct statx){
	    .stx_mask = STATX_WANTED,
	    .stx_mode = rows[kind].mode,
	    .stx_nlink = directory ? 2 : 1,
	    .stx_uid = fs->reports.owner,
	    .stx_gid = getegid(),
	    .stx_size = size,
	    .stx_blocks = (size + 511) / 512,
	    .stx_blksize = 65536,
	    .stx_ino = (uint64_t)INT64_MAX - kind, /* no filesystem has that many */
	    .stx_btime = since,
	    .stx_atime = since,
	    .stx_mtime = since,
	    .stx_ctime = since,
	};
	if (!directory) { /* made when it is read, so it has just changed */
		struct timespec now;

		clock_gettime(CLOCK_REALTIME, &now);
		st->stx_mtime = st->stx_ctime = timestamp(now);
	}
}

static void entry(struct fs *fs, enum report_kind kind, struct fs_entry *e)
{
	e->id = id_of(kind);
	attributes(fs, kind, atomic_load(&fs->reports.sizes[kind]), &e->st);
}

void report_dir_entry(struct fs *fs, struct fs_entry *e)
{
	entry(fs, REPORT_DIR, e);
}

int report_lookup(struct fs *fs, uint64_t id, const char *name, struct fs_entry *e)
{
	enum report_kind kind;

	if (!kind_of(id, &kind))
		return -ESTALE;
	if (kind != REPORT_DIR)
		return -ENOTDIR;
	for (kind = REPORT_DIR + 1; kind < REPORT_KINDS; kind++) {
		if (strcmp(name, rows[kind].name) != 0)
			continue;
		entry(fs, kind, e);
		return 0;
	}
	return -ENOENT;
}

int report_getattr(struct fs *fs, uint64_t id, uint64_t fh, struct statx *st)
{
	struct handle *h = fh == FS_NO_HANDLE ? NULL : handle_get(fs, fh);
	enum report_kind kind;

	if (!kind_of(id, &kind))
		return -ESTALE;
	attributes(fs, kind,
		   h && h->report ? h->report->len : atomic_load(&fs->reports.sizes[kind]), st);
	return 0;
}

/* ---- opens ---- */

static int render(struct fs *fs, struct report *r)
{
	struct status s;
	int err = fs_status(fs, &s);

	if (err)
		return err;
	r->text = rows[r->kind].render(&s, &r->len);
	status_free(&s);
	if (!r->text)
		return -ENOMEM;
	atomic_store(&fs->reports.sizes[r->kind], r->len);
	return 0;
}

/* A report is read in pieces, perhaps by more than one process after another: its text, kept. */
static int text_keep(const struct report *r)
{
	_cleanup_fd_ int fd = sysret(memfd_create("cachefs-report", MFD_CLOEXEC));
	ssize_t n = fd < 0 ? fd : sysret(pwrite(fd, r->text, r->len, 0));

	if (n < 0)
		return (int)n;
	return (size_t)n == r->len ? steal_fd(&fd) : -ENOSPC;
}

static int open_kind(struct fs *fs, enum report_kind kind, pid_t pid, uint64_t *fh)
{
	struct report *r = calloc(1, sizeof(*r));
	_cleanup_fd_ int fd = -1;
	struct handle *h;
	int err = r ? 0 : -ENOMEM;

	if (r)
		r->kind = kind;
	if (!err && rows[kind].render)
		err = render(fs, r);
	if (!err && r->text) {
		fd = text_keep(r);
		err = MIN(fd, 0);
	}
	if (!err)
		err = handle_create_report(fs, id_of(kind), r, fd, pid, &h);
	if (err) {
		report_free(r);
		return err;
	}
	steal_fd(&fd);
	handle_publish(h);
	*fh = handle_id(h);
	return 0;
}

int report_rebuild(struct handle *h)
{
	struct report *r = calloc(1, sizeof(*r));
	struct stat st = {0};

	h->report = r;
	if (!r)
		return -ENOMEM;
	if (!kind_of(h->rec->node, &r->kind))
		return -EPROTO;
	if (h->fd < 0) /* the directory */
		return 0;
	if (fstat(h->fd, &st) < 0)
		return -errno;
	r->len = (size_t)st.st_size;
	r->text = malloc(r->len + 1);
	if (!r->text)
		return -ENOMEM;
	return pread(h->fd, r->text, r->len, 0) == st.st_size ? 0 : -EIO;
}

int report_open(struct fs *fs, uint64_t id, int flags, const struct fs_caller *c,
		struct fs_opened *o)
{
	enum report_kind kind;
	struct handle *h;

	if (!kind_of(id, &kind))
		return -ESTALE;
	if (kind == REPORT_DIR)
		return -EISDIR;
	if ((flags & O_ACCMODE) != O_RDONLY || flags & O_TRUNC)
		return -EACCES;
	/* its size is not known before, so nothing of it may be read by the page */
	*o = (struct fs_opened){.direct_io = true, .noflush = true};
	h = handle_of_request(fs, id);
	if (h) {
		o->fh = handle_id(h);
		return 0;
	}
	return open_kind(fs, kind, c->pid, &o->fh);
}

int report_opendir(struct fs *fs, uint64_t id, uint64_t *fh)
{
	struct handle *h = handle_of_request(fs, id);
	enum report_kind kind;

	if (!kind_of(id, &kind))
		return -ESTALE;
	if (h) {
		*fh = handle_id(h);
		return 0;
	}
	return kind == REPORT_DIR ? open_kind(fs, kind, 0, fh) : -ENOTDIR;
}

/* ---- what is done to open ones ---- */

int report_readdir(struct fs *fs, const struct handle *h, uint64_t off, bool plus,
		   bool (*emit)(void *arg, const struct fs_dirent *d), void *arg)
{
	static const char *const dots[] = {".", ".."};

	if (!h->report || h->report->kind != REPORT_DIR)
		return -ENOTDIR;
	for (uint64_t i = off; i <= REPORT_KINDS; i++) {
		struct fs_dirent d = {.next = i + 1, .type = DT_DIR};
		struct fs_entry e;

		entry(fs, i < ARRAY_SIZE(dots) ? REPORT_DIR : (enum report_kind)(i - 1), &e);
		d.ino = e.st.stx_ino;
		if (i < ARRAY_SIZE(dots)) {
			d.name = dots[i];
		} else {
			d.name = rows[i - 1].name;
			d.type = DT_REG;
			d.entry = plus ? &e : NULL;
		}
		if (!emit(arg, &d))
			break;
	}
	return 0;
}

void report_read(struct fs_io *io, const struct handle *h)
{
	const struct report *r = h ? h->report : NULL;
	size_t off, len;

	if (!r || !r->text) {
		io->done(io, r ? -EISDIR : -EBADF);
		return;
	}
	off = MIN(io->off, r->len);
	len = MIN(io->len, r->len - off);
	/* a copy: the report may be closed before the thread that replies has returned */
	memcpy(io->buf, r->text + off, len);
	io->data = io->buf;
	io->done(io, (ssize_t)len);
}

int64_t report_lseek(const struct handle *h, int64_t off, int whence)
{
	int64_t len = h->report ? (int64_t)h->report->len : -1;

	if (len < 0)
		return -EBADF;
	if (whence != SEEK_DATA && whence != SEEK_HOLE)
		return -EINVAL; /* the kernel does the others */
	if (off < 0 || off >= len)
		return -ENXIO;
	return whence == SEEK_DATA ? off : len;
}
