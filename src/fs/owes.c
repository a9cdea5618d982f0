/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What is owed to files, noted while they are open; resume.c reads it after a worker was killed. */
#include "fs/internal.h"
#include "fs/witness.h"

void file_mode_record(struct file *f)
{
	uint32_t packed = OWES_MODE | (uint32_t)f->mode.origin << 8;

	atomic_store(&f->node->rec->owes.barrier, f->owed);
	__atomic_store_n(&f->node->rec->mode, packed | switches_pack(f->mode.switches),
			 __ATOMIC_RELEASE);
}

void file_mode_recall(struct file *f)
{
	uint32_t mode = __atomic_load_n(&f->node->rec->mode, __ATOMIC_ACQUIRE);

	if (!mode)
		return;
	f->mode.switches = switches_unpack(mode & 7);
	f->mode.origin = (enum cachefs_origin)(mode >> 8 & 0x7f);
	f->owed = atomic_load(&f->node->rec->owes.barrier);
	atomic_store(&f->direct, f->mode.switches.direct);
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
