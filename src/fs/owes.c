/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What is owed to files, noted while they are open, for who follows a process that was killed. */
#include "fs/internal.h"
#include "fs/witness.h"

void file_mode_record(struct file *f)
{
	struct node_record *r = f->node->rec;

	atomic_store(&r->owes.barrier, f->owed);
	atomic_store(&r->owes.wanted,
		     (unsigned char)(OWES_WANTED | (unsigned)f->wanted.origin << 3 |
				     switches_pack(f->wanted.switches)));
	__atomic_store_n(
	    &r->mode, OWES_MODE | (uint32_t)f->mode.origin << 8 | switches_pack(f->mode.switches),
	    __ATOMIC_RELEASE);
}

bool file_mode_recall(struct file *f)
{
	const struct node_record *r = f->node->rec;
	unsigned wanted = atomic_load(&r->owes.wanted);

	if (!(r->mode & OWES_MODE))
		return false;
	f->mode = (struct file_mode){switches_unpack(r->mode & 0xff),
				     (enum cachefs_origin)((r->mode & ~(uint32_t)OWES_MODE) >> 8)};
	f->wanted = f->mode; /* of a program that did not say: file_update_soon() asks */
	if (wanted & OWES_WANTED)
		f->wanted = (struct file_mode){switches_unpack(wanted & 7),
					       (enum cachefs_origin)((wanted & ~OWES_WANTED) >> 3)};
	f->owed = atomic_load(&r->owes.barrier);
	return true;
}

/* 0: not a power of two. */
static unsigned char log2_plus_1(uint32_t n)
{
	return n && !(n & (n - 1)) ? (unsigned char)(__builtin_ctz(n) + 1) : 0;
}

static void dio_record(const struct file *f)
{
	struct node_owes *o = &f->node->rec->owes;

	atomic_store(&o->dio_mem, log2_plus_1(f->dio_mem));
	atomic_store(&o->dio_offset, f->dio_error ? OWES_NO_DIO : log2_plus_1(f->dio_offset));
}

bool file_dio_recall(struct file *f)
{
	struct node_owes *o = &f->node->rec->owes;
	unsigned mem = atomic_load(&o->dio_mem), offset = atomic_load(&o->dio_offset);

	if (!mem || !offset)
		return false;
	f->dio_mem = 1u << (mem - 1);
	if (offset == OWES_NO_DIO)
		f->dio_error = -EOPNOTSUPP;
	else
		f->dio_offset = 1u << (offset - 1);
	return true;
}

void owes_opened(struct file *f)
{
	struct node_record *r = f->node->rec;

	__atomic_store_n(&r->error, atomic_load(&f->flush.error), __ATOMIC_RELEASE);
	f->flush.record = &r->error;
	dio_record(f);
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
