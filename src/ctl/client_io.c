/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctl/client_io.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/util.h"
#include "ctl/judge.h"
#include "ctl/text.h"

/* io_setup(2) maps its ring as this file (fs/aio.c). */
static bool has_aio_ring(long long pid)
{
	_cleanup_free_ char *name = text_format("/proc/%lld/maps", pid);
	_cleanup_free_ char *line = NULL;
	FILE *f = fopen(name, "re");
	size_t room = 0;
	bool found = false;

	while (f && !found && getline(&line, &room, f) >= 0)
		found = strstr(line, "/[aio]");
	if (f)
		fclose(f);
	return found;
}

static bool has_uring(long long pid)
{
	_cleanup_free_ char *name = text_format("/proc/%lld/fd", pid);
	DIR *dir = opendir(name);
	bool found = false;
	struct dirent *e;

	while (dir && !found && (e = readdir(dir))) {
		char target[64];
		ssize_t n = readlinkat(dirfd(dir), e->d_name, target, sizeof(target) - 1);

		target[MAX(n, 0)] = '\0';
		found = strcmp(target, "anon_inode:[io_uring]") == 0;
	}
	if (dir)
		closedir(dir);
	return found;
}

/* Ids are those of the daemon's pid namespace: in ours the number may be another process's. */
static bool is_client(const struct file_client *c)
{
	_cleanup_free_ char *name = text_format("/proc/%lld/comm", (long long)c->pid);
	char comm[32] = "";
	FILE *f = fopen(name, "re");

	if (f) {
		if (fgets(comm, sizeof(comm), f))
			comm[strcspn(comm, "\n")] = '\0';
		fclose(f);
	}
	return c->pid > 0 && *comm && strcmp(comm, c->comm) == 0;
}

unsigned client_io(const struct file_status *f, char **who)
{
	*who = NULL;
	for (size_t i = 0; i < f->clients_count; i++) {
		long long pid = f->clients[i].pid;
		unsigned io = 0;

		if (!is_client(&f->clients[i]))
			continue;
		io = (has_aio_ring(pid) ? CLIENT_AIO : 0) | (has_uring(pid) ? CLIENT_URING : 0);
		if (!io)
			continue;
		*who = text_format("process %lld (%s)", pid, f->clients[i].comm);
		return io;
	}
	return 0;
}
