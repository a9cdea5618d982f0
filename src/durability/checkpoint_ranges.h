/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A checkpoint without the long stall: FICLONE holds up the writers for as long as it takes to
 * clone all extents of an image (more than a second, once random writes between checkpoints have
 * fragmented it), FICLONERANGE for those of one range.
 *
 * Ranges that are cloned one after the other are a state that the file had only if none of them
 * changes between the start and its own clone. So each thread that is about to change the file
 * calls checkpoint_gate_before(), which clones the ranges concerned first, if they have not been.
 * What passed the gate before the start, and reaches the file later, was not answered to a client
 * at the start: it is in the checkpoint or not, as with a power cut, and whatever waited for its
 * answer is kept out. Hence ALL changes of the file (writes, truncate, fallocate) must come through
 * the gate: files on the kernel path, or written to behind the mount, are no candidates.
 */
#ifndef CACHEFS_DURABILITY_CHECKPOINT_RANGES_H
#define CACHEFS_DURABILITY_CHECKPOINT_RANGES_H

#include "durability/checkpoint.h"

/* Bytes of one clone: a multiple of every block size. */
#define CHECKPOINT_RANGE ((uint64_t)4 << 20)

struct checkpoint_gate;

/* One for a file, as long as somebody has it open. */
int checkpoint_gate_create(struct checkpoint_gate **out);
/* Nobody is in it, or calls it again. NULL does nothing. */
void checkpoint_gate_destroy(struct checkpoint_gate *g);

/*
 * The calling thread is about to change LEN bytes from OFF (truncate: from the smaller size on,
 * UINT64_MAX). Costs an atomic load while no checkpoint is under way, else at most the clones of
 * the ranges concerned. Never fails: when a clone does, the checkpoint has. Any thread, several at
 * once.
 */
void checkpoint_gate_before(struct checkpoint_gate *g, uint64_t off, uint64_t len);

/* As checkpoint_take(); COST's clone_nsec is the longest clone of a range. */
int checkpoint_take_ranges(struct checkpoints *c, int fd, const struct file_id *id,
			   const char *path, struct checkpoint_gate *g,
			   struct checkpoint_cost *cost);

#endif
