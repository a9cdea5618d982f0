/* SPDX-License-Identifier: GPL-2.0-or-later */
/* fsops: names, and on whose behalf. */
#include "fsops.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#ifndef RENAME_NOREPLACE
#define RENAME_NOREPLACE 1
#define RENAME_EXCHANGE 2
#define RENAME_WHITEOUT 4
#endif

static const struct word rename_flags[] = {{"noreplace", RENAME_NOREPLACE},
					   {"exchange", RENAME_EXCHANGE},
					   {"whiteout", RENAME_WHITEOUT},
					   {0}};

static int show(int r)
{
	if (r >= 0)
		printf("ok");
	return r;
}

/* as UID GID [GROUP...]: effective ids; back to root from wherever we are first. */
static int op_as(int argc, char **argv)
{
	gid_t groups[FSOPS_ARGS];
	size_t n = 0;

	for (int i = 3; i < argc; i++)
		groups[n++] = (gid_t)number(argv[i]);
	if (seteuid(0) < 0 || setgroups(n, groups) < 0 || setegid((gid_t)number(argv[2])) < 0 ||
	    seteuid((uid_t)number(argv[1])) < 0)
		return -errno;
	return show(0);
}

static int op_umask(int argc, char **argv)
{
	(void)argc;
	umask((mode_t)number(argv[1]));
	return show(0);
}

static int op_cd(int argc, char **argv)
{
	(void)argc;
	return show(result(chdir(argv[1])));
}

static int op_mkdir(int argc, char **argv)
{
	(void)argc;
	return show(result(mkdir(argv[1], (mode_t)number(argv[2]))));
}

static int op_mknod(int argc, char **argv)
{
	static const struct word types[] = {{"file", S_IFREG},	  {"fifo", S_IFIFO},
					    {"socket", S_IFSOCK}, {"char", S_IFCHR},
					    {"block", S_IFBLK},	  {0}};
	dev_t dev = argc > 5 ? makedev((unsigned)number(argv[4]), (unsigned)number(argv[5])) : 0;

	return show(
	    result(mknod(argv[1], (mode_t)flags(argv[2], types) | (mode_t)number(argv[3]), dev)));
}

static int op_symlink(int argc, char **argv)
{
	(void)argc;
	return show(result(symlink(argv[1], argv[2])));
}

static int op_link(int argc, char **argv)
{
	(void)argc;
	return show(result(link(argv[1], argv[2])));
}

static int op_linkfd(int argc, char **argv)
{
	char path[32];

	(void)argc;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", *slot(argv[1]));
	return show(result(linkat(AT_FDCWD, path, AT_FDCWD, argv[2], AT_SYMLINK_FOLLOW)));
}

static int op_unlink(int argc, char **argv)
{
	(void)argc;
	return show(result(unlink(argv[1])));
}

static int op_rmdir(int argc, char **argv)
{
	(void)argc;
	return show(result(rmdir(argv[1])));
}

static int op_rename(int argc, char **argv)
{
	unsigned f = argc > 3 ? (unsigned)flags(argv[3], rename_flags) : 0;

	return show(result(renameat2(AT_FDCWD, argv[1], AT_FDCWD, argv[2], f)));
}

static int op_readlink(int argc, char **argv)
{
	char buf[8192];
	ssize_t n = readlink(argv[1], buf, sizeof(buf) - 1);

	(void)argc;
	if (n < 0)
		return -errno;
	buf[n] = '\0';
	printf("%s", buf);
	return 0;
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

/* Names in order, with their types. */
static int op_ls(int argc, char **argv)
{
	struct dirent **list;
	int n = scandir(argv[1], &list, NULL, by_name);

	(void)argc;
	if (n < 0)
		return -errno;
	for (int i = 0; i < n; i++) {
		printf("%s%.80s/%d", i ? " " : "", list[i]->d_name, list[i]->d_type);
		free(list[i]);
	}
	free(list);
	return 0;
}

/* Are A and B one inode, and so for their directory entries? */
static int op_same(int argc, char **argv)
{
	struct stat a, b;

	(void)argc;
	if (lstat(argv[1], &a) < 0 || lstat(argv[2], &b) < 0)
		return -errno;
	printf("%s", a.st_ino == b.st_ino && a.st_dev == b.st_dev ? "same" : "different");
	return 0;
}

/* deep N MODE: N directories below each other, entered one by one; then back. */
static int op_deep(int argc, char **argv)
{
	int here = open(".", O_RDONLY | O_DIRECTORY), err = 0;
	long long depth = number(argv[1]);

	(void)argc;
	for (long long i = 0; !err && i < depth; i++) {
		if (mkdir("directory", (mode_t)number(argv[2])) < 0 || chdir("directory") < 0)
			err = -errno;
	}
	for (long long i = 0; !err && i < depth; i++) {
		if (chdir("..") < 0 || rmdir("directory") < 0)
			err = -errno;
	}
	if (!err && fchdir(here) < 0)
		err = -errno;
	close(here);
	return show(err);
}

const struct op ops_names[] = {{"as", "UID GID [GROUPS]", op_as},
			       {"umask", "MASK", op_umask},
			       {"cd", "DIR", op_cd},
			       {"mkdir", "PATH MODE", op_mkdir},
			       {"mknod", "PATH TYPE MODE [MAJOR MINOR]", op_mknod},
			       {"symlink", "TARGET PATH", op_symlink},
			       {"link", "OLD NEW", op_link},
			       {"linkfd", "SLOT NEW", op_linkfd},
			       {"unlink", "PATH", op_unlink},
			       {"rmdir", "PATH", op_rmdir},
			       {"rename", "OLD NEW [FLAGS]", op_rename},
			       {"readlink", "PATH", op_readlink},
			       {"ls", "PATH", op_ls},
			       {"same", "A B", op_same},
			       {"deep", "DEPTH MODE", op_deep},
			       {0}};
