/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which descriptors outlive a worker: all that it had open are still there when it is dead. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/log.h"
#include "base/util.h"
#include "fs/shared.h"
#include "server_internal.h"

struct set {
	bool *in;
	int n;
};

static void add(void *arg, int fd)
{
	struct set *s = arg;

	if (fd >= 0 && fd < s->n)
		s->in[fd] = true;
}

/* No descriptor has a number that is not below this; or a negative errno. */
static int table_size(void)
{
	_cleanup_fd_ int fd = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
	char text[4096];
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
	const char *at;
	int size;

	if (n < 0)
		return -errno;
	text[n] = '\0';
	at = strstr(text, "FDSize:");
	return at && sscanf(at, "FDSize:%d", &size) == 1 && size > 0 ? size : -EPROTO;
}

/*
 * Those that are recorded are not asked for: a program that takes over has thousands, and clients
 * wait. (To list all in /proc takes longer than all the rest.)
 */
int server_keep_descriptors(struct server *s)
{
	struct set recorded = {.n = table_size()};

	if (recorded.n < 0)
		return recorded.n;
	recorded.in = calloc((size_t)recorded.n, sizeof(*recorded.in));
	s->kept = calloc((size_t)recorded.n, sizeof(*s->kept));
	if (!recorded.in || !s->kept) {
		free(recorded.in);
		return -ENOMEM;
	}
	fs_shared_each_fd(s->shared, add, &recorded);
	for (int fd = 0; fd < recorded.n; fd++)
		s->kept[fd] = !recorded.in[fd] && fcntl(fd, F_GETFD) >= 0;
	s->nkept = recorded.n;
	free(recorded.in);
	return 0;
}

void server_forget_descriptor(struct server *s, int fd)
{
	if (fd >= 0 && fd < s->nkept)
		s->kept[fd] = false;
}

/* ---- leftovers ---- */

/* The highest number that is recorded, too. */
static void find_highest(void *arg, int fd)
{
	int *highest = arg;

	*highest = MAX(*highest, fd);
}

/* All between two that stay at once. */
static int close_gaps(const struct set *stay)
{
	int fd = 0, err = 0;

	while (fd < stay->n && !err) {
		int first = fd;

		while (fd < stay->n && !stay->in[fd])
			fd++;
		if (fd > first)
			err = sysret((int)syscall(SYS_close_range, first, fd - 1, 0));
		fd++;
	}
	return err ? err : sysret((int)syscall(SYS_close_range, stay->n, ~0u, 0));
}

void server_close_leftovers(struct server *s)
{
	struct set stay = {.n = s->nkept};
	int highest = -1, err = 0;

	fs_shared_each_fd(s->shared, find_highest, &highest);
	stay.n = MAX(stay.n, highest + 1);
	stay.in = calloc((size_t)stay.n + 1, sizeof(*stay.in));
	if (stay.in) {
		memcpy(stay.in, s->kept, (size_t)s->nkept * sizeof(*stay.in));
		fs_shared_each_fd(s->shared, add, &stay);
		err = close_gaps(&stay);
	}
	if (!stay.in || err)
		log_warn("descriptors of the process that served before stay open: %s",
			 strerror(stay.in ? -err : ENOMEM));
	free(stay.in);
}
