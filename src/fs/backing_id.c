/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Registrations of files with the kernel, for its own path; and what a successor knows of them. */
#include <string.h>

#include "base/cap.h"
#include "base/log.h"
#include "fs/internal.h"

/*
 * One at a time, so that a registration that a kill has left without a record has an id behind the
 * newest one that was recorded (backing_ids_resume()). The ioctl does no I/O.
 */
static int backing_register(struct fs *fs, int fd, struct node_record *r)
{
	int id;

	pthread_mutex_lock(&fs->backing_lock);
	id = fs->config.backing_open(fs->config.backing_arg, fd);
	if (id > 0) {
		__atomic_store_n(&r->backing_id, id, __ATOMIC_RELEASE);
		atomic_store(&fs->shared->state->last_backing_id, id);
	}
	pthread_mutex_unlock(&fs->backing_lock);
	return id;
}

/*
 * The kernel keeps the credentials of this call for all that it will do with the file. Without
 * CAP_FSETID among them suid and sgid fall at any write, root's included; so files that have them
 * now stay with the daemon, which tells writers apart.
 */
int backing_id_open(struct fs *fs, struct node *n, int fd, uid_t uid)
{
	struct stat st;
	int id;

	if (fstat(fd, &st) < 0 || st.st_mode & (S_ISUID | S_ISGID))
		return -EOPNOTSUPP;
	fs_thread_allocator(fs, uid);
	cap_thread_fsetid(false);
	id = backing_register(fs, fd, n->rec);
	fs_thread_allocator(fs, 0);
	if (id < 0)
		log_debug("a file is served by the daemon: the kernel path refused it: %s",
			  strerror(-id));
	return id ? id : -EIO;
}

void backing_id_forget(struct fs *fs, struct file *f)
{
	/* not recorded any more once it is closed: closing it twice does no harm */
	if (f->backing_id > 0)
		fs->config.backing_close(fs->config.backing_arg, f->backing_id);
	f->backing_id = f->node->rec->backing_id = 0;
}

int backing_id_withdraw(struct file *f)
{
	struct node_record *r = f->node->rec;
	int id = MAX(f->backing_id, 0), none = 0;

	/* where the one of an earlier close is there still, a kill right now leaks this one */
	if (id)
		atomic_compare_exchange_strong(&r->closing_id, &none, id);
	__atomic_store_n(&r->backing_id, 0, __ATOMIC_RELEASE);
	r->kernel_refused = false;
	f->backing_id = 0;
	return id;
}

void backing_id_close(struct fs *fs, struct node *n, int id)
{
	if (!id)
		return;
	fs->config.backing_close(fs->config.backing_arg, id);
	atomic_compare_exchange_strong(&n->rec->closing_id, &id, 0);
}

void backing_id_resume(struct fs *fs, struct node *n)
{
	int id = atomic_load(&n->rec->closing_id);

	if (id != n->rec->backing_id) /* else it was not withdrawn yet */
		backing_id_close(fs, n, id);
	atomic_store(&n->rec->closing_id, 0);
}
