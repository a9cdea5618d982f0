/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctl/rates.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "ctl/text.h"

static double rate(uint64_t before, uint64_t now, double seconds)
{
	if (before == CACHEFS_UNKNOWN || now == CACHEFS_UNKNOWN || now < before || seconds <= 0)
		return NAN;
	return (double)(now - before) / seconds;
}

static void fill(struct rate_row *row, const struct file_status *old, double seconds)
{
	const struct file_status *f = row->file;

	for (size_t i = 0; i < RATE_COLUMNS_COUNT; i++)
		row->values[i] = NAN;
	if (f->dirty_bytes != CACHEFS_UNKNOWN)
		row->values[RATE_COLUMN_DIRTY] = (double)f->dirty_bytes;
	if (!old)
		return;
	row->values[RATE_COLUMN_READS] = rate(old->reads, f->reads, seconds);
	row->values[RATE_COLUMN_WRITES] = rate(old->writes, f->writes, seconds);
	row->values[RATE_COLUMN_READ_BYTES] = rate(old->read_bytes, f->read_bytes, seconds);
	row->values[RATE_COLUMN_WRITE_BYTES] = rate(old->write_bytes, f->write_bytes, seconds);
	row->values[RATE_COLUMN_FLUSHES] =
	    rate(old->flushes_received, f->flushes_received, seconds);
	row->values[RATE_COLUMN_DROPPED] = rate(old->flushes_dropped, f->flushes_dropped, seconds);
}

struct rate_row *rates(const struct report *before, const struct report *now, size_t *count)
{
	struct rate_row *rows = need_memory(calloc(now->files_count + 1, sizeof(*rows)));

	for (size_t i = 0; i < now->files_count; i++) {
		rows[i].file = &now->files[i];
		fill(&rows[i], before ? report_find(before, now->files[i].path) : NULL,
		     before ? now->seconds - before->seconds : 0);
	}
	*count = now->files_count;
	return rows;
}

struct order {
	enum rate_column by;
	bool reverse;
};

static int compare(const void *pa, const void *pb, void *arg)
{
	const struct rate_row *a = pa, *b = pb;
	const struct order *order = arg;
	double va = a->values[order->by], vb = b->values[order->by];

	if (isnan(va) != isnan(vb))
		return isnan(va) ? 1 : -1;
	if (!isnan(va) && (va < vb || va > vb))
		return (va < vb) == order->reverse ? -1 : 1;
	return strcmp(a->file->path, b->file->path);
}

void rates_sort(struct rate_row *rows, size_t count, enum rate_column by, bool reverse)
{
	struct order order = {by, reverse};

	qsort_r(rows, count, sizeof(*rows), compare, &order);
}

static void add_row(struct table *t, const struct rate_row *row)
{
	static const bool is_size[] = {
#define RATE 0
#define SIZE 1
#define COLUMN_(id, title, type) type,
	    RATE_COLUMNS(COLUMN_)
#undef COLUMN_
#undef RATE
#undef SIZE
	};
	struct table_cell cells[2 + RATE_COLUMNS_COUNT] = {0};
	char texts[RATE_COLUMNS_COUNT][TEXT_SMALL], mode[MODE_TEXT];
	_cleanup_free_ char *path = text_escape(row->file->path);

	cells[0].text = path;
	cells[1].text = switches_text(row->file->switches, mode);
	for (size_t i = 0; i < RATE_COLUMNS_COUNT; i++) {
		double v = row->values[i];

		cells[2 + i].text =
		    is_size[i] ? text_bytes(isnan(v) ? CACHEFS_UNKNOWN : (uint64_t)v, texts[i])
			       : text_decimal(v, texts[i]);
	}
	table_add(t, cells);
}

struct table *rates_table(const struct rate_row *rows, size_t count, enum rate_column sorted)
{
	/* what is left out first on a narrow terminal, but never what is sorted by */
	static struct table_column columns[2 + RATE_COLUMNS_COUNT];
	static const char *const plain[] = {
#define COLUMN_(id, title, type) title,
	    RATE_COLUMNS(COLUMN_)
#undef COLUMN_
	};
	static const char *const marked[] = {
#define COLUMN_(id, title, type) title "*",
	    RATE_COLUMNS(COLUMN_)
#undef COLUMN_
	};
	struct table *t;

	columns[0] = (struct table_column){.title = "PATH", .shorten = true};
	columns[1] = (struct table_column){.title = "MODE", .drop = 1};
	for (size_t i = 0; i < RATE_COLUMNS_COUNT; i++)
		columns[2 + i] = (struct table_column){
		    .title = i == sorted ? marked[i] : plain[i],
		    .right = true,
		    .drop = i == sorted ? 0 : 2,
		};
	t = table_new(columns, ARRAY_SIZE(columns));
	for (size_t i = 0; i < count; i++)
		add_row(t, &rows[i]);
	return t;
}
