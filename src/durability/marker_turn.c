/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Reading the crash marker, and the one who writes it for all that wait. */
#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "base/util.h"
#include "durability/marker_internal.h"

/* ---- reading ---- */

/* Others see NEXT (consumed), which is what is written, from now on. */
void marker_install(struct marker *m, struct model *next, bool covering)
{
	struct model *old;

	pthread_rwlock_wrlock(&m->lock);
	old = m->model;
	m->model = next;
	m->active = model_find(next, SECTION_ACTIVE);
	m->covering = covering;
	atomic_store(&m->tainted, model_has(next, SECTION_TAINTED));
	pthread_rwlock_unlock(&m->lock);
	model_unref(old);
}

static void set_covering(struct marker *m, bool covering)
{
	pthread_rwlock_wrlock(&m->lock);
	m->covering = covering;
	pthread_rwlock_unlock(&m->lock);
}

/* In place of a text that tells nothing. */
static int unreadable(struct model **out)
{
	struct model *model = model_new();
	struct section *s =
	    model ? model_add(model, SECTION_TAINTED, "unknown", marker_now()) : NULL;

	if (!s) {
		model_unref(model);
		return -ENOMEM;
	}
	s->mount = true;
	*out = model;
	return 0;
}

static int parse(struct marker *m, const char *text, size_t len, struct model **out)
{
	const char *what = NULL;
	unsigned line = 0;
	int err = model_parse(text, len, m->boot, out, &line, &what);

	if (err != -EINVAL)
		return err;
	log_error("%s/%s: line %u: %s: what was unflushed is not known, so all files of the mount "
		  "count as tainted: check them, then trust the mount",
		  PRIVATE_DIR, MARKER_NAME, line, what);
	return unreadable(out);
}

/* What is written. -ENOENT: no marker; or an error that says nothing of the marker's text. */
int marker_load(struct marker *m, struct model **out)
{
	_cleanup_free_ char *text = NULL;
	int err, dir = private_dir_fd(m->own);
	size_t len;

	if (dir < 0)
		return dir;
	err = private_dir_read(m->own, MARKER_NAME, MARKER_SIZE_MAX, &text, &len);
	if (err == -ENOENT || err == -ENOMEM || err == -EMFILE || err == -ENFILE)
		return err;
	if (!err)
		return parse(m, text, len, out);
	log_error("%s/%s cannot be read: %s: all files of the mount count as tainted: check them, "
		  "then trust the mount",
		  PRIVATE_DIR, MARKER_NAME, strerror(-err));
	return unreadable(out);
}

/* ---- writing; turn ---- */

/* Who has been waited for once is not about to end: nobody else waits for it. */
static int own_dir(struct marker *m)
{
	int err = m->waited ? private_dir_try_own_existing(m->own) : -ENOENT;

	if (err == -ENOENT)
		err = private_dir_own(m->own);
	m->waited = err == -EBUSY;
	return err;
}

/* 1: we are it now, and the model is another one. */
static int become_owner(struct marker *m)
{
	struct model *found = NULL;
	int err;

	if (m->owner)
		return 0;
	err = own_dir(m);
	if (err)
		return err;
	err = marker_load(m, &found);
	if (err == -ENOENT) {
		found = model_new();
		err = found ? 0 : -ENOMEM;
	}
	/*
	 * Another daemon had the directory until now, and may have died. What it left on this boot
	 * becomes part of our section: our next flush is one of the whole backing.
	 */
	if (!err && !model_has(m->model, SECTION_LEFT)) {
		err = model_adopt_left(found);
		if (model_has(found, SECTION_ACTIVE))
			atomic_store(&m->inherited, true);
	}
	if (err) {
		model_unref(found);
		private_dir_disown(m->own);
		return err;
	}
	m->owner = true;
	marker_install(m, found, true);
	return 1;
}

static int write_model(struct marker *m, const struct model *model)
{
	_cleanup_free_ char *text = NULL;
	size_t len;
	int err;

	if (!model->sections)
		return private_dir_remove(m->own, MARKER_NAME);
	err = model_format(model, &text, &len);
	return err ? err : private_dir_write(m->own, MARKER_NAME, text, len);
}

/* After an error of writing: is what was written before still in place? */
static bool still_written(struct marker *m)
{
	_cleanup_free_ char *text = NULL, *got = NULL;
	size_t len, got_len;
	int err = private_dir_read(m->own, MARKER_NAME, MARKER_SIZE_MAX, &got, &got_len);

	if (!m->model->sections)
		return err == -ENOENT;
	return !err && !model_format(m->model, &text, &len) && len == got_len &&
	       !memcmp(text, got, len);
}

/* A copy of the model with all of CHANGES: 1 in *CHANGED when that makes a difference. */
static int make_next(struct marker *m, struct change *changes, struct model **out, bool *changed)
{
	struct model *next = model_clone(m->model);

	if (!next)
		return -ENOMEM;
	*changed = m->uncertain;
	for (struct change *c = changes; c; c = c->next) {
		c->result = c->apply(m, next, c->arg);
		if (c->result > 0)
			*changed = true;
	}
	model_drop_empty(next);
	*out = next;
	return 0;
}

/* Once, until it works again: the load that meets it may open thousands of files. */
static void complain(struct marker *m, int error)
{
	if (error && error != m->complained)
		log_error("%s/%s could not be changed: %s: until it can, nothing is opened for "
			  "writing under cache.no-flush=on that it does not name",
			  PRIVATE_DIR, MARKER_NAME,
			  error == EBUSY ? "another mount of the backing directory owns it"
					 : strerror(error));
	m->complained = error;
}

static int write_changes(struct marker *m, struct change *changes)
{
	struct model *next = NULL;
	bool changed = false;
	int err = make_next(m, changes, &next, &changed);

	if (!err && changed && !m->owner) {
		err = become_owner(m);
		model_unref(next);
		next = NULL;
		if (err > 0)
			err = make_next(m, changes, &next, &changed);
	}
	if (!err && changed)
		err = write_model(m, next);
	if (!err && changed) {
		m->uncertain = m->adopted = false;
		complain(m, 0);
		marker_install(m, next, true);
		return 0;
	}
	model_unref(next);
	if (err) {
		m->uncertain = m->owner && (m->adopted || !still_written(m));
		complain(m, -err);
	}
	set_covering(m, !m->uncertain);
	return err;
}

static void run_turn(struct marker *m)
{
	struct change *changes = m->changes, *c, *next;
	int err;

	m->busy = true;
	m->changes = NULL;
	m->last = &m->changes;
	pthread_mutex_unlock(&m->mutex);
	err = write_changes(m, changes);
	pthread_mutex_lock(&m->mutex);
	for (c = changes; c; c = next) {
		next = c->next; /* of a waiter that goes once it is done */
		c->result = err ? err : MIN(c->result, 0);
		c->done = true;
	}
	m->busy = false;
	pthread_cond_broadcast(&m->turned);
}

int marker_change(struct marker *m, change_fn apply, const void *arg)
{
	struct change c = {.apply = apply, .arg = arg};

	pthread_mutex_lock(&m->mutex);
	*m->last = &c;
	m->last = &c.next;
	while (!c.done) {
		if (m->busy)
			pthread_cond_wait(&m->turned, &m->mutex);
		else
			run_turn(m);
	}
	pthread_mutex_unlock(&m->mutex);
	return c.result;
}
