/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "durability/marker.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/util.h"
#include "durability/marker_internal.h"

static struct timespec clock_now(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	t.tv_sec = MAX(t.tv_sec, 1);
	return t;
}

struct timespec marker_now(void)
{
	return (struct timespec){.tv_sec = clock_now(CLOCK_REALTIME).tv_sec};
}

static struct model *current_model(struct marker *m)
{
	struct model *model;

	pthread_rwlock_rdlock(&m->lock);
	model = model_ref(m->model);
	pthread_rwlock_unlock(&m->lock);
	return model;
}

/* ---- this boot ---- */

struct section *marker_section(struct marker *m, struct model *next)
{
	struct section *s = model_find(next, SECTION_ACTIVE);

	return s ? s : model_add(next, SECTION_ACTIVE, m->boot, marker_now());
}

static int apply_begin(struct marker *m, struct model *next, const void *arg)
{
	struct section *s = marker_section(m, next);

	return s ? section_add(s, arg) : -ENOMEM;
}

int marker_begin(struct marker *m, const struct concerned *c)
{
	bool covered;

	atomic_fetch_add(&m->begun, 1);
	pthread_rwlock_rdlock(&m->lock);
	covered = m->covering && m->active && section_covers(m->active, c);
	pthread_rwlock_unlock(&m->lock);
	return covered ? 0 : marker_change(m, apply_begin, c);
}

uint64_t marker_begun(struct marker *m)
{
	return atomic_load(&m->begun);
}

/*
 * In the turn. Who begins from here on finds nothing that covers it and waits for a turn behind
 * ours; who began before was counted before it looked.
 */
static int apply_end(struct marker *m, struct model *next, const void *arg)
{
	const uint64_t *begun = arg;
	bool go;

	pthread_rwlock_wrlock(&m->lock);
	go = !begun || atomic_load(&m->begun) == *begun;
	if (go)
		m->covering = false;
	pthread_rwlock_unlock(&m->lock);
	return go ? model_drop(next, SECTION_ACTIVE) > 0 : -EAGAIN;
}

static int end(struct marker *m, const uint64_t *begun)
{
	int err = marker_change(m, apply_end, begun);

	if (!err)
		atomic_store(&m->inherited, false);
	return err;
}

int marker_end_since(struct marker *m, uint64_t begun)
{
	return end(m, &begun);
}

int marker_end(struct marker *m)
{
	return end(m, NULL);
}

bool marker_inherited(struct marker *m)
{
	return atomic_load(&m->inherited);
}

bool marker_active(struct marker *m)
{
	bool active;

	pthread_rwlock_rdlock(&m->lock);
	active = m->active;
	pthread_rwlock_unlock(&m->lock);
	return active;
}

static int apply_resolve(struct marker *m, struct model *next, const void *arg)
{
	bool changed = false;

	if (!*(const int *)arg)
		return model_drop(next, SECTION_LEFT) > 0;
	(void)m;
	for (struct section *s = next->sections; s; s = s->next)
		if (s->state == SECTION_LEFT) {
			s->state = SECTION_TAINTED;
			s->error = changed = true;
		}
	return changed;
}

int marker_resolve(struct marker *m, int error)
{
	return marker_change(m, apply_resolve, &error);
}

int marker_adopt(struct marker *m)
{
	struct model *next = model_clone(m->model);
	int err = next ? model_adopt_left(next) : -ENOMEM;

	if (err) {
		model_unref(next);
		return err;
	}
	m->uncertain = m->adopted = m->owner;
	atomic_store(&m->inherited, model_has(next, SECTION_ACTIVE));
	marker_install(m, next, false);
	return 0;
}

static int apply_nothing(struct marker *m, struct model *next, const void *arg)
{
	(void)m;
	(void)next;
	(void)arg;
	return 0;
}

int marker_confirm(struct marker *m)
{
	return marker_change(m, apply_nothing, NULL);
}

static int apply_error(struct marker *m, struct model *next, const void *arg)
{
	struct timespec now = clock_now(CLOCK_REALTIME_COARSE);
	struct section *s = next->sections;
	int err;

	while (s && !(s->state == SECTION_TAINTED && s->error && !strcmp(s->boot, m->boot)))
		s = s->next;
	if (!s)
		s = model_add(next, SECTION_TAINTED, m->boot, marker_now());
	err = s ? section_add(s, arg) : -ENOMEM;
	if (err < 0)
		return err;
	section_distrust(s, arg);
	s->error = true;
	s->seen = now;
	err = model_limit(next);
	return err < 0 ? err : 1;
}

int marker_error(struct marker *m, const struct concerned *c)
{
	return marker_change(m, apply_error, c);
}

/* ---- what is tainted ---- */

static int apply_seen(struct marker *m, struct model *next, const void *arg)
{
	/* the clock that filesystems use: what is made in the next moment is not born before */
	struct timespec now = clock_now(CLOCK_REALTIME_COARSE);
	bool changed = false;

	(void)m;
	(void)arg;
	for (struct section *s = next->sections; s; s = s->next)
		if (s->state == SECTION_TAINTED && !s->seen.tv_sec) {
			s->seen = now;
			changed = true;
		}
	return changed;
}

