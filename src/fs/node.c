/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "fs/node.h"

#include <malloc.h>
#include <string.h>

#include "fs/internal.h"
#include "supervisor/arena.h"

static uint64_t key_hash(const struct node_key *k)
{
	return (k->ino ^ k->dev * 0x9e3779b97f4a7c15ULL) * 0xbf58476d1ce4e5b9ULL;
}

struct node_shard *node_shard_of(struct fs *fs, const struct node_key *k)
{
	return &fs->shards[key_hash(k) >> 60];
}

_Static_assert(NODE_SHARDS == 16, "node_shard_of() takes four bits");

struct node_shard *node_shard(struct fs *fs, const struct node *n)
{
	return node_shard_of(fs, &n->key);
}

uint64_t node_id(const struct node *n)
{
	return n->index | (uint64_t)n->rec->generation << 32;
}

void node_file_id(const struct node *n, struct file_id *id)
{
	*id = (struct file_id){.type = n->rec->handle_type, .len = n->rec->handle_len};
	memcpy(id->bytes, n->rec->handle, n->rec->handle_len);
}

struct node *node_get(struct fs *fs, uint64_t id)
{
	uint32_t index = (uint32_t)id, generation = (uint32_t)(id >> 32);
	struct node_record *r = arena_record(fs->nodes, index);

	if (!index || !r || !node_record_in_use(r) || r->generation != generation)
		return NULL;
	return arena_private(fs->nodes, index);
}

static struct node_key key_from(const struct statx *st)
{
	return (struct node_key){.dev = (uint64_t)st->stx_dev_major << 32 | st->stx_dev_minor,
				 .ino = st->stx_ino};
}

static void record_fill(struct fs *fs, struct node_record *r, int fd, const struct statx *st)
{
	struct node_key key = key_from(st);

	r->dev = key.dev;
	r->ino = key.ino;
	r->type = st->stx_mode & S_IFMT;
	if (st->stx_mask & STATX_BTIME) {
		r->btime_sec = st->stx_btime.tv_sec;
		r->btime_nsec = st->stx_btime.tv_nsec;
	}
	if (fs->config.caps.file_handles)
		node_handle_read(fs, fd, r);
}

/* An inode number may have been reused: file handles (or birth times) tell the files apart. */
static bool same_file(const struct node_record *a, const struct node_record *b)
{
	if (a->type != b->type)
		return false;
	if (a->handle_len || b->handle_len)
		return a->handle_len == b->handle_len && a->handle_type == b->handle_type &&
		       !memcmp(a->handle, b->handle, a->handle_len);
	return a->btime_sec == b->btime_sec && a->btime_nsec == b->btime_nsec;
}

static struct node *node_new(struct fs *fs, const struct node_record *r)
{
	uint32_t index = arena_alloc(fs->nodes);
	struct node *n;

	if (!index)
		return NULL;
	n = arena_private(fs->nodes, index);
	n->rec = arena_record(fs->nodes, index);
	n->index = index;
	n->fd = -1;
	n->key = (struct node_key){r->dev, r->ino};
	*n->rec = *r;
	if (index != NODE_ROOT_ID)
		n->rec->generation = atomic_fetch_add(&fs->shared->state->generation, 1) + 1;
	return n;
}

/* A successor knows N from here on, or does not. */
static void set_in_use(struct node *n, bool in_use)
{
	__atomic_store_n(&n->rec->in_use, in_use, __ATOMIC_RELEASE);
}

/* No reference is left and the hash does not know N: nobody else can. */
void node_free(struct fs *fs, struct node *n)
{
	struct node *parent = n->parent;

	set_in_use(n, false);
	path_fd_drop(fs, n);
	node_names_free(fs, n->others);
	name_record_free(fs, n->name_rec);
	free(n->name);
	arena_free(fs->nodes, n->index);
	if (parent)
		node_unref(fs, parent);
}

static void node_put(struct fs *fs, struct node *n, uint64_t refs, uint64_t lookups)
{
	struct node_shard *s = node_shard(fs, n);
	bool last;

	pthread_mutex_lock(&s->lock);
	n->rec->nlookup -= MIN(lookups, n->rec->nlookup);
	n->refs -= refs;
	last = n->refs == 0;
	if (last && n->hashed)
		HASH_DEL(s->hash, n);
	pthread_mutex_unlock(&s->lock);
	if (last)
		node_free(fs, n);
}

