/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * OpenMetrics text, 1.0. All samples of a family stand together, so the files are gone through once
 * for each; their labels are made before.
 */
#include <stdio.h>
#include <string.h>

#include "base/util.h"
#include "config/mode.h"
#include "observe/status.h"
#include "observe/writer.h"

static void label_special(struct writer *t, char c)
{
	static const char hex[] = "0123456789abcdef";
	unsigned char u = (unsigned char)c;
	char byte[] = {'\\', '\\', 'x', hex[u >> 4], hex[u & 15]};

	if (c == '"')
		writer_add(t, "\\\"");
	else if (c == '\\')
		writer_add(t, "\\\\");
	else if (c == '\n')
		writer_add(t, "\\n");
	else
		writer_add_bytes(t, byte, sizeof(byte));
}

static void label(struct writer *t, const char *name, const char *value)
{
	writer_add(t, t->len ? "," : "");
	writer_add(t, name);
	writer_add(t, "=\"");
	writer_add_quoted(t, value ? value : "", label_special);
	writer_add(t, "\"");
}

/* What has samples: the mount, or a file. */
struct series {
	char *labels; /* owned; without braces */
	const struct status_file *file;
	const struct status_mount *mount;
};

struct report {
	struct writer t;
	struct series *series; /* of COUNT files; the mount behind them */
	size_t count;
};

/* ---- families and samples ---- */

static void family(struct writer *t, const char *name, const char *type, const char *unit,
		   const char *help)
{
	writer_add(t, "# TYPE ");
	writer_add(t, name);
	writer_add(t, " ");
	writer_add(t, type);
	if (unit) {
		writer_add(t, "\n# UNIT ");
		writer_add(t, name);
		writer_add(t, " ");
		writer_add(t, unit);
	}
	writer_add(t, "\n# HELP ");
	writer_add(t, name);
	writer_add(t, " ");
	writer_add(t, help);
	writer_add(t, "\n");
}

/* The name and labels of a sample, and the blank in front of its value. */
static void sample(struct writer *t, const char *name, const char *suffix, const struct series *s)
{
	writer_add(t, name);
	writer_add(t, suffix);
	writer_add(t, "{");
	writer_add(t, s->labels);
	writer_add(t, "} ");
}

static const char *scope(const struct series *s)
{
	return s->file ? "cachefs_file_" : "cachefs_mount_";
}

/* CALL for each file or, where MOUNT, for the mount. */
#define EACH_SERIES(r, of_mount, s)                                                                \
	for (const struct series *s = (of_mount) ? &(r)->series[(r)->count] : (r)->series;         \
	     s < &(r)->series[(of_mount) ? (r)->count + 1 : (r)->count]; s++)

/* ---- counters ---- */

struct counter {
	const char *field, *help;
	enum stats_counter index;
};

static const struct counter counters[] = {
#define COUNTER(field, help) {#field, (help), STATS_##field},
    CACHEFS_COUNTERS(COUNTER)
#undef COUNTER
};

static bool ends_in(const char *s, const char *end)
{
	return strlen(s) > strlen(end) && !strcmp(s + strlen(s) - strlen(end), end);
}

/* A family has no "_total" in its name, its samples have; and times are in seconds. */
static const char *counter_name(const struct counter *c, const char *prefix, char *buf, size_t size)
{
	size_t len = strlen(c->field);
	bool nsec = ends_in(c->field, "_nsec");

	if (nsec || ends_in(c->field, "_total"))
		len -= strlen(nsec ? "_nsec" : "_total");
	snprintf(buf, size, "%s%.*s%s", prefix, (int)len, c->field, nsec ? "_seconds" : "");
	return nsec ? "seconds" : ends_in(buf, "_bytes") ? "bytes" : NULL;
}

static uint64_t file_counter(const struct cachefs_status *s, enum stats_counter counter)
{
	switch (counter) {
#define COUNTER(field, help)                                                                       \
	case STATS_##field:                                                                        \
		return s->field;
		CACHEFS_COUNTERS(COUNTER)
#undef COUNTER
	default:
		return 0;
	}
}

static void counter_family(struct report *r, const struct counter *c, bool of_mount)
{
	const char *prefix = of_mount ? "cachefs_mount_" : "cachefs_file_";
	char name[64], help[128];
	const char *unit = counter_name(c, prefix, name, sizeof(name));
	bool seconds = unit && !strcmp(unit, "seconds");

	/* the help texts are those of status.json, which counts nanoseconds */
	snprintf(help, sizeof(help), "%s", seconds ? "time spent in read-modify-writes" : c->help);
	family(&r->t, name, "counter", unit, help);
	EACH_SERIES(r, of_mount, s)
	{
		uint64_t n = s->file ? file_counter(&s->file->s, c->index)
				     : s->mount->total.counters[c->index];

		sample(&r->t, name, "_total", s);
		if (seconds)
			writer_add_seconds(&r->t, n);
		else
			writer_add_number(&r->t, n);
		writer_add(&r->t, "\n");
	}
}

