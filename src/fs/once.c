/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "fs/once.h"

#include "fs/internal.h"
#include "supervisor/journal.h"

static _Thread_local struct once *current;

void fs_thread_once(struct once *o)
{
	current = o;
}

struct once *fs_once(void)
{
	return current;
}

static struct journal_entry *entry(void)
{
	return current ? current->entry : NULL;
}

void once_found(struct once *o, struct journal_entry *e)
{
	unsigned state = e ? atomic_load_explicit(&e->state, memory_order_acquire) : JOURNAL_TAKEN;

	o->entry = e;
	o->begun = state == JOURNAL_BEGUN;
	o->done = state == JOURNAL_DONE;
}

bool once_done(int *result)
{
	if (!current || !current->done)
		return false;
	*result = atomic_load(&current->entry->result);
	return true;
}

bool once_resent(void)
{
	return current && current->resent;
}

bool once_begun(void)
{
	return current && current->begun;
}

bool once_before(unsigned i, struct node_key *key)
{
	const struct journal_file *f;

	if (!current || !(current->begun || current->done))
		return false;
	f = &current->entry->before[i];
	*key = (struct node_key){f->dev, f->ino};
	return true;
}

static void key_store(struct journal_file *f, const struct node_key *key)
{
	*f = key ? (struct journal_file){key->dev, key->ino} : (struct journal_file){0};
}

void once_begin(const struct node_key *name, const struct node_key *newname)
{
	struct journal_entry *e = entry();

	if (!e || current->begun || current->done)
		return;
	key_store(&e->before[0], name);
	key_store(&e->before[1], newname);
	atomic_store_explicit(&e->state, JOURNAL_BEGUN, memory_order_release);
}

int once_end(int err)
{
	struct journal_entry *e = entry();

	if (e) {
		atomic_store_explicit(&e->result, err, memory_order_relaxed);
		atomic_store_explicit(&e->state, JOURNAL_DONE, memory_order_release);
	}
	return err;
}

/*
 * The time is the directory's own: its clock is the one that gives the birth times, be it another
 * machine's or coarse, and no setting of ours comes in between.
 */
void once_making(int dir_fd)
{
	struct journal_entry *e = entry();
	struct statx st;

	if (!e || current->begun || current->done)
		return;
	if (statx(dir_fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_CTIME, &st) < 0)
		st.stx_ctime.tv_sec = INT64_MIN;
	e->since_sec = st.stx_ctime.tv_sec;
	e->since_nsec = st.stx_ctime.tv_nsec;
	once_begin(NULL, NULL);
}

static bool older(const struct statx_timestamp *t, const struct journal_entry *e)
{
	return t->tv_sec != e->since_sec ? t->tv_sec < e->since_sec : t->tv_nsec < e->since_nsec;
}

bool once_made(int dir_fd, const char *name, mode_t type)
{
	struct statx st;

	if (!once_begun() ||
	    statx(dir_fd, name, AT_SYMLINK_NOFOLLOW, STATX_TYPE | STATX_BTIME, &st) < 0 ||
	    (st.stx_mode & S_IFMT) != type)
		return false;
	return !(st.stx_mask & STATX_BTIME) || !older(&st.stx_btime, current->entry);
}

uint64_t once_remember(uint64_t value)
{
	struct node_key k = {.dev = value, .ino = 1};

	if (!once_before(0, &k))
		once_begin(&k, NULL);
	return k.dev;
}

void once_counted(struct fs *fs, uint64_t id)
{
	struct journal_entry *e = entry();
	uint64_t before;
	struct node *n;

	if (!e)
		return;
	before = atomic_load_explicit(&e->counted, memory_order_relaxed);
	atomic_store_explicit(&e->counted, id, memory_order_release);
	n = before ? node_get(fs, before) : NULL;
	if (n)
		node_forget(fs, n, 1);
}

void once_uncounted(uint64_t id)
{
	struct journal_entry *e = entry();

	if (e && atomic_load_explicit(&e->counted, memory_order_relaxed) == id)
		atomic_store_explicit(&e->counted, 0, memory_order_release);
}
