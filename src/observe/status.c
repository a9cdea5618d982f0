/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * status.json. Written as text, not built as a tree: libjansson took 7 ms for 500 files, most of it
 * in json_dumps(), where this takes less than one, and the report may be read ten times a second.
 */
#include "observe/status.h"

#include <fcntl.h>
#include <string.h>

#include "base/util.h"
#include "config/mode.h"
#include "observe/writer.h"

void status_free(struct status *s)
{
	for (size_t i = 0; i < s->count; i++)
		free(s->files[i].path);
	free(s->files);
	*s = (struct status){0};
}

/* ---- JSON ---- */

static void json_special(struct writer *t, char c)
{
	static const char hex[] = "0123456789abcdef";
	unsigned char u = (unsigned char)c;
	char escape[] = {'\\', 'u', '0', '0', hex[u >> 4], hex[u & 15]};

	if (c == '"')
		writer_add(t, "\\\"");
	else if (c == '\\')
		writer_add(t, "\\\\");
	else if (c == '\n')
		writer_add(t, "\\n");
	else
		writer_add_bytes(t, escape, sizeof(escape));
}

/* KEY, and what separates it from what stood before: nothing at the beginning of an object. */
static void key(struct writer *t, const char *name)
{
	bool first = t->len && (t->data[t->len - 1] == '{' || t->data[t->len - 1] == '[');

	writer_add(t, first ? "\"" : ",\"");
	writer_add(t, name);
	writer_add(t, "\":");
}

static void string(struct writer *t, const char *name, const char *value)
{
	key(t, name);
	writer_add(t, "\"");
	writer_add_quoted(t, value, json_special);
	writer_add(t, "\"");
}

static void number(struct writer *t, const char *name, uint64_t n)
{
	key(t, name);
	writer_add_number(t, n);
}

static void number_or_null(struct writer *t, const char *name, uint64_t n)
{
	if (n != CACHEFS_UNKNOWN) {
		number(t, name, n);
		return;
	}
	key(t, name);
	writer_add(t, "null");
}

static void boolean(struct writer *t, const char *name, bool value)
{
	key(t, name);
	writer_add(t, value ? "true" : "false");
}

static void seconds(struct writer *t, const char *name, uint64_t nsec)
{
	key(t, name);
	writer_add_seconds(t, nsec);
}

static void error_or_null(struct writer *t, const char *name, int error)
{
	if (error) {
		string(t, name, strerror(error));
		return;
	}
	key(t, name);
	writer_add(t, "null");
}

/* ---- what the objects have in common ---- */

static void mode(struct writer *t, uint32_t bits)
{
	char text[96];

	mode_describe(switches_unpack(bits), text, sizeof(text));
	string(t, "mode", text);
	key(t, "switches");
	writer_add(t, "{");
	boolean(t, "direct", bits & CACHEFS_DIRECT);
	boolean(t, "writeback", bits & CACHEFS_WRITEBACK);
	boolean(t, "no_flush", bits & CACHEFS_NO_FLUSH);
	writer_add(t, "}");
}

static void latencies(struct writer *t, const struct cachefs_latency *reads,
		      const struct cachefs_latency *writes, const struct cachefs_latency *flushes)
{
	number(t, "reads", reads->count);
	number(t, "writes", writes->count);
	seconds(t, "flush_seconds", flushes->nsec);
	seconds(t, "read_seconds", reads->nsec);
	seconds(t, "write_seconds", writes->nsec);
}

static const char *origin_name(uint32_t origin)
{
#define ORIGIN_NAME(id, value, name) [value] = (name),
	static const char *const names[] = {CACHEFS_ORIGINS(ORIGIN_NAME)};

	return origin < ARRAY_SIZE(names) ? names[origin] : "";
}

static const char *kernel_path_text(uint32_t reason)
{
#define KERNEL_PATH_TEXT(id, value, text) [value] = (text),
	static const char *const texts[] = {CACHEFS_KERNEL_PATH(KERNEL_PATH_TEXT)};

	return reason < ARRAY_SIZE(texts) ? texts[reason] : "";
}

/* ---- a file ---- */

static void pending(struct writer *t, const struct cachefs_status *s)
{
	key(t, "pending");
	if (!s->pending) {
		writer_add(t, "null");
		return;
	}
	writer_add(t, "{");
	mode(t, s->pending_switches);
	string(t, "origin", origin_name(s->pending_origin));
	writer_add(t, "}");
}

static void add_flag(char *text, size_t size, const char *name)
{
	strncat(text, *text ? "|" : "", size - strlen(text) - 1);
	strncat(text, name, size - strlen(text) - 1);
}