/* X(family, member of struct status_mount, help) */
#define MOUNT_COUNTERS(X)                                                                          \
	X(cachefs_mount_worker_restarts, worker_restarts,                                          \
	  "processes that served, died, and were replaced")                                        \
	X(cachefs_mount_upgrades, upgrades, "times that another program took over")                \
	X(cachefs_mount_requests_resent, requests_resent,                                          \
	  "requests that came again to a process that took over")

static void mount_counters(struct report *r)
{
	const struct series *s = &r->series[r->count];

#define FAMILY(name, member, help)                                                                 \
	family(&r->t, #name, "counter", NULL, help);                                               \
	sample(&r->t, #name, "_total", s);                                                         \
	writer_add_number(&r->t, s->mount->member);                                                \
	writer_add(&r->t, "\n");
	MOUNT_COUNTERS(FAMILY)
#undef FAMILY
}

/* ---- histograms ---- */

static const struct cachefs_latency *latency_of(const struct series *s, enum stats_latency l)
{
	const struct cachefs_status *f = s->file ? &s->file->s : NULL;

	if (!f)
		return &s->mount->total.latencies[l];
	return l == STATS_READ ? &f->reads : l == STATS_WRITE ? &f->writes : &f->flushes;
}

static void histogram(struct writer *t, const char *name, const struct series *s,
		      const struct cachefs_latency *l)
{
	uint64_t sum = 0;

	for (int i = 0; i < CACHEFS_BUCKETS; i++) {
		sum += l->buckets[i];
		writer_add(t, name);
		writer_add(t, "_bucket{");
		writer_add(t, s->labels);
		writer_add(t, ",le=\"");
		if (i == CACHEFS_BUCKETS - 1)
			writer_add(t, "+Inf");
		else
			writer_add_seconds(t, CACHEFS_BUCKET_NSEC(i));
		writer_add(t, "\"} ");
		writer_add_number(t, sum);
		writer_add(t, "\n");
	}
	sample(t, name, "_count", s);
	writer_add_number(t, sum);
	writer_add(t, "\n");
	sample(t, name, "_sum", s);
	writer_add_seconds(t, l->nsec);
	writer_add(t, "\n");
}

static void histogram_family(struct report *r, enum stats_latency l, bool of_mount)
{
	static const struct {
		const char *name, *help;
	} rows[] = {
	    [STATS_READ] = {"read_seconds", "latency of reads that the daemon served"},
	    [STATS_WRITE] = {"write_seconds", "latency of writes that the daemon served"},
	    [STATS_FLUSH] = {"flush_seconds", "latency of the flushes executed"},
	};
	char name[64];

	snprintf(name, sizeof(name), "%s%s", of_mount ? "cachefs_mount_" : "cachefs_file_",
		 rows[l].name);
	family(&r->t, name, "histogram", "seconds", rows[l].help);
	EACH_SERIES(r, of_mount, s)
	{
		const struct cachefs_latency *latency = latency_of(s, l);

		/* of 500 files most have never been flushed: a series begins with its first event
		 */
		if (latency->count || of_mount)
			histogram(&r->t, name, s, latency);
	}
}

/* ---- gauges ---- */

/* X(family, unit, member of struct cachefs_status, help) */
#define FILE_GAUGES(X)                                                                             \
	X(cachefs_file_size_bytes, "bytes", size, "size of the file")                              \
	X(cachefs_file_cached_bytes, "bytes", cached_bytes, "in the host's page cache")            \
	X(cachefs_file_dirty_bytes, "bytes", dirty_bytes,                                          \
	  "written, and not yet on their way to stable storage")                                   \
	X(cachefs_file_writeback_bytes, "bytes", writeback_bytes,                                  \
	  "on their way to stable storage now")                                                    \
	X(cachefs_file_handles, NULL, opens, "opens that are not closed yet")                      \
	X(cachefs_file_writers, NULL, writers, "those of them that may write")                     \
	X(cachefs_file_flush_errno, NULL, error,                                                   \
	  "errno of a flush that failed, while it is not forgotten")                               \
	X(cachefs_file_tainted, NULL, tainted, "the host went down with unflushed data of it")

struct gauge {
	const char *name, *unit, *help;
	size_t offset, size;
};

static const struct gauge gauges[] = {
#define GAUGE(name, unit, member, help)                                                            \
	{#name, (unit), (help), offsetof(struct cachefs_status, member),                           \
	 sizeof(((struct cachefs_status *)0)->member)},
    FILE_GAUGES(GAUGE)
#undef GAUGE
};

static uint64_t gauge_value(const struct cachefs_status *s, const struct gauge *g)
{
	const char *p = (const char *)s + g->offset;
	uint32_t narrow;
	uint64_t wide;

	if (g->size == sizeof(narrow)) {
		memcpy(&narrow, p, sizeof(narrow));
		return narrow;
	}
	memcpy(&wide, p, sizeof(wide));
	return wide;
}

static void gauge_family(struct report *r, const struct gauge *g)
{
	family(&r->t, g->name, "gauge", g->unit, g->help);
	EACH_SERIES(r, false, s)
	{
		uint64_t n = gauge_value(&s->file->s, g);

		if (n == CACHEFS_UNKNOWN)
			continue;
		sample(&r->t, g->name, "", s);
		writer_add_number(&r->t, n);
		writer_add(&r->t, "\n");
	}
}

/* ---- what is text: labels of a sample that is always 1 ---- */

static void mode_label(struct writer *t, uint32_t switches)
{
	char mode[96];

	mode_describe(switches_unpack(switches), mode, sizeof(mode));
	label(t, "mode", mode);
}

static void info(struct report *r, const struct series *s)
{
	const struct status_mount *m = s->mount;
	struct writer more = {0};
	char *labels;
	size_t len;

	writer_add(&more, s->labels);
	mode_label(&more, s->file ? s->file->s.switches : m->switches);
	if (!s->file) {
		label(&more, "version", m->version);
		label(&more, "source", m->source);
		label(&more, "transport", m->transport);
		label(&more, "engine", m->engine);
	}
	labels = writer_take(&more, &len);
	writer_add(&r->t, scope(s));
	writer_add(&r->t, "info{");
	writer_add(&r->t, labels ? labels : "");
	writer_add(&r->t, "} 1\n");
	r->t.failed = r->t.failed || !labels;
	free(labels);
}

static void infos(struct report *r)
{
	family(&r->t, "cachefs_mount", "info", NULL, "the mount, and its mode");
	EACH_SERIES(r, true, s)
	info(r, s);
	family(&r->t, "cachefs_file", "info", NULL, "an open file, and its mode");
	EACH_SERIES(r, false, s)
	info(r, s);
}

/* ---- the report ---- */

/* Files are sorted by path; those of one path (deleted, or renamed behind us) need one thing more.
 */
static bool path_is_unique(const struct status *s, size_t i)
{
	const char *path = s->files[i].path;

	return !(i && !strcmp(s->files[i - 1].path, path)) &&
	       !(i + 1 < s->count && !strcmp(s->files[i + 1].path, path));
}

static char *labels_of(const struct status *s, size_t i)
{
	struct writer t = {0};
	char inode[24];
	size_t len;

	label(&t, "mountpoint", s->mount.mountpoint);
	if (i < s->count) {
		label(&t, "path", s->files[i].path);
		if (!path_is_unique(s, i)) {
			snprintf(inode, sizeof(inode), "%llu",
				 (unsigned long long)s->files[i].inode);
			label(&t, "inode", inode);
		}
	}
	return writer_take(&t, &len);
}

static int report_init(struct report *r, const struct status *s)
{
	*r = (struct report){.count = s->count};
	r->series = calloc(s->count + 1, sizeof(*r->series));
	for (size_t i = 0; r->series && i <= s->count; i++) {
		r->series[i] = (struct series){.labels = labels_of(s, i),
					       .file = i < s->count ? &s->files[i] : NULL,
					       .mount = &s->mount};
		r->t.failed = r->t.failed || !r->series[i].labels;
	}
	return r->series && !r->t.failed ? 0 : -ENOMEM;
}

static void report_free(struct report *r)
{
	for (size_t i = 0; r->series && i <= r->count; i++)
		free(r->series[i].labels);
	free(r->series);
}

char *status_metrics(const struct status *s, size_t *len)
{
	struct report r;
	char *text = NULL;

	if (!report_init(&r, s)) {
		infos(&r);
		mount_counters(&r);
		for (int of_mount = 1; of_mount >= 0; of_mount--) {
			for (size_t i = 0; i < ARRAY_SIZE(counters); i++)
				counter_family(&r, &counters[i], of_mount);
			for (int l = 0; l < STATS_LATENCIES; l++)
				histogram_family(&r, (enum stats_latency)l, of_mount);
		}
		for (size_t i = 0; i < ARRAY_SIZE(gauges); i++)
			gauge_family(&r, &gauges[i]);
		writer_add(&r.t, "# EOF\n");
		text = writer_take(&r.t, len);
	}
	report_free(&r);
	return text;
}
