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

/*
 * Every member ends in a comma, which the end of its object takes back. The names are string
 * constants, so that they are copied as they are.
 */
#define KEY(t, name) writer_add_bytes((t), "\"" name "\":", sizeof("\"" name "\":") - 1)
#define STRING(t, name, value) (KEY(t, name), add_string((t), (value)))
#define NUMBER(t, name, value) (KEY(t, name), add_number((t), (value)))
#define BOOLEAN(t, name, value) (KEY(t, name), writer_add((t), (value) ? "true," : "false,"))
#define SECONDS(t, name, nsec) (KEY(t, name), add_seconds((t), (nsec)))
#define ERROR(t, name, error) (KEY(t, name), add_error((t), (error)))

static void add_string(struct writer *t, const char *value)
{
	writer_add(t, "\"");
	writer_add_quoted(t, value ? value : "", json_special);
	writer_add(t, "\",");
}

/* CACHEFS_UNKNOWN is null. */
static void add_number(struct writer *t, uint64_t n)
{
	if (n == CACHEFS_UNKNOWN)
		writer_add(t, "null");
	else
		writer_add_number(t, n);
	writer_add(t, ",");
}

static void add_seconds(struct writer *t, uint64_t nsec)
{
	writer_add_seconds(t, nsec);
	writer_add(t, ",");
}

static void add_error(struct writer *t, int error)
{
	if (error)
		add_string(t, strerror(error));
	else
		writer_add(t, "null,");
}

/* END: "}" or "]". */
static void end(struct writer *t, const char *closing)
{
	if (t->len && t->data[t->len - 1] == ',')
		t->len--;
	writer_add(t, closing);
	writer_add(t, ",");
}

/* ---- what the objects have in common ---- */

static void mode(struct writer *t, uint32_t bits)
{
	char text[96];

	mode_describe(switches_unpack(bits), text, sizeof(text));
	STRING(t, "mode", text);
	KEY(t, "switches");
	writer_add(t, "{");
	BOOLEAN(t, "direct", bits & CACHEFS_DIRECT);
	BOOLEAN(t, "writeback", bits & CACHEFS_WRITEBACK);
	BOOLEAN(t, "no_flush", bits & CACHEFS_NO_FLUSH);
	end(t, "}");
}

static void latencies(struct writer *t, const struct cachefs_latency *reads,
		      const struct cachefs_latency *writes, const struct cachefs_latency *flushes)
{
	NUMBER(t, "reads", reads->count);
	NUMBER(t, "writes", writes->count);
	SECONDS(t, "flush_seconds", flushes->nsec);
	SECONDS(t, "read_seconds", reads->nsec);
	SECONDS(t, "write_seconds", writes->nsec);
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
	KEY(t, "pending");
	if (!s->pending) {
		writer_add(t, "null,");
		return;
	}
	writer_add(t, "{");
	mode(t, s->pending_switches);
	STRING(t, "origin", origin_name(s->pending_origin));
	end(t, "}");
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

	KEY(t, "clients");
	writer_add(t, "[");
	for (uint32_t i = 0; i < s->clients_shown; i++) {
		const struct cachefs_client *c = &s->clients[i];

		writer_add(t, "{");
		NUMBER(t, "opened_by_pid", (uint64_t)MAX(c->pid, 0));
		STRING(t, "comm", c->comm);
		flags_text(c->flags, flags, sizeof(flags));
		STRING(t, "flags", flags);
		BOOLEAN(t, "kernel_path", c->kernel_path);
		end(t, "}");
	}
	end(t, "]");
}

