/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the threads fight for: tokens, names of which one thread at a time has each, and a log to
 * which all append. A name that was made twice, or by a request whose client was told that it
 * failed, belongs to nobody afterwards, and stays. See namestorm.h.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "namestorm.h"

#define RECORD 48 /* bytes, of the log */

static atomic_int holder[TOKENS]; /* thread + 1 */

bool shared_has_name(const char *name)
{
	return !strncmp(name, "token-", 6) || !strcmp(name, "log");
}

static void token_path(int token, char *path, size_t len)
{
	snprintf(path, len, SHARED "/token-%d", token);
}

/* By a way of its own for each: 0 or -1 and errno. */
static int token_take(struct worker *w, int token, const char *path)
{
	char own[64];
	int fd;

	switch (token) {
	case 0:
		return mkdirat(set.root_fd, path, 0700);
	case 1:
		fd = openat(set.root_fd, path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
		if (fd >= 0)
			close(fd);
		return fd < 0 ? -1 : 0;
	case 2:
		return symlinkat("token", set.root_fd, path);
	default: /* the last one is the thread's own file, which it makes for this */
		snprintf(own, sizeof(own), "%s/own", w->own->top);
		if (mknodat(set.root_fd, own, S_IFREG | 0600, 0) && errno != EEXIST)
			wrong(w, "mknod of %s: %s", own, strerror(errno));
		return renameat2(set.root_fd, own, set.root_fd, path, RENAME_NOREPLACE);
	}
}

/* The one that has the token gives it back, which must succeed. */
static void token_give(struct worker *w)
{
	char path[64];
	int token = w->holds;

	token_path(token, path, sizeof(path));
	say(w, "give back %s", path);
	w->holds = -1;
	atomic_store(&holder[token], 0);
	expect(w, unlinkat(set.root_fd, path, token ? 0 : AT_REMOVEDIR), 0);
}

static bool op_token(struct worker *w)
{
	char path[64];
	int token = (int)rnd(w, set.exchange ? TOKENS : TOKENS - 1), before;

	if (w->holds >= 0) {
		token_give(w);
		return true;
	}
	token_path(token, path, sizeof(path));
	say(w, "take %s", path);
	if (token_take(w, token, path)) {
		expect(w, -1, EEXIST);
		return true;
	}
	before = atomic_exchange(&holder[token], (int)w->id + 1);
	expect(w, 0, 0);
	if (before)
		wrong(w, "%s was taken although thread %d has it", path, before - 1);
	w->holds = token;
	return true;
}

static bool op_log(struct worker *w)
{
	char record[RECORD];

	memset(record, ' ', RECORD);
	record[snprintf(record, RECORD, "thread %u record %" PRIu64, w->id, w->appended)] = ' ';
	record[RECORD - 1] = '\n';
	say(w, "append record %" PRIu64 " to " APPENDED, w->appended);
	expect(w, write(w->log_fd, record, RECORD), 0);
	w->appended++;
	return true;
}

void shared_start(struct worker *w)
{
	w->holds = -1;
	w->log_fd = openat(set.root_fd, APPENDED, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
	if (w->log_fd < 0)
		die("cannot open", APPENDED);
}

/* Each record once, and each thread's in their order. */
static void check_log(struct worker *workers, const char *root)
{
	uint64_t next[MAX_THREADS] = {0}, n;
	char path[PATH_LEN], record[RECORD];
	struct worker *w = &workers[0];
	unsigned int thread;
	ssize_t got;
	int fd;

	snprintf(path, sizeof(path), "%s/" APPENDED, root);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		wrong(w, "open of %s: %s", path, strerror(errno));
	for (uint64_t at = 0; (got = pread(fd, record, RECORD, (off_t)at)) > 0; at += RECORD) {
		record[RECORD - 1] = '\0';
		if (got != RECORD ||
		    sscanf(record, "thread %u record %" SCNu64, &thread, &n) != 2 ||
		    thread >= set.threads)
			wrong(w, "%s has no record at offset %" PRIu64 ": '%.48s'", path, at,
			      record);
		if (n != next[thread]++)
			wrong(w,
			      "%s has record %" PRIu64 " of thread %u at offset %" PRIu64
			      ", where record %" PRIu64 " should be",
			      path, n, thread, at, next[thread] - 1);
	}
	close(fd);
	for (unsigned int i = 0; i < set.threads; i++)
		if (next[i] != workers[i].appended)
			wrong(w, "%s has %" PRIu64 " records of thread %u, not %" PRIu64, path,
			      next[i], i, workers[i].appended);
}

void shared_check(struct worker *workers, const char *root)
{
	char path[2 * PATH_LEN], token[64];
	struct stat st;

	for (unsigned int i = 0; i < set.threads; i++)
		if (workers[i].holds >= 0)
			token_give(&workers[i]);
	for (int t = 0; t < (int)TOKENS; t++) {
		token_path(t, token, sizeof(token));
		snprintf(path, sizeof(path), "%s/%s", root, token);
		if (!lstat(path, &st) || errno != ENOENT)
			wrong(&workers[0], "%s is there, and nobody has it", path);
	}
	check_log(workers, root);
}

const struct op_type shared_ops[] = {{"token", 40, op_token}, {"log", 20, op_log}, {NULL, 0, NULL}};
