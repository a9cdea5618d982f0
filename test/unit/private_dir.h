/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Tests of our own directory: a backing directory for it, and other processes that want it. */
#ifndef CACHEFS_TEST_PRIVATE_DIR_H
#define CACHEFS_TEST_PRIVATE_DIR_H

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/util.h"
#include "durability/private_dir.h"

static char root[64];
static int root_fd;
static struct private_dir *p;

static void setup(void)
{
	strcpy(root, "/var/tmp/cachefs-unit.XXXXXX");
	cr_assert_not_null(mkdtemp(root));
	root_fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cr_assert_geq(root_fd, 0);
	cr_assert_eq(private_dir_create(root_fd, &p), 0);
}

static void teardown(void)
{
	char command[128];

	private_dir_destroy(p);
	close(root_fd);
	snprintf(command, sizeof(command), "rm -rf %s", root);
	cr_assert_eq(system(command), 0);
}

TestSuite(private_dir, .init = setup, .fini = teardown);

static bool exists(const char *name)
{
	return faccessat(root_fd, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

static void make_file(const char *name)
{
	int fd = openat(root_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	cr_assert_geq(fd, 0);
	close(fd);
}

static void expect_text(const char *name, const char *text)
{
	size_t len = 0;
	char *got = NULL;

	cr_assert_eq(private_dir_read(p, name, 1000, &got, &len), 0);
	cr_assert_str_eq(got, text);
	cr_assert_eq(len, strlen(text));
	free(got);
}

static int write_text(const char *text)
{
	return private_dir_write(p, "f", text, strlen(text));
}

/* The exit status of CHILD, run with a private_dir of its own. */
static pid_t start(int (*child)(struct private_dir *own, int arg), int arg)
{
	pid_t pid = fork();

	if (pid == 0) {
		struct private_dir *own;
		int fd = open(root, O_RDONLY | O_DIRECTORY);

		_exit(private_dir_create(fd, &own) ? 99 : child(own, arg));
	}
	cr_assert_gt(pid, 0);
	return pid;
}

static int ended(pid_t pid)
{
	int status;

	cr_assert_eq(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

#endif
