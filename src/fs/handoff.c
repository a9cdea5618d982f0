/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "engine/bounce.h"
#include "fs/internal.h"

int fs_handoff(struct fs *fs, uint64_t fh)
{
	struct handle *h = handle_get(fs, fh);
	struct claim gate = {.kind = CLAIM_GATE, .start = 0, .end = UINT64_MAX};
	_cleanup_fd_ int fd = -1;
	int err;

	if (!h || !h->file)
		return -EBADF;
	fd = fs_reopen(fs, h->file->path.fd, O_RDONLY);
	if (fd < 0)
		return fd;
	if (atomic_load(&h->file->fuse_pages)) /* as requests to us, before the gate */
		fs->config.invalidate(fs->config.invalidate_arg, node_id(h->file->node), 0, 0);
	iolock_acquire_wait(&h->file->range, &gate);
	err = flush_file(&h->file->flush, &h->file->stats, fs->config.engine, fd, false,
			 FLUSH_EXECUTE);
	if (!err)
		err = bounce_drop_cache(fd);
	iolock_release(&h->file->range, &gate);
	return err;
}
