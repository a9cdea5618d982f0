/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What is owed to files, noted while they are open, for who follows a process that was killed. */
#include "fs/internal.h"
#include "fs/witness.h"

void file_mode_record(struct file *f)
{
	struct node_record *r = f->node->rec;

	atomic_store(&r->owes.barrier, f->owed);
	__atomic_store_n(
	    &r->mode, OWES_MODE | (uint32_t)f->mode.origin << 8 | switches_pack(f->mode.switches),
	    __ATOMIC_RELEASE);
}

void file_mode_recall(struct file *f)
{
	const struct node_record *r = f->node->rec;

	if (!(r->mode & OWES_MODE))
		return;
	f->mode = (struct file_mode){switches_unpack(r->mode & 0xff),
				     (enum cachefs_origin)((r->mode & ~(uint32_t)OWES_MODE) >> 8)};
	f->owed = atomic_load(&r->owes.barrier);
}

void owes_opened(struct file *f)
{
	struct node_record *r = f->node->rec;

	__atomic_store_n(&r->error, atomic_load(&f->flush.error), __ATOMIC_RELEASE);
	f->flush.record = &r->error;
	file_mode_record(f);
}

int owes_closed(struct file *f)
{
	struct node_record *r = f->node->rec;

	f->flush.record = NULL;
	__atomic_store_n(&r->mode, 0, __ATOMIC_RELEASE);
	__atomic_store_n(&r->error, 0, __ATOMIC_RELEASE);
	atomic_store(&r->owes.barrier, 0);
	return witness_withdraw(f);
}

void owes_recall(struct file *f)
{
	struct node_record *r = f->node->rec;

	f->flush.record = &r->error;
	if (r->error)
		flush_latch(&f->flush, -r->error);
	witness_ask(f);
}