void node_unref(struct fs *fs, struct node *n)
{
	node_put(fs, n, 1, 0);
}

void node_forget(struct fs *fs, struct node *n, uint64_t count)
{
	/* the root is never forgotten; a count beyond ours would be a kernel's mistake */
	if (n == fs->root || count > n->rec->nlookup)
		return;
	node_put(fs, n, count, count);
}

void node_ref(struct fs *fs, struct node *n)
{
	struct node_shard *s = node_shard(fs, n);

	pthread_mutex_lock(&s->lock);
	n->refs++;
	pthread_mutex_unlock(&s->lock);
}

/*
 * With the shard's lock held, by who has a reference: a mode set at run time (or an error) keeps N
 * known, but only while a name leads to it. Else whoever may set modes could keep any number of
 * deleted files.
 */
void node_pin_or_not(struct node *n)
{
	bool pinned = (n->rec->runtime || n->rec->close_error) && !n->rec->unlinked;

	n->refs += pinned;
	n->refs -= n->pinned;
	n->pinned = pinned;
}

int node_set_error(struct fs *fs, struct node *n, int error)
{
	struct node_shard *s = node_shard(fs, n);
	int before;

	node_ref(fs, n);
	pthread_mutex_lock(&s->lock);
	before = n->rec->close_error;
	n->rec->close_error = error;
	node_pin_or_not(n);
	pthread_mutex_unlock(&s->lock);
	node_unref(fs, n);
	return before;
}

void node_set_runtime(struct fs *fs, struct node *n, uint8_t runtime)
{
	struct node_shard *s = node_shard(fs, n);

	node_ref(fs, n);
	pthread_mutex_lock(&s->lock);
	__atomic_store_n(&n->rec->runtime, runtime, __ATOMIC_RELEASE); /* fs_mode_of() reads it */
	node_pin_or_not(n);
	pthread_mutex_unlock(&s->lock);
	node_unref(fs, n);
}

void node_unlinked(struct fs *fs, struct node *n)
{
	struct node_shard *s = node_shard(fs, n);

	node_ref(fs, n);
	pthread_mutex_lock(&s->lock);
	n->rec->unlinked = true;
	node_pin_or_not(n);
	pthread_mutex_unlock(&s->lock);
	node_unref(fs, n);
}

/*
 * With the shard's lock held: the node of R, newly made where there is none. STALE: one that
 * was pinned for a file that is gone, to be unreferenced without the lock; else as it was.
 */
static struct node *shard_get(struct fs *fs, struct node_shard *s, const struct node_record *r,
			      struct node **stale)
{
	struct node_key key = {r->dev, r->ino};
	struct node *n;

	HASH_FIND(hh, s->hash, &key, sizeof(key), n);
	if (n && !same_file(n->rec, r)) {
		HASH_DEL(s->hash, n); /* its file is gone; the kernel will forget it */
		n->hashed = false;
		n->rec->unlinked = true;
		if (n->pinned)
			*stale = n;
		n->pinned = false;
		n = NULL;
	}
	if (!n) {
		n = node_new(fs, r);
		if (!n)
			return NULL;
		HASH_ADD(hh, s->hash, key, sizeof(n->key), n);
		n->hashed = true;
		set_in_use(n, true);
	}
	n->refs++;
	return n;
}

struct node *node_lookup(struct fs *fs, struct node *parent, const char *name, int fd,
			 const struct statx *st)
{
	struct node_key key = key_from(st);
	struct node_shard *s = node_shard_of(fs, &key);
	struct node_record r = {0};
	struct node *n, *stale = NULL;

	record_fill(fs, &r, fd, st);
	pthread_mutex_lock(&s->lock);
	n = shard_get(fs, s, &r, &stale);
	if (n) {
		n->rec->nlookup++;
		n->rec->unlinked =
		    S_ISREG(st->stx_mode) && !st->stx_nlink; /* O_TMPFILE, until linked */
		node_pin_or_not(n);
	}
	pthread_mutex_unlock(&s->lock);
	if (stale)
		node_unref(fs, stale);
	if (!n) {
		close(fd);
		return NULL;
	}
	path_fd_install(fs, n, fd);
	if (parent && node_named(fs, n, parent, name, S_ISREG(st->stx_mode) && st->stx_nlink > 1))
		fs_mode_renamed(fs, n);
	return n;
}

