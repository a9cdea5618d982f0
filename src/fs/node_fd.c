/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How a node's file is found: by a descriptor while one is open, else by its file handle, else by
 * its parent and name. So a tree of any size needs no more descriptors than the budget.
 */
#include <string.h>
#include <utlist.h>

#include "fs/internal.h"

/* With the lock held: from now on a successor keeps N's descriptor open. */
static void set_fd(struct node_fds *fds, struct node *n, int fd)
{
	n->fd = fd;
	n->rec->fd = fd + 1;
	fds->open++;
}

/* With the lock held: N's open descriptor, which the caller closes; a successor would, too. */
static int take_fd(struct node_fds *fds, struct node *n)
{
	int fd = n->fd;

	n->rec->fd = 0;
	n->fd = -1;
	fds->open--;
	return fd;
}

/* With the lock held: the descriptors that must be closed to be within the budget, as a list. */
static struct node *evict(struct node_fds *fds, int *fd)
{
	struct node *n = fds->lru;

	if (fds->open <= fds->budget || !n)
		return NULL;
	DL_DELETE2(fds->lru, n, lru_prev, lru_next);
	*fd = take_fd(fds, n);
	return n;
}

static void shrink(struct node_fds *fds)
{
	for (;;) {
		int fd = -1;

		pthread_mutex_lock(&fds->lock);
		struct node *n = evict(fds, &fd);

		pthread_mutex_unlock(&fds->lock);
		if (!n)
			return;
		close(fd);
	}
}

bool path_fd_listed(const struct node *n)
{
	return n->fd >= 0 && !n->fd_users && !n->rec->retained;
}

/* With the lock held: one user more of an open descriptor. */
static int use(struct node_fds *fds, struct node *n)
{
	if (path_fd_listed(n))
		DL_DELETE2(fds->lru, n, lru_prev, lru_next);
	n->fd_users++;
	return n->fd;
}

void path_fd_install(struct fs *fs, struct node *n, int fd)
{
	struct node_fds *fds = &fs->fds;
	bool full;

	pthread_mutex_lock(&fds->lock);
	if (n->fd < 0) {
		set_fd(fds, n, fd);
		fd = -1;
		if (path_fd_listed(n))
			DL_APPEND2(fds->lru, n, lru_prev, lru_next);
	}
	full = fds->open > fds->budget;
	pthread_mutex_unlock(&fds->lock);
	if (fd >= 0)
		close(fd);
	if (full)
		shrink(fds);
}

void path_fd_drop(struct fs *fs, struct node *n)
{
	struct node_fds *fds = &fs->fds;
	int fd;

	pthread_mutex_lock(&fds->lock);
	if (path_fd_listed(n))
		DL_DELETE2(fds->lru, n, lru_prev, lru_next);
	fd = n->fd >= 0 ? take_fd(fds, n) : -1;
	pthread_mutex_unlock(&fds->lock);
	if (fd >= 0)
		close(fd);
}

void node_handle_read(struct fs *fs, int fd, struct node_record *r)
{
	union {
		struct file_handle h;
		char space[sizeof(struct file_handle) + NODE_HANDLE_MAX];
	} u;
	int mount_id;

	(void)fs;
	u.h.handle_bytes = NODE_HANDLE_MAX;
	if (name_to_handle_at(fd, "", &u.h, &mount_id, AT_EMPTY_PATH) < 0)
		return;
	r->handle_len = (uint16_t)u.h.handle_bytes;
	r->handle_type = u.h.handle_type;
	memcpy(r->handle, u.h.f_handle, u.h.handle_bytes);
}

static int open_by_handle(struct fs *fs, const struct node_record *r)
{
	union {
		struct file_handle h;
		char space[sizeof(struct file_handle) + NODE_HANDLE_MAX];
	} u;

	u.h.handle_bytes = r->handle_len;
	u.h.handle_type = r->handle_type;
	memcpy(u.h.f_handle, r->handle, r->handle_len);
	return sysret(open_by_handle_at(fs->root_fd, &u.h, O_PATH | O_NOFOLLOW | O_CLOEXEC));
}

/* N's file, if it is what PARENT has at NAME. */
static int open_child(struct fs *fs, struct node *parent, const char *name, const struct node *n)
{
	_cleanup_path_ struct path_fd dir = PATH_FD_NONE;
	_cleanup_fd_ int fd = -1;
	struct statx st;
	int err = path_fd_get(fs, parent, &dir);

	if (err)
		return err;
	fd = fs_open_beneath(fs, dir.fd, name);
	if (fd < 0)
		return fd == -ENOENT ? -ESTALE : fd;
	err = fs_statx_fd(fd, &st);
	if (err)
		return err;
	if (st.stx_ino != n->rec->ino || (st.stx_mode & S_IFMT) != n->rec->type ||
	    st.stx_btime.tv_sec != n->rec->btime_sec || st.stx_btime.tv_nsec != n->rec->btime_nsec)
		return -ESTALE;
	return steal_fd(&fd);
}

/* The file at the name last seen, if it is still the same one. */
static int open_by_name(struct fs *fs, struct node *n)
{
	static _Thread_local int depth;
	_cleanup_free_ char *name = NULL;
	struct node *parent;
	int fd;

	pthread_mutex_lock(&fs->tree);
	parent = n->parent;
	if (parent && n->name)
		name = strdup(n->name);
	if (name)
		node_ref(fs, parent); /* a rename may give N another parent meanwhile */
	pthread_mutex_unlock(&fs->tree);
	if (!name)
		return -ESTALE;
	/* bounded: renames behind the mount may make parents of one another what never were */
	fd = ++depth > NODE_DEPTH_MAX ? -ESTALE : open_child(fs, parent, name, n);
	depth--;
	node_unref(fs, parent);
	return fd;
}

int path_fd_get(struct fs *fs, struct node *n, struct path_fd *out)
{
	int fd;

	pthread_mutex_lock(&fs->fds.lock);
	fd = n->fd >= 0 ? use(&fs->fds, n) : -1;
	pthread_mutex_unlock(&fs->fds.lock);
	if (fd < 0) {
		int fresh = n->rec->handle_len ? open_by_handle(fs, n->rec) : open_by_name(fs, n);

		if (fresh < 0)
			return fresh;
		pthread_mutex_lock(&fs->fds.lock);
		if (n->fd < 0) {
			set_fd(&fs->fds, n, fresh);
			fresh = -1;
			n->fd_users++;
			fd = n->fd;
		} else { /* another thread was faster */
			fd = use(&fs->fds, n);
		}
		pthread_mutex_unlock(&fs->fds.lock);
		if (fresh >= 0)
			close(fresh);
	}
	*out = (struct path_fd){fs, n, fd};
	return 0;
}

void path_fd_put(struct path_fd *p)
{
	struct node_fds *fds;
	int saved = errno;
	bool full;

	if (!p->node)
		return;
	fds = &p->fs->fds;
	pthread_mutex_lock(&fds->lock);
	p->node->fd_users--;
	if (path_fd_listed(p->node))
		DL_APPEND2(fds->lru, p->node, lru_prev, lru_next);
	full = fds->open > fds->budget;
	pthread_mutex_unlock(&fds->lock);
	if (full)
		shrink(fds);
	*p = (struct path_fd)PATH_FD_NONE;
	errno = saved;
}
