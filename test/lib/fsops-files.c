/* SPDX-License-Identifier: GPL-2.0-or-later */
/* fsops: open files. */
#include "fsops.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static int show(int r)
{
	if (r >= 0)
		printf("%d", r);
	return r;
}

static const struct word open_flags[] = {{"rdonly", O_RDONLY},	     {"wronly", O_WRONLY},
					 {"rdwr", O_RDWR},	     {"creat", O_CREAT},
					 {"excl", O_EXCL},	     {"trunc", O_TRUNC},
					 {"append", O_APPEND},	     {"nofollow", O_NOFOLLOW},
					 {"directory", O_DIRECTORY}, {"tmpfile", O_TMPFILE},
					 {"path", O_PATH},	     {"nonblock", O_NONBLOCK},
					 {"direct", O_DIRECT},	     {"noatime", O_NOATIME},
					 {"sync", O_SYNC},	     {0}};

/* Prints only that it was opened: a descriptor's number says nothing. */
static int op_open(int argc, char **argv)
{
	int *fd = slot(argv[1]);
	mode_t mode = argc > 4 ? (mode_t)number(argv[4]) : 0666;
	int fresh = open(argv[2], flags(argv[3], open_flags), mode);

	if (fresh < 0)
		return -errno;
	if (*fd >= 0)
		close(*fd);
	*fd = fresh;
	printf("open");
	return 0;
}

static int op_close(int argc, char **argv)
{
	int *fd = slot(argv[1]), r = result(close(*fd));

	(void)argc;
	*fd = -1;
	return show(r);
}

/* read SLOT [OFFSET]: prints what is there, up to 200 bytes. */
static int op_read(int argc, char **argv)
{
	char buf[201];
	ssize_t n = argc > 2 ? pread(*slot(argv[1]), buf, 200, number(argv[2]))
			     : read(*slot(argv[1]), buf, 200);

	if (n < 0)
		return -errno;
	printf("%zd ", n);
	for (ssize_t i = 0; i < n; i++)
		putchar(buf[i] ? buf[i] : '.');
	return 0;
}

static int op_write(int argc, char **argv)
{
	size_t len;
	const char *data = bytes(argv[2], &len);

	return show(result(argc > 3 ? pwrite(*slot(argv[1]), data, len, number(argv[3]))
				    : write(*slot(argv[1]), data, len)));
}

static int op_truncate(int argc, char **argv)
{
	(void)argc;
	return show(result(truncate(argv[1], number(argv[2]))));
}

static int op_ftruncate(int argc, char **argv)
{
	(void)argc;
	return show(result(ftruncate(*slot(argv[1]), number(argv[2]))));
}

static int op_fallocate(int argc, char **argv)
{
	static const struct word modes[] = {{"0", 0},
					    {"keep", FALLOC_FL_KEEP_SIZE},
					    {"punch", FALLOC_FL_PUNCH_HOLE},
					    {"zero", FALLOC_FL_ZERO_RANGE},
					    {"collapse", FALLOC_FL_COLLAPSE_RANGE},
					    {"insert", FALLOC_FL_INSERT_RANGE},
					    {"unshare", FALLOC_FL_UNSHARE_RANGE},
					    {0}};

	(void)argc;
	return show(result(
	    fallocate(*slot(argv[1]), flags(argv[2], modes), number(argv[3]), number(argv[4]))));
}

static int op_seek(int argc, char **argv)
{
	static const struct word whences[] = {{"set", SEEK_SET},   {"cur", SEEK_CUR},
					      {"end", SEEK_END},   {"data", SEEK_DATA},
					      {"hole", SEEK_HOLE}, {0}};

	(void)argc;
	return show(result(lseek(*slot(argv[1]), number(argv[3]), flags(argv[2], whences))));
}

static int op_copy(int argc, char **argv)
{
	off_t from = number(argv[2]), to = number(argv[4]);

	(void)argc;
	return show(result(copy_file_range(*slot(argv[1]), &from, *slot(argv[3]), &to,
					   (size_t)number(argv[5]), 0)));
}

static int op_fsync(int argc, char **argv)
{
	(void)argc;
	return show(result(fsync(*slot(argv[1]))));
}

static int op_setfl(int argc, char **argv)
{
	(void)argc;
	return show(result(fcntl(*slot(argv[1]), F_SETFL, flags(argv[2], open_flags))));
}

/* The child ends by a signal for what is beyond the last page of the file. */
static void __attribute__((noreturn)) touch(int fd, off_t off, bool write)
{
	volatile char *p =
	    mmap(NULL, 1 << 20, write ? PROT_READ | PROT_WRITE : PROT_READ, MAP_SHARED, fd, 0);

	if (p == MAP_FAILED)
		_exit(errno);
	if (write)
		p[off] = 'm';
	else
		(void)p[off];
	_exit(0);
}

/* mmap SLOT read|write OFFSET: touches a byte in a shared mapping. */
static int op_mmap(int argc, char **argv)
{
	static const struct word how[] = {{"read", 0}, {"write", 1}, {0}};
	pid_t child = fork();
	int status;

	(void)argc;
	if (child == 0)
		touch(*slot(argv[1]), number(argv[3]), flags(argv[2], how));
	if (child < 0 || waitpid(child, &status, 0) < 0)
		return -errno;
	if (WIFSIGNALED(status)) {
		printf("SIG%s", sigabbrev_np(WTERMSIG(status)));
		return 0;
	}
	if (WEXITSTATUS(status))
		return -WEXITSTATUS(status);
	printf("mapped");
	return 0;
}

/* appenders PATH PROCESSES RECORDS: each writes its own lines with O_APPEND; none may be lost. */
static int op_appenders(int argc, char **argv)
{
	long long processes = number(argv[2]), records = number(argv[3]);
	char line[33];
	int status, bad = 0;

	(void)argc;
	for (long long p = 0; p < processes; p++) {
		if (fork())
			continue;
		int fd = open(argv[1], O_WRONLY | O_APPEND | O_CREAT, 0666);

		snprintf(line, sizeof(line), "%031lld\n", p);
		for (long long i = 0; i < records; i++) {
			if (write(fd, line, 32) != 32)
				_exit(1);
		}
		_exit(0);
	}
	while (wait(&status) > 0)
		bad |= status;
	return show(bad ? -EIO : 0);
}

const struct op ops_files[] = {{"open", "SLOT PATH FLAGS [MODE]", op_open},
			       {"close", "SLOT", op_close},
			       {"read", "SLOT [OFFSET]", op_read},
			       {"write", "SLOT BYTES [OFFSET]", op_write},
			       {"truncate", "PATH SIZE", op_truncate},
			       {"ftruncate", "SLOT SIZE", op_ftruncate},
			       {"fallocate", "SLOT MODE OFFSET LENGTH", op_fallocate},
			       {"seek", "SLOT WHENCE OFFSET", op_seek},
			       {"copy", "SLOT OFFSET SLOT OFFSET LENGTH", op_copy},
			       {"fsync", "SLOT", op_fsync},
			       {"setfl", "SLOT FLAGS", op_setfl},
			       {"mmap", "SLOT HOW OFFSET", op_mmap},
			       {"appenders", "PATH PROCESSES RECORDS", op_appenders},
			       {0}};