/* Those that matter to a cache mode; the rest is the client's own business. */
static void flags_text(uint32_t flags, char *text, size_t size)
{
	static const char *const access[] = {"O_RDONLY", "O_WRONLY", "O_RDWR", "O_ACCMODE"};

	*text = 0;
	add_flag(text, size, access[flags & O_ACCMODE]);
	if (flags & O_DIRECT)
		add_flag(text, size, "O_DIRECT");
	if ((flags & O_SYNC) == O_SYNC) /* contains O_DSYNC */
		add_flag(text, size, "O_SYNC");
	else if (flags & O_DSYNC)
		add_flag(text, size, "O_DSYNC");
	if (flags & O_APPEND)
		add_flag(text, size, "O_APPEND");
}

static void clients(struct writer *t, const struct cachefs_status *s)
{
	char flags[64];

	key(t, "clients");
	writer_add(t, "[");
	for (uint32_t i = 0; i < s->clients_shown; i++) {
		const struct cachefs_client *c = &s->clients[i];

		writer_add(t, i ? ",{" : "{");
		number(t, "opened_by_pid", (uint64_t)MAX(c->pid, 0));
		string(t, "comm", c->comm);
		flags_text(c->flags, flags, sizeof(flags));
		string(t, "flags", flags);
		boolean(t, "kernel_path", c->kernel_path);
		writer_add(t, "}");
	}
	writer_add(t, "]");
}

static void file(struct writer *t, const struct status_file *f)
{
	const struct cachefs_status *s = &f->s;

	writer_add(t, "{");
	string(t, "path", f->path);
	mode(t, s->switches);
	string(t, "origin", origin_name(s->origin));
	pending(t, s);
	number(t, "opens", s->opens);
	number(t, "writers", s->writers);
	boolean(t, "kernel_path", s->kernel_path == CACHEFS_KERNEL_PATH_USED);
	string(t, "kernel_path_reason", kernel_path_text(s->kernel_path));
	boolean(t, "deleted", s->deleted);
	number(t, "direct_align", s->direct_align);
#define COUNTER(field, help) number(t, #field, s->field);
	CACHEFS_COUNTERS(COUNTER)
#undef COUNTER
	latencies(t, &s->reads, &s->writes, &s->flushes);
	number_or_null(t, "size", s->size);
	number_or_null(t, "cached_bytes", s->cached_bytes);
	number_or_null(t, "dirty_bytes", s->dirty_bytes);
	number_or_null(t, "writeback_bytes", s->writeback_bytes);
	error_or_null(t, "error", s->error);
	boolean(t, "tainted", s->tainted);
	number_or_null(t, "checkpoint_age_s",
		       s->checkpoint_age_s < 0 ? CACHEFS_UNKNOWN : (uint64_t)s->checkpoint_age_s);
	number(t, "clients_total", s->clients_total);
	clients(t, s);
	writer_add(t, "}");
}

/* ---- the mount ---- */

static void total(struct writer *t, const struct stats *sum)
{
	key(t, "total");
	writer_add(t, "{");
#define COUNTER(field, help) number(t, #field, sum->counters[STATS_##field]);
	CACHEFS_COUNTERS(COUNTER)
#undef COUNTER
	latencies(t, &sum->latencies[STATS_READ], &sum->latencies[STATS_WRITE],
		  &sum->latencies[STATS_FLUSH]);
	writer_add(t, "}");
}

static const char *known(const char *s)
{
	return s ? s : "";
}

static void mount(struct writer *t, const struct status_mount *m)
{
	string(t, "version", known(m->version));
	string(t, "source", known(m->source));
	string(t, "mountpoint", known(m->mountpoint));
	string(t, "transport", known(m->transport));
	string(t, "engine", known(m->engine));
	boolean(t, "recover", m->recover);
	number(t, "supervisor_pid", (uint64_t)m->supervisor_pid);
	number(t, "worker_pid", (uint64_t)m->worker_pid);
	number(t, "worker_restarts", m->worker_restarts);
	string(t, "options", m->options);
	mode(t, m->switches);
	number(t, "rules", m->rules);
	error_or_null(t, "sync_error", m->sync_error);
	total(t, &m->total);
}

char *status_json(const struct status *s, size_t *len)
{
	struct writer t = {0};

	writer_add(&t, "{");
	mount(&t, &s->mount);
	key(&t, "files");
	writer_add(&t, "[");
	for (size_t i = 0; i < s->count; i++) {
		writer_add(&t, i ? ",\n" : "\n"); /* a line each, for those who have no parser */
		file(&t, &s->files[i]);
	}
	writer_add(&t, "\n]}\n");
	return writer_take(&t, len);
}
