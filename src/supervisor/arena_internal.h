/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What arena.c and arena_memory.c share. */
#ifndef CACHEFS_SUPERVISOR_ARENA_INTERNAL_H
#define CACHEFS_SUPERVISOR_ARENA_INTERNAL_H

#include <stddef.h>
#include <stdint.h>

struct arena_memory {
	int fd;
	uint32_t count;
	size_t record_size, size; /* bytes; SIZE: of MAP */
	char *map, *records;
};

#endif
