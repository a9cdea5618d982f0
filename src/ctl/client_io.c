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

unsigned client_io(const struct file_status *f, char **who)
{
	*who = NULL;
	for (size_t i = 0; i < f->clients_count; i++) {
		long long pid = f->clients[i].pid;
		unsigned io = 0;

		if (pid <= 0)
			continue;
		io = (has_aio_ring(pid) ? CLIENT_AIO : 0) | (has_uring(pid) ? CLIENT_URING : 0);
		if (!io)
			continue;
		*who = text_format("process %lld (%s)", pid, f->clients[i].comm);
		return io;
	}
	return 0;
}
