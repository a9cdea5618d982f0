/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"

/* A socket keeps the bounds of each write(2), so that a message in two pieces is seen. */
static int capture(void)
{
	int ends[2];

	cr_assert_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, ends), 0);
	cr_assert_eq(dup2(ends[1], STDERR_FILENO), STDERR_FILENO);
	close(ends[1]);
	return ends[0];
}

/* The next write, "" when there is none. */
static const char *next_write(int fd)
{
	static char buf[65536];
	ssize_t len = read(fd, buf, sizeof(buf) - 1);

	buf[len > 0 ? len : 0] = '\0';
	return buf;
}

static const struct expected {
	enum log_level level;
	char text[40];
} lines[] = {
    {LOG_LEVEL_ERROR, "cachefs: error: 7 disks\n"},
    {LOG_LEVEL_WARN, "cachefs: warning: 7 disks\n"},
    {LOG_LEVEL_INFO, "cachefs: 7 disks\n"},
    {LOG_LEVEL_DEBUG, "cachefs: debug: 7 disks\n"},
};

ParameterizedTestParameters(log, levels)
{
	return cr_make_param_array(struct expected, (void *)lines, sizeof(lines) / sizeof(lines[0]),
				   NULL);
}

ParameterizedTest(struct expected *line, log, levels)
{
	int fd = capture();

	for (enum log_level most = LOG_LEVEL_ERROR; most <= LOG_LEVEL_DEBUG; most++) {
		log_open("cachefs", LOG_TO_STDERR, most);
		cr_assert_eq(log_level_get(), most);
		log_at(line->level, "%d %s", 7, "disks");
		cr_assert_str_eq(next_write(fd), line->level <= most ? line->text : "");
		cr_assert_str_eq(next_write(fd), "");
	}
}

Test(log, level_changes_at_run_time)
{
	int fd = capture();

	log_open("cachefs", LOG_TO_STDERR, LOG_LEVEL_WARN);
	log_debug("first");
	log_info("second");
	cr_assert_str_eq(next_write(fd), "");
	log_level_set(LOG_LEVEL_DEBUG);
	log_debug("third");
	cr_assert_str_eq(next_write(fd), "cachefs: debug: third\n");
}

Test(log, errno_is_preserved_and_readable)
{
	int fd = capture();

	log_open("cachefs", LOG_TO_STDERR, LOG_LEVEL_INFO);
	errno = ENOSPC;
	log_warn("image: %m");
	cr_assert_eq(errno, ENOSPC);
	cr_assert_str_eq(next_write(fd), "cachefs: warning: image: No space left on device\n");
	close(STDERR_FILENO);
	errno = EIO;
	log_warn("nobody reads this");
	cr_assert_eq(errno, EIO);
}

Test(log, names_of_files_forge_no_line)
{
	int fd = capture();

	log_open("cachefs", LOG_TO_STDERR, LOG_LEVEL_INFO);
	log_info("%s", "a\ncachefs: error: b\x1b[0m\x7f k\xc3\xb6ln");
	cr_assert_str_eq(next_write(fd), "cachefs: a?cachefs: error: b?[0m? k\xc3\xb6ln\n");
}

Test(log, long_messages_are_cut)
{
	int fd = capture();
	char name[10000];
	const char *line;
	size_t len;

	memset(name, 'x', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	log_open("cachefs", LOG_TO_STDERR, LOG_LEVEL_INFO);
	log_info("%s", name);
	line = next_write(fd);
	len = strlen(line);
	cr_assert(len > 1000 && len < 4096, "%zu bytes", len);
	cr_assert_str_eq(line + len - 5, "x...\n");
	cr_assert_null(memchr(line, '\n', len - 1));

	log_open(name, LOG_TO_STDERR, LOG_LEVEL_INFO);
	log_info("tail");
	line = next_write(fd);
	cr_assert(strlen(line) < 4096);
	cr_assert_str_eq(line + strlen(line) - 6, "xtail\n");
}

/* Cuts at every length around the buffer's end; the sanitizers watch. */
Test(log, no_length_overruns)
{
	int fd = capture();
	char name[2200];

	log_open("cachefs", LOG_TO_STDERR, LOG_LEVEL_INFO);
	for (size_t len = 1900; len < sizeof(name); len++) {
		const char *line;

		memset(name, 'x', len);
		name[len] = '\0';
		log_info("%s", name);
		line = next_write(fd);
		cr_assert_eq(line[strlen(line) - 1], '\n');
		if (!strstr(line, "..."))
			cr_assert_eq(strlen(line), len + strlen("cachefs: \n"));
	}
}

/* These stand in for the C library's, so that nothing has to read /dev/log. */
void openlog(const char *ident, int option, int facility);
void syslog(int priority, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void __syslog_chk(int priority, int flag, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

static const char *opened_ident;
static int last_priority = -1;
static char last_text[4096];

void openlog(const char *ident, int option, int facility)
{
	(void)option, (void)facility;
	opened_ident = ident;
}

void syslog(int priority, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vsnprintf(last_text, sizeof(last_text), fmt, args);
	va_end(args);
	last_priority = priority;
}

void __syslog_chk(int priority, int flag, const char *fmt, ...)
{
	va_list args;

	(void)flag;
	va_start(args, fmt);
	vsnprintf(last_text, sizeof(last_text), fmt, args);
	va_end(args);
	last_priority = priority;
}

Test(log, background_goes_to_syslog)
{
	int fd = capture();

	log_open("cachefs", LOG_TO_SYSLOG, LOG_LEVEL_WARN);
	cr_assert_str_eq(opened_ident, "cachefs");
	log_info("too little");
	cr_assert_eq(last_priority, -1);
	/* Priorities of RFC 5424: 4 is a warning, 3 an error. */
	log_warn("100%% of %s\n", "a%sb");
	cr_assert_eq(last_priority, 4);
	cr_assert_str_eq(last_text, "warning: 100% of a%sb?");
	log_error("x");
	cr_assert_eq(last_priority, 3);
	cr_assert_str_eq(last_text, "error: x");
	cr_assert_str_eq(next_write(fd), "");
}

#define THREADS 4
#define MESSAGES 50

static void *talk(void *name)
{
	for (int i = 0; i < MESSAGES; i++)
		log_info("%s", (const char *)name);
	return NULL;
}

Test(log, threads_do_not_mix)
{
	static char names[THREADS][600];
	pthread_t threads[THREADS];
	FILE *file = tmpfile();
	int count = 0;
	char line[2048];

	cr_assert_not_null(file);
	cr_assert_eq(fcntl(fileno(file), F_SETFL, O_APPEND), 0);
	cr_assert_eq(dup2(fileno(file), STDERR_FILENO), STDERR_FILENO);
	log_open("cachefs", LOG_TO_STDERR, LOG_LEVEL_INFO);
	for (int i = 0; i < THREADS; i++) {
		memset(names[i], 'a' + i, sizeof(names[i]) - 1);
		cr_assert_eq(pthread_create(&threads[i], NULL, talk, names[i]), 0);
	}
	for (int i = 0; i < THREADS; i++)
		cr_assert_eq(pthread_join(threads[i], NULL), 0);
	rewind(file);
	for (; fgets(line, sizeof(line), file); count++) {
		const char *text = line + strlen("cachefs: ");

		cr_assert_eq(strncmp(line, "cachefs: ", 9), 0);
		cr_assert_eq(strspn(text, (char[]){*text, '\0'}), sizeof(names[0]) - 1);
	}
	cr_assert_eq(count, THREADS * MESSAGES);
	fclose(file);
}
