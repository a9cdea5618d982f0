/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Fixed-size records in shared memory, named by index.
 *
 * What the kernel is told about nodes and handles (ids) must outlive the process that serves them,
 * so the records stand in a memfd and hold no pointers. Beside each record stands a private part
 * (process memory, same index) for what a new process builds anew: descriptors, hash handles.
 * Memory of whole chunks without records goes back to the system.
 *
 * Any thread may call anything; a record belongs to whoever allocated it.
 */
#ifndef CACHEFS_SUPERVISOR_ARENA_H
#define CACHEFS_SUPERVISOR_ARENA_H

#include <stddef.h>
#include <stdint.h>

#define ARENA_CHUNK 1024 /* records */

struct arena;

/*
 * COUNT records of RECORD_SIZE bytes and private parts of PRIVATE_SIZE bytes; address space is
 * reserved, memory used only as records are. 0 or a negative errno.
 */
int arena_create(const char *name, uint32_t count, size_t record_size, size_t private_size,
		 struct arena **out);
void arena_destroy(struct arena *a);

/* An unused index >= 1 with record and private part zeroed, or 0 when all are used. */
uint32_t arena_alloc(struct arena *a);
void arena_free(struct arena *a, uint32_t index);

/* NULL for an index that is out of range; does not say whether it is in use. */
void *arena_record(struct arena *a, uint32_t index);
void *arena_private(struct arena *a, uint32_t index);

/* Records in use. */
uint32_t arena_used(struct arena *a);

#endif
