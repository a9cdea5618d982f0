/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One line of log each, to stderr (in front) or syslog(3) (in the background).
 * Thread-safe: a message is formatted into one buffer and written by one call.
 */
#ifndef CACHEFS_BASE_LOG_H
#define CACHEFS_BASE_LOG_H

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARN, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };
enum log_target { LOG_TO_STDERR, LOG_TO_SYSLOG };

/* Call before threads exist. IDENT must outlive the process's last message. */
void log_open(const char *ident, enum log_target target, enum log_level level);
/*
 * Closes the socket of syslog(3), which a message opens by itself: for a process whose descriptors
 * are another's, too, which may close what it does not know. No other thread logs.
 */
void log_release(void);
enum log_level log_level_get(void);
/* May be called at any time (remount changes the level). */
void log_level_set(enum log_level level);

/* errno is preserved. No newline at the end of FMT. */
void log_at(enum log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#define log_error(...) log_at(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warn(...) log_at(LOG_LEVEL_WARN, __VA_ARGS__)
#define log_info(...) log_at(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...)                                                                             \
	do {                                                                                       \
		if (log_level_get() >= LOG_LEVEL_DEBUG)                                            \
			log_at(LOG_LEVEL_DEBUG, __VA_ARGS__);                                      \
	} while (0)

#endif
