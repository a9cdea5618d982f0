/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the threads of a worker are doing, as /proc has it. */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "base/util.h"
#include "supervisor/supervisor_internal.h"

/* The state letter of proc(5)'s stat, which stands behind the name in parentheses; 0: gone. */
static char task_state(int dir, const char *tid)
{
	_cleanup_fd_ int fd = -1;
	char path[32], text[256], *end;
	ssize_t n;

	snprintf(path, sizeof(path), "%.15s/stat", tid);
	fd = openat(dir, path, O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
	if (n <= 0)
		return 0;
	text[n] = '\0';
	end = strrchr(text, ')');
	return end && end[1] == ' ' ? end[2] : 0;
}

static bool is_notifying(struct supervision *m, int tid)
{
	for (int i = 0; i < SUPERVISION_NOTIFYING; i++)
		if (atomic_load(&m->notifying[i]) == tid)
			return true;
	return false;
}

void tasks_look(pid_t pid, struct supervision *m, struct tasks *out)
{
	char path[32];
	struct dirent *e;
	DIR *d;

	*out = (struct tasks){0};
	snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
	d = opendir(path);
	while (d && (e = readdir(d))) {
		int tid = atoi(e->d_name);
		char state = tid > 0 ? task_state(dirfd(d), e->d_name) : 0;

		if (!state)
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
	if (d)
		closedir(d);
}
