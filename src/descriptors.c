/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which descriptors outlive a worker: all that it had open are still there when it is dead. */
#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/log.h"
#include "base/util.h"
#include "fs/shared.h"
#include "server_internal.h"

/* Numbers of all open descriptors but the one that this takes, as a set by number. */
static int open_descriptors(bool **out, int *size)
{
	DIR *d = opendir("/proc/self/fd");
	bool *set = NULL;
	int n = 0, err = d ? 0 : -errno;
	struct dirent *e;

	while (d && (e = readdir(d))) {
		int fd = atoi(e->d_name);

		if (e->d_name[0] == '.' || fd == dirfd(d))
			continue;
		if (fd >= n) {
			int room = MAX(2 * n, fd + 64);
			bool *grown = realloc(set, (size_t)room);

			if (!grown) {
				err = -ENOMEM;
				break;
			}
			memset(grown + n, 0, (size_t)(room - n));
			set = grown;
			n = room;
		}
		set[fd] = true;
	}
	if (d)
		closedir(d);
	if (err) {
		free(set);
		return err;
	}
	*out = set;
	*size = n;
	return 0;
}

struct set {
	bool *open;
	int n;
};

static void is_recorded(void *arg, int fd)
{
	struct set *s = arg;

	if (fd >= 0 && fd < s->n)
		s->open[fd] = false;
}

int server_keep_descriptors(struct server *s)
{
	struct set set;
	int err = open_descriptors(&set.open, &set.n);

	if (err)
		return err;
	fs_shared_each_fd(s->shared, is_recorded, &set);
	s->kept = set.open;
	s->nkept = set.n;
	return 0;
}

/* ---- leftovers ---- */

/* The highest number that is recorded, too. */
static void find_highest(void *arg, int fd)
{
	int *highest = arg;

	*highest = MAX(*highest, fd);
}

static void keep(void *arg, int fd)
{
	struct set *s = arg;

	if (fd >= 0 && fd < s->n)
		s->open[fd] = true;
}

/* All between two that stay at once: to list thousands in /proc takes longer than all the rest. */
static int close_gaps(const struct set *stay)
{
	int fd = 0, err = 0;

	while (fd < stay->n && !err) {
		int first = fd;

		while (fd < stay->n && !stay->open[fd])
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
	stay.open = calloc((size_t)stay.n + 1, sizeof(*stay.open));
	if (stay.open) {
		memcpy(stay.open, s->kept, (size_t)s->nkept * sizeof(*stay.open));
		fs_shared_each_fd(s->shared, keep, &stay);
		err = close_gaps(&stay);
	}
	if (!stay.open || err)
		log_warn("descriptors of the process that served before stay open: %s",
			 strerror(stay.open ? -err : ENOMEM));
	free(stay.open);
}
