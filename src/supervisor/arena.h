/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Fixed-size records in shared memory, named by index.
 *
 * What the kernel is told about nodes and handles (ids) must outlive the process that serves them,
 * so the records stand in a memfd (struct arena_memory), made by the supervisor, and hold no
 * pointers. Which of them are free, and beside each record a private part (process memory, same
 * index) for hash handles and the like, is struct arena: each serving process makes its own.
 * Memory of whole chunks without records goes back to the system.
 *
 * Any thread may call anything; a record belongs to whoever allocated it.
 */
#ifndef CACHEFS_SUPERVISOR_ARENA_H
#define CACHEFS_SUPERVISOR_ARENA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ARENA_CHUNK 1024 /* records */

struct arena;
struct arena_memory;

/*
 * COUNT (rounded up to whole chunks) records of RECORD_SIZE bytes, all zero; address space is
 * reserved, memory used only as records are. A process that is cloned off later has it at the same
 * address. 0 or a negative errno.
 */
int arena_memory_create(const char *name, uint32_t count, size_t record_size,
			struct arena_memory **out);
/*
 * The memory behind FD, which another program made. FD is taken over on success. -EPROTO: it has
 * records of another size, or is no such memory; or a negative errno.
 */
int arena_memory_adopt(int fd, size_t record_size, struct arena_memory **out);
/* Unmaps and closes it here; others that have it keep it. NULL does nothing. */
void arena_memory_destroy(struct arena_memory *m);
/* The same, but the descriptor stays open here, too. */
void arena_memory_release(struct arena_memory *m);
/* Borrowed. */
int arena_memory_fd(const struct arena_memory *m);
/* Of the records, bytes. */
size_t arena_memory_record_size(const struct arena_memory *m);
/* NULL for an index that is out of range; does not say whether it is in use. */
void *arena_memory_record(const struct arena_memory *m, uint32_t index);
/* FN for every record that has memory, in use or not, in order. */
void arena_memory_each(const struct arena_memory *m,
		       void (*fn)(void *arg, uint32_t index, void *record), void *arg);

/*
 * MEMORY is borrowed; one arena at a time. IN_USE says of a record that an earlier process left
 * whether it is in use, and may clear one that is not; NULL: none is. Private parts have
 * PRIVATE_SIZE bytes, zeroed. 0 or a negative errno.
 */
int arena_create(struct arena_memory *memory, size_t private_size, bool (*in_use)(void *record),
		 struct arena **out);
/* What stands in the memory stays. NULL does nothing. */
void arena_destroy(struct arena *a);

/* An unused index >= 1 with record and private part zeroed, or 0 when all are used. */
uint32_t arena_alloc(struct arena *a);
void arena_free(struct arena *a, uint32_t index);
/*
 * INDEX, which an earlier process left, is in use: for records that only others know to be. False:
 * it is already, or out of range.
 */
bool arena_claim(struct arena *a, uint32_t index);

/* NULL for an index that is out of range; does not say whether it is in use. */
void *arena_record(struct arena *a, uint32_t index);
void *arena_private(struct arena *a, uint32_t index);

/* Records in use. */
uint32_t arena_used(struct arena *a);
/* The first index in use after INDEX, or 0. */
uint32_t arena_next(struct arena *a, uint32_t index);

#endif
