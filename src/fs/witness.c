/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "fs/witness.h"

#include "fs/internal.h"

void witness_open(struct fs *fs, struct file *f)
{
	atomic_int *record = &f->node->rec->owes.witness;
	int fd, none = 0;

	if (!fs->config.witness || atomic_load_explicit(record, memory_order_relaxed))
		return;
	/* nobody's lease is waited for; a file that we may only write to is opened for that */
	fd = fs_reopen(fs, f->path.fd, O_RDONLY | O_NONBLOCK);
	if (fd == -EACCES)
		fd = fs_reopen(fs, f->path.fd, O_WRONLY | O_NONBLOCK);
	if (fd >= 0 && !atomic_compare_exchange_strong(record, &none, fd + 1))
		close(fd);
}

void witness_ask(struct file *f)
{
	int fd = atomic_load(&f->node->rec->owes.witness) - 1;

	if (fd >= 0)
		flush_check(&f->flush, fd);
}

int witness_withdraw(struct file *f)
{
	return atomic_exchange(&f->node->rec->owes.witness, 0) - 1;
}

int file_drop_cache(struct fs *fs, struct file *f, int fd)
{
	witness_open(fs, f);
	return flush_drop_cache(&f->flush, fd);
}

void witness_sync_open(struct fs *fs)
{
	int fd;

	if (!fs->config.witness || atomic_load(&fs->owes->sync_fd))
		return;
	fd = fs_reopen(fs, fs->root_fd, O_RDONLY | O_DIRECTORY);
	if (fd >= 0)
		atomic_store(&fs->owes->sync_fd, fd + 1);
}

void witness_sync_close(struct fs *fs)
{
	int fd = atomic_exchange(&fs->owes->sync_fd, 0) - 1;

	cleanup_fd(&fd);
}

int witness_sync_ask(struct fs *fs)
{
	int fd = atomic_load(&fs->owes->sync_fd) - 1, none = 0, err;

	err = fd >= 0 && syncfs(fd) < 0 ? errno : 0;
	if (err)
		atomic_compare_exchange_strong(&fs->shared->state->sync_error, &none, err);
	atomic_store(&fs->ask_witness, false);
	return err;
}
