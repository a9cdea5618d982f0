/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What is known of open files. Whoever looks at them must not change or delay them: what stands in
 * memory is copied under the locks that it has anyway, and a file is asked for its size and pages
 * when it is in nobody's way any more, open or closed. No gate is taken, and no lock is held across
 * a system call.
 */
#include "observe/status.h"

#include <stdio.h>
#include <string.h>
#include <utlist.h>

#include "config/rules.h"
#include "fs/internal.h"
#include "fs/pages.h"

#define PATH_SPACE 65536 /* bytes; a path through mkdirat(2) may be longer than PATH_MAX */

/* Clients have many files open: each is asked for its name once a report. */
#define COMMS 64
struct comms {
	struct {
		int32_t pid;
		char comm[16];
	} known[COMMS];
};

static void comm_read(int32_t pid, char comm[16])
{
	_cleanup_fd_ int fd = -1;
	char path[32];
	ssize_t n;

	memset(comm, 0, 16);
	snprintf(path, sizeof(path), "/proc/%d/comm", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? 0 : read(fd, comm, 15);
	if (n > 0 && comm[n - 1] == '\n')
		comm[n - 1] = 0;
}

static void comm_get(struct comms *c, int32_t pid, char comm[16])
{
	unsigned i = (unsigned)pid % COMMS;

	if (!pid)
		return;
	if (c->known[i].pid != pid) {
		c->known[i].pid = pid;
		comm_read(pid, c->known[i].comm);
	}
	memcpy(comm, c->known[i].comm, 16);
}

/* ---- what stands in memory ---- */

_Static_assert(CACHEFS_DIRECT == 1 && CACHEFS_WRITEBACK == 2 && CACHEFS_NO_FLUSH == 4,
	       "switches_pack() gives these bits");

/* With F->lock held. OTHER is left out. */
static enum cachefs_kernel_path kernel_path_of(struct fs *fs, struct file *f,
					       const struct handle *other)
{
	const struct fs_config *c = &fs->config;
	struct switches sw = f->mode.switches;
	struct plan plan = {0};
	bool any = false, meant = false;
	struct handle *h;

	DL_FOREACH(f->handles, h)
	{
		if (h == other)
			continue;
		if (h->plan.kernel)
			return CACHEFS_KERNEL_PATH_USED;
		any = true;
		plan = file_plan_open(fs, f, f->mode.switches, h->rec->client_flags);
		meant = meant || plan.kernel;
	}
	if (!any)
		return CACHEFS_KERNEL_PATH_CLOSED;
	if (c->kernel_path == KERNEL_PATH_NEVER || file_holds_writers(f))
		return CACHEFS_KERNEL_PATH_NEVER;
	if (!c->caps.kernel_path)
		return CACHEFS_KERNEL_PATH_UNAVAILABLE;
	if (!plan.backing_id)
		return CACHEFS_KERNEL_PATH_MODE;
	if (f->kernel_refused)
		return CACHEFS_KERNEL_PATH_REFUSED;
	if (f->backing_id > 0 && !meant)
		return CACHEFS_KERNEL_PATH_CLIENT;
	/* writethrough without the sync attribute */
	if (f->backing_id > 0 && !sw.writeback && !fs->sync_attr)
		return CACHEFS_KERNEL_PATH_UNAVAILABLE;
	return CACHEFS_KERNEL_PATH_EARLIER;
}

/*
 * With F->lock held, which keeps its handles' descriptors open: one of our own of the same open, or
 * -1. Opening the file again would take ten times as long.
 */
static int descriptor_of(const struct file *f)
{
	return f->handles ? fcntl(f->handles->fd, F_DUPFD_CLOEXEC, 3) : -1;
}

/* With F->lock held. */
static void clients_of(const struct file *f, const struct handle *other, struct cachefs_status *s)
{
	const struct handle *h;

	DL_FOREACH(f->handles, h)
	{
		if (h == other)
			continue;
		s->opens++;
		s->writers += h->can_write;
		s->clients_total++;
		if (s->clients_shown == CACHEFS_CLIENTS_MAX)
			continue;
		s->clients[s->clients_shown++] =
		    (struct cachefs_client){.pid = h->rec->pid,
					    .flags = (uint32_t)h->rec->client_flags,
					    .kernel_path = h->plan.kernel};
	}
}

static void counters_of(const struct stats *sum, struct cachefs_status *s)
{
#define FIELD(field, help) s->field = sum->counters[STATS_##field];
	CACHEFS_COUNTERS(FIELD)
#undef FIELD
	s->reads = sum->latencies[STATS_READ];
	s->writes = sum->latencies[STATS_WRITE];
	s->flushes = sum->latencies[STATS_FLUSH];
}

/* A descriptor of the file, or -1. */
static int file_look(struct fs *fs, struct file *f, const struct handle *other,
		     const struct stats *sum, struct cachefs_status *s)
{
	int fd;

	*s = (struct cachefs_status){.checkpoint_age_s = checkpointer_age(f),
				     .flushing = atomic_load(&f->flushing) != 0,
				     .tainted = unsafe_check(fs, f->node) == -EUCLEAN,
				     .error = -flush_error(&f->flush),
				     .direct_align = f->dio_error ? 0 : f->dio_offset};
	pthread_mutex_lock(&f->lock);
	s->switches = switches_pack(f->mode.switches);
	s->origin = f->mode.origin;
	s->pending = !switches_equal(f->mode.switches, f->wanted.switches);
	if (s->pending) {
		s->pending_switches = switches_pack(f->wanted.switches);
		s->pending_origin = f->wanted.origin;
	}
	s->kernel_path = kernel_path_of(fs, f, other);
	clients_of(f, other, s);
	fd = descriptor_of(f);
	pthread_mutex_unlock(&f->lock);
	if (fd < 0 && s->flushing) /* closed by all but us */
		fd = fs_reopen(fs, f->path.fd, O_RDONLY);
	counters_of(sum, s);
	return fd;
}

/* ---- what has to be asked for ---- */

static void file_ask(struct fs *fs, int fd, struct comms *comms, struct cachefs_status *s,
		     uint64_t *inode)
{
	struct pages pages;
	struct statx st;

	s->size = CACHEFS_UNKNOWN;
	/* what stands in memory is right here: the file is open */
	if (!statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_SIZE | STATX_NLINK | STATX_INO,
		   &st)) {
		s->size = st.stx_size;
		s->deleted = st.stx_nlink == 0;
		*inode = st.stx_ino;
	}
	fs_pages(fs, fd, &pages);
	s->cached_bytes = pages.cached;
	s->dirty_bytes = pages.dirty;
	s->writeback_bytes = pages.writeback;
	for (uint32_t i = 0; i < s->clients_shown; i++)
		comm_get(comms, s->clients[i].pid, s->clients[i].comm);
}

