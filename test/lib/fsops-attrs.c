/* SPDX-License-Identifier: GPL-2.0-or-later */
/* fsops: attributes, plain and extended. */
#include "fsops.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

#ifndef SYS_fchmodat2
#define SYS_fchmodat2 452 /* Linux 6.6 */
#endif

static int show(int r)
{
	if (r >= 0)
		printf("ok");
	return r;
}

/* A directory's size and number of links are its filesystem's own business. */
static int show_stat(const struct stat *st)
{
	printf("%06o %u:%u", st->st_mode, st->st_uid, st->st_gid);
	if (!S_ISDIR(st->st_mode))
		printf(" links %lu size %lld", (unsigned long)st->st_nlink, (long long)st->st_size);
	if (S_ISCHR(st->st_mode) || S_ISBLK(st->st_mode))
		printf(" dev %u,%u", major(st->st_rdev), minor(st->st_rdev));
	return 0;
}

static int op_stat(int argc, char **argv)
{
	struct stat st;

	(void)argc;
	return lstat(argv[1], &st) < 0 ? -errno : show_stat(&st);
}

static int op_fstat(int argc, char **argv)
{
	struct stat st;

	(void)argc;
	return fstat(*slot(argv[1]), &st) < 0 ? -errno : show_stat(&st);
}

static int op_blocks(int argc, char **argv)
{
	struct stat st;

	(void)argc;
	if (lstat(argv[1], &st) < 0)
		return -errno;
	printf("%lld of %ld", (long long)st.st_blocks, (long)st.st_blksize);
	return 0;
}

static int op_access(int argc, char **argv)
{
	static const struct word how[] = {{"r", R_OK}, {"w", W_OK}, {"x", X_OK}, {"f", F_OK}, {0}};

	(void)argc;
	return show(result(faccessat(AT_FDCWD, argv[1], flags(argv[2], how), AT_EACCESS)));
}

static int op_chmod(int argc, char **argv)
{
	(void)argc;
	return show(result(chmod(argv[1], (mode_t)number(argv[2]))));
}

static int op_fchmod(int argc, char **argv)
{
	(void)argc;
	return show(result(fchmod(*slot(argv[1]), (mode_t)number(argv[2]))));
}

/* Of a symbolic link itself; the system call, since a C library may emulate it. */
static int op_lchmod(int argc, char **argv)
{
	(void)argc;
	return show(result(syscall(SYS_fchmodat2, AT_FDCWD, argv[1], (mode_t)number(argv[2]),
				   AT_SYMLINK_NOFOLLOW)));
}

static int op_chown(int argc, char **argv)
{
	(void)argc;
	return show(result(lchown(argv[1], (uid_t)number(argv[2]), (gid_t)number(argv[3]))));
}

/* SECONDS.NANOSECONDS, now, or omit */
static struct timespec time_of(const char *word)
{
	struct timespec t = {0};
	char *end;

	if (!strcmp(word, "now") || !strcmp(word, "omit")) {
		t.tv_nsec = *word == 'n' ? UTIME_NOW : UTIME_OMIT;
		return t;
	}
	t.tv_sec = (time_t)strtoll(word, &end, 10);
	t.tv_nsec = *end == '.' ? strtol(end + 1, NULL, 10) : 0;
	return t;
}

static int op_utimens(int argc, char **argv)
{
	struct timespec t[2] = {time_of(argv[2]), time_of(argv[3])};

	(void)argc;
	return show(result(utimensat(AT_FDCWD, argv[1], t, AT_SYMLINK_NOFOLLOW)));
}

/* A time near the present is shown as such. */
static void show_time(const char *name, struct statx_timestamp t)
{
	struct timespec now;
	long long age;

	clock_gettime(CLOCK_REALTIME, &now);
	age = (long long)now.tv_sec - t.tv_sec;
	if (age > -3 && age < 60)
		printf(" %s now", name);
	else
		printf(" %s %lld.%09u", name, (long long)t.tv_sec, t.tv_nsec);
}

static int op_times(int argc, char **argv)
{
	struct statx st;

	(void)argc;
	if (statx(AT_FDCWD, argv[1], AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS | STATX_BTIME, &st) < 0)
		return -errno;
	show_time("access", st.stx_atime);
	show_time("modify", st.stx_mtime);
	show_time("change", st.stx_ctime);
	if (st.stx_mask & STATX_BTIME)
		show_time("birth", st.stx_btime);
	else
		printf(" no birth");
	return 0;
}

static int op_setxattr(int argc, char **argv)
{
	static const struct word how[] = {
	    {"create", XATTR_CREATE}, {"replace", XATTR_REPLACE}, {0}};
	size_t len;
	const char *value = bytes(strcmp(argv[3], "-") ? argv[3] : "", &len);

	return show(
	    result(lsetxattr(argv[1], argv[2], value, len, argc > 4 ? flags(argv[4], how) : 0)));
}

/* getxattr PATH NAME [SIZE]: the value's length, a sum, and its start. */
static int op_getxattr(int argc, char **argv)
{
	static char value[65536];
	size_t size = argc > 3 ? (size_t)number(argv[3]) : sizeof(value);
	ssize_t n = lgetxattr(argv[1], argv[2], value, size);
	unsigned sum = 0;

	if (n < 0)
		return -errno;
	printf("%zd", n);
	for (ssize_t i = 0; size && i < n; i++)
		sum = sum * 31 + (unsigned char)value[i];
	if (size)
		printf(" %x", sum);
	return 0;
}

static int compare(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static int op_listxattr(int argc, char **argv)
{
	static char list[65536];
	char *names[1024];
	size_t count = 0, size = argc > 2 ? (size_t)number(argv[2]) : sizeof(list);
	ssize_t n = llistxattr(argv[1], list, size);

	if (n < 0)
		return -errno;
	if (!size) {
		printf("%zd", n);
		return 0;
	}
	for (char *p = list; p < list + n && count < 1024; p += strlen(p) + 1)
		names[count++] = p;
	qsort(names, count, sizeof(*names), compare);
	for (size_t i = 0; i < count; i++)
		printf("%s%s", i ? " " : "", names[i]);
	return 0;
}

static int op_removexattr(int argc, char **argv)
{
	(void)argc;
	return show(result(lremovexattr(argv[1], argv[2])));
}

const struct op ops_attrs[] = {{"stat", "PATH", op_stat},
			       {"fstat", "SLOT", op_fstat},
			       {"blocks", "PATH", op_blocks},
			       {"access", "PATH HOW", op_access},
			       {"chmod", "PATH MODE", op_chmod},
			       {"fchmod", "SLOT MODE", op_fchmod},
			       {"lchmod", "PATH MODE", op_lchmod},
			       {"chown", "PATH UID GID", op_chown},
			       {"utimens", "PATH ACCESS MODIFY", op_utimens},
			       {"times", "PATH", op_times},
			       {"setxattr", "PATH NAME VALUE [HOW]", op_setxattr},
			       {"getxattr", "PATH NAME [SIZE]", op_getxattr},
			       {"listxattr", "PATH [SIZE]", op_listxattr},
			       {"removexattr", "PATH NAME", op_removexattr},
			       {0}};
