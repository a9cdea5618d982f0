/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the threads of a worker are doing, as /proc has it. */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "base/util.h"
#include "supervisor/supervisor_internal.h"

/* The state letter of proc(5)'s stat, which stands behind the name in parentheses; 0: gone, or a
 * negative errno. */
static int task_state(int dir, const char *tid)
{
	_cleanup_fd_ int fd = -1;
	char path[32], text[256], *end;
	ssize_t n;

	snprintf(path, sizeof(path), "%.15s/stat", tid);
	fd = openat(dir, path, O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
	if (n <= 0)
		return n == 0 || errno == ENOENT || errno == ESRCH ? 0 : -errno;
	text[n] = '\0';
	end = strrchr(text, ')');
	return end && end[1] == ' ' ? end[2] : -EPROTO;
}

static bool is_notifying(struct supervision *m, int tid)
{
	for (int i = 0; i < SUPERVISION_NOTIFYING; i++)
		if (atomic_load(&m->notifying[i]) == tid)
			return true;
	return false;
}

int tasks_look(pid_t pid, struct supervision *m, struct tasks *out)
{
	char path[32];
	struct dirent *e;
	int err = 0;
	DIR *d;

	*out = (struct tasks){0};
	snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
	d = opendir(path);
	if (!d)
		return -errno;
	while ((e = readdir(d))) {
		int tid = atoi(e->d_name);
		int state = tid > 0 ? task_state(dirfd(d), e->d_name) : 0;

		if (state < 0)
			err = state;
		if (state <= 0)
			continue;
		if (state == 'Z' || state == 'X') {
			out->leader_dead = out->leader_dead || tid == pid;
			continue;
		}
		out->alive++;
		out->notifying += is_notifying(m, tid);
		out->waiting_for_storage = out->waiting_for_storage || state == 'D';
		out->traced = out->traced || state == 't';
	}
	closedir(d);
	return err;
}

#define SLEEPERS 128

/* A thread in uninterruptible sleep, and how often it has slept before. */
struct sleeper {
	int tid;
	long sleeps;
};

static long sleeps_of(int tid)
{
	char path[48], line[128];
	long n = -1;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/self/task/%d/status", tid);
	f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "voluntary_ctxt_switches: %ld", &n) == 1)
			break;
	if (f)
		fclose(f);
	return n;
}

static int sleepers(struct sleeper *list)
{
	DIR *d = opendir("/proc/self/task");
	struct dirent *e;
	int n = 0;

	while (d && n < SLEEPERS && (e = readdir(d))) {
		int tid = atoi(e->d_name);

		if (tid > 0 && task_state(dirfd(d), e->d_name) == 'D')
			list[n++] = (struct sleeper){tid, sleeps_of(tid)};
	}
	if (d)
		closedir(d);
	return n;
}

bool tasks_wait_for_storage(void)
{
	struct sleeper before[SLEEPERS], now[SLEEPERS];
	int nbefore = sleepers(before), nnow;

	if (!nbefore)
		return false;
	usleep(500000);
	nnow = sleepers(now);
	for (int i = 0; i < nbefore; i++)
		for (int k = 0; k < nnow; k++)
			if (before[i].tid == now[k].tid && before[i].sleeps == now[k].sleeps)
				return true;
	return false;
}