int fs_file_status(struct fs *fs, uint64_t fh, struct cachefs_status *out)
{
	struct handle *h = handle_get(fs, fh);
	struct stats sum = {0};
	struct comms comms = {0};
	_cleanup_fd_ int fd = -1;
	uint64_t inode;

	if (!h || !h->file)
		return -ENOTTY;
	if (!h->can_read)
		return -EBADF;
	stats_sum(&h->file->stats, &sum);
	fd = file_look(fs, h->file, h, &sum, out);
	file_ask(fs, fd, &comms, out, &inode);
	return 0;
}

/* ---- all of them ---- */

/* Keeps a file's node and a descriptor, but not the file open for its clients. */
struct kept {
	struct node *node;
	int fd;
};

/* Everything that stands in memory, of a moment as short as can be. */
static int files_look(struct fs *fs, struct status *out, struct kept **kept)
{
	struct open_files all;
	int err = fs_open_files(fs, &all);

	if (err)
		return err;
	out->files = calloc(all.count + 1, sizeof(*out->files));
	*kept = calloc(all.count + 1, sizeof(**kept));
	for (size_t i = 0; out->files && *kept && i < all.count; i++) {
		struct file *f = all.files[i];
		struct kept *k = &(*kept)[out->count];
		struct cachefs_status *s = &out->files[out->count].s;
		struct stats sum = {0};

		stats_sum(&f->stats, &sum);
		stats_add(&sum, &out->mount.total);
		k->fd = file_look(fs, f, NULL, &sum, s);
		/* being opened or closed, or held by us */
		if (!s->opens && !s->flushing)
			continue;
		node_ref(fs, k->node = f->node);
		out->count++;
	}
	/* last, while none of the others can retire: so each file is in the sum once */
	stats_retired(&out->mount.total);
	fs_open_files_put(fs, &all);
	return out->files && *kept ? 0 : -ENOMEM;
}

static int files_ask(struct fs *fs, struct status *out, struct kept *kept)
{
	_cleanup_free_ char *path = malloc(PATH_SPACE);
	_cleanup_free_ struct comms *comms = calloc(1, sizeof(*comms));
	int err = path && comms ? 0 : -ENOMEM;

	for (size_t i = 0; i < out->count; i++) {
		struct status_file *f = &out->files[i];

		if (!err) {
			if (fs_node_path(fs, kept[i].node, path, PATH_SPACE) < 0)
				*path = 0;
			f->path = strdup(path);
			err = f->path ? 0 : -ENOMEM;
			file_ask(fs, kept[i].fd, comms, &f->s, &f->inode);
		}
		cleanup_fd(&kept[i].fd);
		node_unref(fs, kept[i].node);
	}
	return err;
}

static int by_path(const void *a, const void *b)
{
	const struct status_file *x = a, *y = b;
	int order = strcmp(x->path, y->path);

	return order ? order : (x->inode > y->inode) - (x->inode < y->inode);
}

int fs_status(struct fs *fs, struct status *out)
{
	struct rules *rules = fs_rules(fs);
	struct kept *kept = NULL;
	int err;

	*out = (struct status){0};
	out->mount.rules = (unsigned)rules_count(rules);
	rules_unref(rules);
	out->mount.switches = switches_pack(fs_switches(fs));
	out->mount.sync_error = atomic_load(&fs->shared->state->sync_error);
	if (fs->config.describe)
		fs->config.describe(fs->config.describe_arg, &out->mount);
	err = files_look(fs, out, &kept);
	if (!err)
		err = files_ask(fs, out, kept);
	free(kept);
	if (err) {
		status_free(out);
		return err;
	}
	qsort(out->files, out->count, sizeof(*out->files), by_path);
	return 0;
}

void fs_stats(struct fs *fs, struct stats *out)
{
	struct open_files all;

	*out = (struct stats){0};
	if (fs_open_files(fs, &all))
		all = (struct open_files){0};
	for (size_t i = 0; i < all.count; i++)
		stats_sum(&all.files[i]->stats, out);
	stats_retired(out);
	fs_open_files_put(fs, &all);
}
