/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Nodes of a process that was killed: their records stand in fs->shared, what is private is made
 * anew. A descriptor that a record has is open here, too (the processes share one table).
 */
#include <string.h>

#include "fs/internal.h"
#include "supervisor/arena.h"

#include <utlist.h>

/*
 * Two records of one inode number: the file of the older one was gone when the newer one was made
 * (shard_get() in node.c). Ids grow, but may have begun anew.
 */
static bool is_newer(const struct node *a, const struct node *b)
{
	return (int32_t)(a->rec->generation - b->rec->generation) > 0;
}

static void hash_add(struct node_shard *s, struct node *n)
{
	struct node *other;

	HASH_FIND(hh, s->hash, &n->key, sizeof(n->key), other);
	if (other && is_newer(other, n)) {
		n->rec->unlinked = true;
		return;
	}
	if (other) {
		HASH_DEL(s->hash, other);
		other->hashed = false;
		other->rec->unlinked = true;
		node_pin_or_not(other);
	}
	HASH_ADD(hh, s->hash, key, sizeof(n->key), n);
	n->hashed = true;
}

/*
 * Its name may be gone, which the request would have noted when it comes again: until then nobody
 * may close the descriptor. (A directory's link count is its filesystem's own business.)
 */
static void was_holding(struct node *n)
{
	struct stat st;

	if (n->fd >= 0 && (n->rec->type == S_IFDIR || fstat(n->fd, &st) < 0 || st.st_nlink == 0))
		n->rec->retained = true;
	n->rec->holding = false;
}

static void rebuild_one(struct fs *fs, uint32_t index)
{
	struct node *n = arena_private(fs->nodes, index);

	n->rec = arena_record(fs->nodes, index);
	n->index = index;
	n->key = (struct node_key){n->rec->dev, n->rec->ino};
	/* one that was open may be owed something: until handles_resume() has seen to it */
	n->refs = n->rec->nlookup + node_was_open(n->rec);
	n->fd = n->rec->fd - 1;
	if (n->fd >= 0)
		fs->fds.open++;
	if (n->rec->holding)
		was_holding(n);
	if (path_fd_listed(n))
		DL_APPEND2(fs->fds.lru, n, lru_prev, lru_next);
	hash_add(node_shard_of(fs, &n->key), n);
	node_pin_or_not(n);
}

/* The root is always there: it was made before any process could be followed. */
static int root_rebuild(struct fs *fs, int fd)
{
	struct node *n = node_get(fs, NODE_ROOT_ID);

	if (!n || n->fd < 0) {
		close(fd);
		return -EPROTO;
	}
	n->refs++;
	fs->root = n;
	fs->root_dev = n->rec->dev;
	if (fd != n->fd)
		cleanup_fd(&fd);
	return 0;
}

int nodes_rebuild(struct fs *fs, int fd)
{
	int err;

	for (uint32_t i = arena_next(fs->nodes, 0); i; i = arena_next(fs->nodes, i))
		rebuild_one(fs, i);
	err = root_rebuild(fs, fd);
	for (uint32_t i = arena_next(fs->nodes, 0); i && !err; i = arena_next(fs->nodes, i))
		node_names_rebuild(fs, arena_private(fs->nodes, i));
	return err;
}

/* With no reference left, one of a parent's goes, and so on. */
void nodes_rebuild_end(struct fs *fs)
{
	for (uint32_t i = arena_next(fs->nodes, 0); i; i = arena_next(fs->nodes, i)) {
		struct node *n = arena_private(fs->nodes, i);

		if (n->refs)
			continue;
		n->refs = 1; /* as the last one would do it */
		node_unref(fs, n);
	}
}
