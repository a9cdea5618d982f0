/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <syslog.h>
#include <unistd.h>

/* Below PIPE_BUF, so that lines of several threads never mix in a pipe. */
#define LINE_SIZE 2048

static const struct level_text {
	const char *prefix;
	int priority;
} level_texts[] = {
    [LOG_LEVEL_ERROR] = {"error: ", LOG_ERR},
    [LOG_LEVEL_WARN] = {"warning: ", LOG_WARNING},
    [LOG_LEVEL_INFO] = {"", LOG_INFO},
    [LOG_LEVEL_DEBUG] = {"debug: ", LOG_DEBUG},
};

static const char *log_ident = "cachefs";
static enum log_target log_target = LOG_TO_STDERR;
static atomic_int log_threshold = LOG_LEVEL_INFO;

void log_open(const char *ident, enum log_target target, enum log_level level)
{
	log_ident = ident;
	log_target = target;
	log_level_set(level);
	if (target == LOG_TO_SYSLOG)
		openlog(ident, LOG_PID, LOG_DAEMON);
}

void log_release(void)
{
	if (log_target != LOG_TO_SYSLOG)
		return;
	closelog(); /* forgets the name as well */
	openlog(log_ident, LOG_PID, LOG_DAEMON);
}

enum log_level log_level_get(void)
{
	return (enum log_level)atomic_load_explicit(&log_threshold, memory_order_relaxed);
}

void log_level_set(enum log_level level)
{
	atomic_store_explicit(&log_threshold, (int)level, memory_order_relaxed);
}

/* File names come from clients: one of them must not be able to forge a second line. */
static void make_one_line(char *text)
{
	for (unsigned char *p = (unsigned char *)text; *p; p++)
		if (*p < ' ' || *p == 0x7f)
			*p = '?';
}

/* Appends to BUF of SIZE bytes, of which LEN are used; a message that does not fit ends in "...".
 */
static size_t append_message(char *buf, size_t size, size_t len, const char *fmt, va_list args)
{
	int wanted = vsnprintf(buf + len, size - len, fmt, args);

	if (wanted < 0)
		wanted = snprintf(buf + len, size - len, "(message could not be formatted)");
	make_one_line(buf + len);
	if ((size_t)wanted < size - len)
		return len + (size_t)wanted;
	memcpy(buf + size - sizeof("..."), "...", sizeof("..."));
	return size - 1;
}

static void write_stderr(enum log_level level, const char *fmt, va_list args)
{
	char line[LINE_SIZE];
	int head = snprintf(line, sizeof(line) / 2, "%s: %s", log_ident, level_texts[level].prefix);
	size_t len = (size_t)head < sizeof(line) / 2 ? (size_t)head : sizeof(line) / 2 - 1;

	len = append_message(line, sizeof(line) - 1, len, fmt, args);
	line[len++] = '\n';
	while (write(STDERR_FILENO, line, len) < 0 && errno == EINTR)
		;
}

static void write_syslog(enum log_level level, const char *fmt, va_list args)
{
	char line[LINE_SIZE];

	append_message(line, sizeof(line), 0, fmt, args);
	syslog(level_texts[level].priority, "%s%s", level_texts[level].prefix, line);
}

void log_at(enum log_level level, const char *fmt, ...)
{
	int saved = errno;
	va_list args;

	if (level > log_level_get())
		return;
	va_start(args, fmt);
	if (log_target == LOG_TO_SYSLOG)
		write_syslog(level, fmt, args);
	else
		write_stderr(level, fmt, args);
	va_end(args);
	errno = saved;
}
