/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which descriptors outlive a worker: all that it had open are still there when it is dead. */
#include <dirent.h>
#include <stdlib.h>
#include <string.h>

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

void server_close_leftovers(struct server *s)
{
	struct set set;
	unsigned closed = 0;
	int err = open_descriptors(&set.open, &set.n);

	if (err) {
		log_warn("descriptors of the process that served before stay open: %s",
			 strerror(-err));
		return;
	}
	fs_shared_each_fd(s->shared, is_recorded, &set);
	for (int fd = 0; fd < set.n; fd++) {
		if (!set.open[fd] || (fd < s->nkept && s->kept[fd]))
			continue;
		close(fd);
		closed++;
	}
	free(set.open);
	log_debug("closed %u descriptors of the process that served before", closed);
}
