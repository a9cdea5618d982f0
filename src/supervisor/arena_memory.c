/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "base/util.h"
#include "supervisor/arena.h"
#include "supervisor/arena_internal.h"

#define MAGIC UINT64_C(0x616e657261736643) /* "Cfsarena" */

/* The first page; records start on the next one. */
struct header {
	uint64_t magic;
	uint64_t record_size; /* bytes */
	uint32_t count;
};

static size_t page_size(void)
{
	return (size_t)sysconf(_SC_PAGESIZE);
}

static int memory_map(struct arena_memory *m, uint32_t count, size_t record_size)
{
	m->count = count;
	m->record_size = record_size;
	m->size = page_size() + (size_t)count * record_size;
	m->map = mmap(NULL, m->size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, m->fd, 0);
	if (m->map == MAP_FAILED) {
		m->map = NULL;
		return -errno;
	}
	m->records = m->map + page_size();
	return 0;
}

int arena_memory_create(const char *name, uint32_t count, size_t record_size,
			struct arena_memory **out)
{
	struct arena_memory *m = calloc(1, sizeof(*m));
	int err;

	if (!m)
		return -ENOMEM;
	count = (uint32_t)align_up(count, ARENA_CHUNK);
	m->fd = sysret(memfd_create(name, MFD_CLOEXEC));
	err = MIN(m->fd, 0);
	if (!err)
		err = sysret(ftruncate(m->fd, (off_t)(page_size() + (size_t)count * record_size)));
	if (!err)
		err = memory_map(m, count, record_size);
	if (err) {
		arena_memory_destroy(m);
		return err;
	}
	*(struct header *)(void *)m->map =
	    (struct header){.magic = MAGIC, .record_size = record_size, .count = count};
	*out = m;
	return 0;
}

int arena_memory_adopt(int fd, size_t record_size, struct arena_memory **out)
{
	struct arena_memory *m;
	struct header h;
	struct stat st;
	ssize_t n = pread(fd, &h, sizeof(h), 0);
	int err;

	if (n < 0 || fstat(fd, &st) < 0)
		return -errno;
	if (n != sizeof(h) || h.magic != MAGIC || h.record_size != record_size ||
	    h.count % ARENA_CHUNK ||
	    (uint64_t)st.st_size != page_size() + (uint64_t)h.count * record_size)
		return -EPROTO;
	m = calloc(1, sizeof(*m));
	if (!m)
		return -ENOMEM;
	m->fd = fd;
	err = memory_map(m, h.count, record_size);
	if (err) {
		free(m);
		return err;
	}
	*out = m;
	return 0;
}

void arena_memory_destroy(struct arena_memory *m)
{
	if (!m)
		return;
	if (m->map)
		munmap(m->map, m->size);
	cleanup_fd(&m->fd);
	free(m);
}

void arena_memory_release(struct arena_memory *m)
{
	if (m)
		m->fd = -1;
	arena_memory_destroy(m);
}

int arena_memory_fd(const struct arena_memory *m)
{
	return m->fd;
}

size_t arena_memory_record_size(const struct arena_memory *m)
{
	return m->record_size;
}

void *arena_memory_record(const struct arena_memory *m, uint32_t index)
{
	return index < m->count ? m->records + (size_t)index * m->record_size : NULL;
}

/*
 * Memory that was never used, or given back, is a hole of the memfd: it is not looked at, which
 * would give it pages. (The offset belongs to the open file, but nobody reads or writes this one.)
 */
void arena_memory_each(const struct arena_memory *m,
		       void (*fn)(void *arg, uint32_t index, void *record), void *arg)
{
	off_t base = (off_t)page_size(), pos = base;
	uint32_t next = 1; /* 0 means "none" */

	for (;;) {
		off_t start = lseek(m->fd, pos, SEEK_DATA), end;
		uint32_t last;

		if (start < 0)
			return;
		end = lseek(m->fd, start, SEEK_HOLE);
		if (end < 0)
			return;
		next = MAX(next, (uint32_t)((size_t)(start - base) / m->record_size));
		last = (uint32_t)MIN(((size_t)(end - base) + m->record_size - 1) / m->record_size,
				     m->count);
		for (; next < last; next++)
			fn(arg, next, arena_memory_record(m, next));
		pos = end;
	}
}
