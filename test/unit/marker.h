/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A backing directory for a crash marker, and the sync calls of the library: the program's own
 * fsync(2) stands in front of libc's.
 */
#ifndef CACHEFS_TEST_MARKER_H
#define CACHEFS_TEST_MARKER_H

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/util.h"
#include "durability/marker.h"

static char root[64];
static int root_fd = -1;
static struct private_dir *own;

static atomic_uint sync_calls; /* of files */
static bool sync_nothing;      /* for speed */
static atomic_int sync_error;  /* of files */
static atomic_int dir_error;   /* of directories */
static void (*sync_hook)(void);

int fsync(int fd);

int fsync(int fd)
{
	struct stat st;
	bool dir = fstat(fd, &st) == 0 && S_ISDIR(st.st_mode);

	if (!dir && sync_hook)
		sync_hook();
	if (!dir)
		atomic_fetch_add(&sync_calls, 1);
	if (dir ? dir_error : sync_error) {
		errno = dir ? dir_error : sync_error;
		return -1;
	}
	return sync_nothing ? 0 : (int)syscall(SYS_fsync, fd);
}

static inline void backing_open(void)
{
	root_fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cr_assert_geq(root_fd, 0);
	cr_assert_eq(private_dir_create(root_fd, &own), 0);
}

static inline void backing_make(void)
{
	strcpy(root, "/var/tmp/cachefs-unit.XXXXXX");
	cr_assert_not_null(mkdtemp(root));
	backing_open();
}

static inline void run(const char *format)
{
	char command[256];

	/* root is made above: it has nothing that a shell minds */
	snprintf(command, sizeof(command), format, root, root, root);
	cr_assert_eq(system(command), 0, "%s", command);
}

static inline void backing_close(void)
{
	private_dir_destroy(own);
	close(root_fd);
}

static inline void backing_remove(void)
{
	backing_close();
	run("rm -rf %s");
}

static inline bool backing_has(const char *name)
{
	return faccessat(root_fd, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

static inline void backing_file(const char *name, struct statx *st)
{
	int fd = openat(root_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	cr_assert_geq(fd, 0);
	cr_assert_eq(statx(fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS | STATX_BTIME, st), 0);
	close(fd);
}

/* What is written, to be freed; NULL: nothing. */
static inline char *marker_text(void)
{
	char *text = NULL;
	size_t len;
	int err = private_dir_read(own, "crash-marker", 64 << 20, &text, &len);

	cr_assert(!err || err == -ENOENT, "%d", err);
	return text;
}

static inline void marker_put(const char *text, size_t len)
{
	int fd;

	cr_assert(mkdirat(root_fd, PRIVATE_DIR, 0700) == 0 || errno == EEXIST);
	fd = openat(root_fd, PRIVATE_DIR "/crash-marker", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC,
		    0600);
	cr_assert_geq(fd, 0);
	cr_assert_eq(write(fd, text, len), (ssize_t)len);
	close(fd);
}

static struct marker *m;

/* Another mount, on the boot ID. */
static inline enum marker_found boot(const char *id)
{
	enum marker_found found;

	marker_destroy(m);
	m = NULL;
	cr_assert_eq(marker_create(own, id, &m, &found), 0);
	return found;
}

/* A file that was there before anything else. */
static inline bool concerns(const struct file_id *id, const char *path)
{
	struct statx st = {.stx_mask = STATX_BTIME, .stx_btime = {.tv_sec = 1000}};
	_cleanup_free_ char *paths = calloc(1, strlen(path) + 2);

	strcpy(paths, path);
	return marker_concerns(m, id, paths, &st);
}

#define HEAD "cachefs crash marker 1\n"
#define BOOT_A "boot a 2026-11-21T05:50:00Z\n"
#define BOOT_B "boot b 2026-11-21T06:50:00Z\n"
#define TAIL "end\n"

static inline void expect_marker(const char *text)
{
	_cleanup_free_ char *got = marker_text();

	cr_assert_not_null(got, "no marker");
	cr_assert_str_eq(got, text);
}

/* The same with the times cut out. */
static inline void expect_lines(const char *text)
{
	_cleanup_free_ char *got = marker_text();

	cr_assert_not_null(got, "no marker");
	for (char *t = got; (t = strstr(t, " 20"));)
		memmove(t, strchr(t, 'Z') + 1, strlen(strchr(t, 'Z')));
	cr_assert_str_eq(got, text);
}

#endif