int marker_seen(struct marker *m)
{
	return marker_change(m, apply_seen, NULL);
}

bool marker_tainted(struct marker *m)
{
	return atomic_load_explicit(&m->tainted, memory_order_relaxed);
}

bool marker_concerns(struct marker *m, const struct file_id *id, const char *paths,
		     const struct statx *st)
{
	struct timespec now;
	struct model *model;
	bool concerned = false;

	if (!marker_tainted(m))
		return false;
	now = clock_now(CLOCK_REALTIME);
	model = current_model(m);
	for (const struct section *s = model->sections; s && !concerned; s = s->next)
		concerned = s->state == SECTION_TAINTED && section_concerns(s, id, paths, st, now);
	model_unref(model);
	return concerned;
}

void marker_describe(struct marker *m, char *buf, size_t size)
{
	struct model *model = current_model(m);

	model_describe(model, buf, size);
	model_unref(model);
}

/* ---- trust ---- */

struct trusted {
	const struct file_id *id;
	const char *path;
};

static int apply_trust(struct marker *m, struct model *next, const void *arg)
{
	const struct trusted *t = arg;
	int changed = 0;

	(void)m;
	for (struct section *s = next->sections; s; s = s->next) {
		int r = s->state == SECTION_TAINTED ? section_trust(s, t->id, t->path) : 0;

		if (r < 0)
			return r;
		changed |= r;
	}
	return changed;
}

int marker_trust_file(struct marker *m, const struct file_id *id, const char *path)
{
	struct trusted t = {id, path};

	return marker_change(m, apply_trust, &t);
}

static int apply_trust_all(struct marker *m, struct model *next, const void *arg)
{
	(void)m;
	(void)arg;
	return model_drop(next, SECTION_TAINTED) > 0;
}

int marker_trust_all(struct marker *m)
{
	return marker_change(m, apply_trust_all, NULL);
}

/* ---- from the beginning to the end ---- */

static int read_boot_id(const char *given, char boot[MARKER_BOOT_SIZE])
{
	_cleanup_fd_ int fd = -1;
	ssize_t n;

	if (given) {
		if (!boot_id_valid(given, strlen(given)))
			return -EINVAL;
		strcpy(boot, given);
		return 0;
	}
	fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	n = read(fd, boot, MARKER_BOOT_SIZE - 1);
	if (n < 0)
		return -errno;
	boot[n] = '\0';
	boot[strcspn(boot, "\n")] = '\0';
	return boot_id_valid(boot, strlen(boot)) ? 0 : -EINVAL;
}

/* What an earlier mount left, read by its owner: until now its writer may have been at work. */
static int find(struct marker *m)
{
	struct model *found = NULL;
	int dir = private_dir_fd(m->own), err;
	bool lives;

	if (dir == -ENOENT ||
	    (dir >= 0 && faccessat(dir, MARKER_NAME, F_OK, AT_SYMLINK_NOFOLLOW) < 0 &&
	     errno == ENOENT))
		return 0;
	if (dir < 0)
		return dir;
	err = private_dir_own_existing(m->own);
	m->owner = !err;
	lives = err == -EBUSY;
	if (err && err != -EROFS && !lives)
		return err;
	err = marker_load(m, &found);
	/* what a living daemon has unflushed is its own; what is tainted is what it may trust */
	if (!err && lives) {
		err = model_has(found, SECTION_TAINTED) ? -EBUSY : 0;
		model_unref(found);
		return err;
	}
	if (!err)
		marker_install(m, found, true);
	if (err != -ENOENT)
		return err;
	/* the one before us ended well in the meantime */
	if (m->owner)
		private_dir_disown(m->own);
	m->owner = false;
	return 0;
}

int marker_create(struct private_dir *p, const char *boot_id, struct marker **out,
		  enum marker_found *found)
{
	struct marker *m = calloc(1, sizeof(*m));
	int err;

	if (!m)
		return -ENOMEM;
	m->own = p;
	m->last = &m->changes;
	pthread_mutex_init(&m->mutex, NULL);
	pthread_cond_init(&m->turned, NULL);
	pthread_rwlock_init(&m->lock, NULL);
	m->model = model_new();
	err = m->model ? read_boot_id(boot_id, m->boot) : -ENOMEM;
	if (!err)
		err = find(m);
	if (err) {
		marker_destroy(m);
		return err;
	}
	*found = model_has(m->model, SECTION_TAINTED) ? MARKER_TAINTED
		 : model_has(m->model, SECTION_LEFT)  ? MARKER_SAME_BOOT
						      : MARKER_CLEAN;
	*out = m;
	return 0;
}

void marker_destroy(struct marker *m)
{
	if (!m)
		return;
	if (m->owner)
		private_dir_disown(m->own);
	model_unref(m->model);
	pthread_rwlock_destroy(&m->lock);
	pthread_cond_destroy(&m->turned);
	pthread_mutex_destroy(&m->mutex);
	free(m);
}