static void file(struct writer *t, const struct status_file *f)
{
	const struct cachefs_status *s = &f->s;

	writer_add(t, "{");
	STRING(t, "path", f->path);
	mode(t, s->switches);
	STRING(t, "origin", origin_name(s->origin));
	pending(t, s);
	NUMBER(t, "opens", s->opens);
	NUMBER(t, "writers", s->writers);
	BOOLEAN(t, "kernel_path", s->kernel_path == CACHEFS_KERNEL_PATH_USED);
	STRING(t, "kernel_path_reason", kernel_path_text(s->kernel_path));
	BOOLEAN(t, "deleted", s->deleted);
	NUMBER(t, "direct_align", s->direct_align);
#define COUNTER(field, help) NUMBER(t, #field, s->field);
	CACHEFS_COUNTERS(COUNTER)
#undef COUNTER
	latencies(t, &s->reads, &s->writes, &s->flushes);
	NUMBER(t, "size", s->size);
	NUMBER(t, "cached_bytes", s->cached_bytes);
	NUMBER(t, "dirty_bytes", s->dirty_bytes);
	NUMBER(t, "writeback_bytes", s->writeback_bytes);
	ERROR(t, "error", s->error);
	BOOLEAN(t, "flushing", s->flushing);
	BOOLEAN(t, "tainted", s->tainted);
	NUMBER(t, "checkpoint_age_s",
	       s->checkpoint_age_s < 0 ? CACHEFS_UNKNOWN : (uint64_t)s->checkpoint_age_s);
	NUMBER(t, "clients_total", s->clients_total);
	clients(t, s);
	end(t, "}");
}

/* ---- the mount ---- */

static void total(struct writer *t, const struct stats *sum)
{
	KEY(t, "total");
	writer_add(t, "{");
#define COUNTER(field, help) NUMBER(t, #field, sum->counters[STATS_##field]);
	CACHEFS_COUNTERS(COUNTER)
#undef COUNTER
	latencies(t, &sum->latencies[STATS_READ], &sum->latencies[STATS_WRITE],
		  &sum->latencies[STATS_FLUSH]);
	end(t, "}");
}

static void last_death(struct writer *t, const struct status_death *d)
{
	KEY(t, "last_death");
	if (!d->pid) {
		writer_add(t, "null,");
		return;
	}
	writer_add(t, "{");
	NUMBER(t, "pid", (uint64_t)d->pid);
	NUMBER(t, "signal", (uint64_t)d->signal);
	NUMBER(t, "exit_status", (uint64_t)d->exit_status);
	BOOLEAN(t, "hung", d->hung);
	NUMBER(t, "at", d->at);
	SECONDS(t, "pause_seconds", d->pause_nsec);
	end(t, "}");
}

static void mount(struct writer *t, const struct status_mount *m)
{
	STRING(t, "version", m->version);
	STRING(t, "source", m->source);
	STRING(t, "mountpoint", m->mountpoint);
	STRING(t, "transport", m->transport);
	STRING(t, "engine", m->engine);
	BOOLEAN(t, "recover", m->recover);
	NUMBER(t, "supervisor_pid", (uint64_t)m->supervisor_pid);
	NUMBER(t, "worker_pid", (uint64_t)m->worker_pid);
	NUMBER(t, "worker_restarts", m->worker_restarts);
	NUMBER(t, "upgrades", m->upgrades);
	NUMBER(t, "requests_resent", m->requests_resent);
	last_death(t, &m->last_death);
	STRING(t, "options", m->options);
	mode(t, m->switches);
	NUMBER(t, "rules", m->rules);
	ERROR(t, "sync_error", m->sync_error);
	total(t, &m->total);
}

char *status_json(const struct status *s, size_t *len)
{
	struct writer t = {0};

	writer_add(&t, "{");
	mount(&t, &s->mount);
	KEY(&t, "files");
	writer_add(&t, "[");
	for (size_t i = 0; i < s->count; i++) {
		writer_add(&t, "\n"); /* a line each, for those who have no parser */
		file(&t, &s->files[i]);
	}
	end(&t, "]");
	end(&t, "}");
	t.len -= t.len > 0; /* the last comma */
	writer_add(&t, "\n");
	return writer_take(&t, len);
}