struct node *node_find_key(struct fs *fs, const struct node_key *key)
{
	struct node_shard *s = node_shard_of(fs, key);
	struct node *n;

	pthread_mutex_lock(&s->lock);
	HASH_FIND(hh, s->hash, key, sizeof(*key), n);
	if (n)
		n->refs++;
	pthread_mutex_unlock(&s->lock);
	return n;
}

struct node *node_find(struct fs *fs, int parent_fd, const char *name, struct node_key *seen)
{
	struct node_key key = {0};
	struct statx st;

	if (statx(parent_fd, name, AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS, &st) == 0)
		key = key_from(&st);
	if (seen)
		*seen = key;
	return key.ino ? node_find_key(fs, &key) : NULL;
}

struct path_fd node_hold(struct fs *fs, struct node *n)
{
	struct path_fd p = PATH_FD_NONE;

	if (n && path_fd_get(fs, n, &p))
		node_unref(fs, n);
	if (p.node)
		n->rec->holding = true;
	return p; /* with the reference, if it holds a node */
}

/* No file handle and no name leads to N, which was NAME in PARENT. */
static bool unreachable(struct path_fd *p, const struct node *parent, const char *name)
{
	struct node *n = p->node;
	struct stat st;
	bool same;

	/* a directory has one name, and its link count is its filesystem's own business */
	if (n->rec->type == S_IFDIR || fstat(p->fd, &st) < 0 || st.st_nlink == 0)
		return true;
	if (n->rec->handle_len)
		return false;
	pthread_mutex_lock(&p->fs->tree);
	same = !n->name || (n->parent == parent && !strcmp(n->name, name));
	pthread_mutex_unlock(&p->fs->tree);
	return same; /* name_lost() has put another name in its place, if one is known */
}

static void name_lost(struct path_fd *held, struct node *parent, const char *name)
{
	struct stat st;

	if (fstat(held->fd, &st) == 0 && st.st_nlink == 0) {
		node_unlinked(held->fs, held->node);
		return;
	}
	node_unnamed(held->fs, held->node, parent, name);
	if (held->node->rec->type == S_IFREG)
		fs_mode_renamed(held->fs, held->node);
}

void node_name_lost(struct path_fd *held, struct node *parent, const char *name, bool lost)
{
	struct fs *fs = held->fs;
	struct node *n = held->node;

	if (!n)
		return;
	if (lost)
		name_lost(held, parent, name);
	if (lost && unreachable(held, parent, name)) {
		pthread_mutex_lock(&fs->fds.lock);
		n->rec->retained = true; /* stays out of the LRU list from now on */
		pthread_mutex_unlock(&fs->fds.lock);
	}
	n->rec->holding = false;
	path_fd_put(held);
	node_unref(fs, n);
}

void node_table_init(struct fs *fs)
{
	for (int i = 0; i < NODE_SHARDS; i++)
		pthread_mutex_init(&fs->shards[i].lock, NULL);
}

int node_root_create(struct fs *fs, int fd)
{
	struct node_record r = {0};
	struct node *stale;
	struct statx st;
	int err;

	err = fs_statx_fd(fd, &st);
	if (err) {
		close(fd);
		return err;
	}
	record_fill(fs, &r, fd, &st);
	fs->root_dev = r.dev;
	fs->root = shard_get(fs, node_shard_of(fs, &(struct node_key){r.dev, r.ino}), &r, &stale);
	if (!fs->root) {
		close(fd);
		return -ENOMEM;
	}
	fs->root->rec->retained = true;
	path_fd_install(fs, fs->root, fd);
	return 0;
}

static void table_free(struct node *n)
{
	struct node_name *next;

	set_in_use(n, false);
	free(n->name);
	for (struct node_name *o = n->others; o; o = next) {
		next = o->next;
		free(o->name);
		free(o);
	}
	n->rec->fd = 0;
	cleanup_fd(&n->fd);
}

/* What the kernel never forgot (an unmount sends no FORGET) goes all at once. */
void node_table_destroy(struct fs *fs)
{
	for (int i = 0; i < NODE_SHARDS; i++) {
		HASH_CLEAR(hh, fs->shards[i].hash);
		pthread_mutex_destroy(&fs->shards[i].lock);
	}
	for (uint32_t i = arena_next(fs->nodes, 0); i; i = arena_next(fs->nodes, i))
		table_free(arena_private(fs->nodes, i));
}
