/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctl/file_status.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "config/mode.h"
#include "ctl/text.h"

const struct file_field file_fields[] = {
#define FIELD_(type, name, expression) {#name, FIELD_##type, offsetof(struct file_status, name)},
#define COUNTER_(name, help) {#name, FIELD_NUMBER, offsetof(struct file_status, name)},
    FILE_FIELDS(FIELD_) CACHEFS_COUNTERS(COUNTER_)
#undef FIELD_
#undef COUNTER_
};
const size_t file_fields_count = ARRAY_SIZE(file_fields);

static uint64_t *number_at(const struct file_status *f, const struct file_field *field)
{
	return (uint64_t *)(void *)((char *)(uintptr_t)f + field->offset);
}

static double *seconds_at(const struct file_status *f, const struct file_field *field)
{
	return (double *)(void *)((char *)(uintptr_t)f + field->offset);
}

const char *file_field_text(const struct file_status *f, const struct file_field *field, char *buf)
{
	uint64_t n;

	if (field->type == FIELD_SECONDS)
		return text_decimal(*seconds_at(f, field), buf);
	n = *number_at(f, field);
	if (field->type == FIELD_BYTES)
		return text_bytes(n, buf);
	if (field->type == FIELD_BOOL && n != CACHEFS_UNKNOWN)
		return n ? "yes" : "no";
	return text_number(n, buf);
}

const char *switches_text(int switches, char *buf)
{
	if (switches < 0)
		return "-";
	mode_describe(switches_unpack((unsigned)switches), buf, MODE_TEXT);
	return buf;
}

char *open_flags_text(unsigned flags)
{
	static const char *const access[] = {"O_RDONLY", "O_WRONLY", "O_RDWR", "O_ACCMODE"};
	/* O_SYNC has O_DSYNC's bit */
	const char *sync = (flags & O_SYNC) == O_SYNC ? "|O_SYNC"
			   : flags & O_DSYNC	      ? "|O_DSYNC"
						      : "";

	return text_format("%s%s%s%s", access[flags & O_ACCMODE],
			   flags & O_DIRECT ? "|O_DIRECT" : "", sync,
			   flags & O_APPEND ? "|O_APPEND" : "");
}

void file_status_init(struct file_status *f, const char *path)
{
	*f = (struct file_status){.switches = -1, .pending_switches = -1};
	f->path = need_memory(strdup(path));
	f->clients_total = CACHEFS_UNKNOWN;
	for (size_t i = 0; i < file_fields_count; i++)
		if (file_fields[i].type == FIELD_SECONDS)
			*seconds_at(f, &file_fields[i]) = NAN;
		else
			*number_at(f, &file_fields[i]) = CACHEFS_UNKNOWN;
}

void file_status_free(struct file_status *f)
{
	for (size_t i = 0; i < f->clients_count; i++) {
		free(f->clients[i].comm);
		free(f->clients[i].flags);
	}
	free(f->clients);
	free(f->path);
	free(f->origin);
	free(f->pending_origin);
	free(f->kernel_path_reason);
	free(f->error);
	*f = (struct file_status){0};
}

/* ---- from the ioctl ---- */

static char *origin_name(uint32_t origin)
{
	static const char *const names[] = {
#define ORIGIN_(id, value, name) [value] = name,
	    CACHEFS_ORIGINS(ORIGIN_)
#undef ORIGIN_
	};

	return origin < ARRAY_SIZE(names) ? need_memory(strdup(names[origin])) : NULL;
}

static char *reason_text(uint32_t reason)
{
	static const char *const texts[] = {
#define REASON_(id, value, text) [value] = text,
	    CACHEFS_KERNEL_PATH(REASON_)
#undef REASON_
	};

	return reason < ARRAY_SIZE(texts) ? need_memory(strdup(texts[reason])) : NULL;
}

static void clients_from_ioctl(struct file_status *f, const struct cachefs_status *s)
{
	f->clients_count = MIN(s->clients_shown, CACHEFS_CLIENTS_MAX);
	f->clients_total = s->clients_total;
	f->clients = need_memory(calloc(f->clients_count + 1, sizeof(*f->clients)));
	for (size_t i = 0; i < f->clients_count; i++) {
		const struct cachefs_client *c = &s->clients[i];

		f->clients[i] = (struct file_client){
		    .pid = c->pid,
		    .comm = need_memory(strndup(c->comm, sizeof(c->comm))),
		    .flags = open_flags_text(c->flags),
		    .kernel_path = c->kernel_path,
		};
	}
}

void file_status_from_ioctl(struct file_status *f, const char *path, const struct cachefs_status *s)
{
	file_status_init(f, path);
	f->switches = (int)(s->switches & 7);
	f->origin = origin_name(s->origin);
	f->pending = s->pending;
	if (s->pending) {
		f->pending_switches = (int)(s->pending_switches & 7);
		f->pending_origin = origin_name(s->pending_origin);
	}
	f->kernel_path_reason = reason_text(s->kernel_path);
	f->error = s->error ? need_memory(strdup(strerror(s->error))) : NULL;
#define FROM_(type, name, expression) f->name = (expression);
#define COUNTER_(name, help) f->name = s->name;
	FILE_FIELDS(FROM_)
	CACHEFS_COUNTERS(COUNTER_)
#undef FROM_
#undef COUNTER_
	if (s->checkpoint_age_s < 0)
		f->checkpoint_age_s = CACHEFS_UNKNOWN;
	clients_from_ioctl(f, s);
}

/* ---- from status.json ---- */

static char *text_of(const json_t *object, const char *name)
{
	const char *text = json_string_value(json_object_get(object, name));

	return text ? need_memory(strdup(text)) : NULL;
}

/* By the switches; by the mode's name where they are missing. */
static int switches_of(const json_t *object)
{
	const json_t *sw = json_object_get(object, "switches");
	const char *mode = json_string_value(json_object_get(object, "mode"));
	struct switches parsed;

	if (json_is_object(sw))
		return (json_is_true(json_object_get(sw, "direct")) ? CACHEFS_DIRECT : 0) |
		       (json_is_true(json_object_get(sw, "writeback")) ? CACHEFS_WRITEBACK : 0) |
		       (json_is_true(json_object_get(sw, "no_flush")) ? CACHEFS_NO_FLUSH : 0);
	if (mode && !mode_parse(mode, strlen(mode), &parsed))
		return (int)switches_pack(parsed);
	return -1;
}

static void field_from_json(struct file_status *f, const struct file_field *field,
			    const json_t *value)
{
	if (field->type == FIELD_SECONDS) {
		if (json_is_number(value))
			*seconds_at(f, field) = json_number_value(value);
	} else if (json_is_boolean(value))
		*number_at(f, field) = json_is_true(value);
	else if (json_is_number(value) && json_number_value(value) >= 0)
		*number_at(f, field) = json_is_integer(value) ? (uint64_t)json_integer_value(value)
							      : (uint64_t)json_real_value(value);
}

static void clients_from_json(struct file_status *f, const json_t *clients)
{
	f->clients = need_memory(calloc(json_array_size(clients) + 1, sizeof(*f->clients)));
	for (size_t i = 0; i < json_array_size(clients); i++) {
		const json_t *c = json_array_get(clients, i);
		struct file_client *to = &f->clients[f->clients_count++];
		char *comm = text_of(c, "comm"), *flags = text_of(c, "flags");

		to->pid = json_integer_value(json_object_get(c, "opened_by_pid"));
		to->comm = comm ? comm : need_memory(strdup(""));
		to->flags = flags ? flags : need_memory(strdup("-"));
		to->kernel_path = json_is_true(json_object_get(c, "kernel_path"));
	}
	f->clients_total = f->clients_count;
}

int file_status_from_json(struct file_status *f, const json_t *object)
{
	const char *path = json_string_value(json_object_get(object, "path"));
	const json_t *pending = json_object_get(object, "pending");
	const json_t *total = json_object_get(object, "clients_total");

	if (!path)
		return -EINVAL;
	file_status_init(f, path);
	text_unescape_bytes(f->path);
	f->switches = switches_of(object);
	f->origin = text_of(object, "origin");
	if (json_is_object(pending)) {
		f->pending = true;
		f->pending_switches = switches_of(pending);
		f->pending_origin = text_of(pending, "origin");
	}
	f->kernel_path_reason = text_of(object, "kernel_path_reason");
	f->error = text_of(object, "error");
	for (size_t i = 0; i < file_fields_count; i++)
		field_from_json(f, &file_fields[i], json_object_get(object, file_fields[i].name));
	clients_from_json(f, json_object_get(object, "clients"));
	if (json_is_integer(total))
		f->clients_total = (uint64_t)json_integer_value(total);
	return 0;
}

/* ---- to JSON ---- */

json_t *text_to_json(const char *text)
{
	_cleanup_free_ char *valid = text_valid(text);

	return need_memory(json_string(valid));
}

/* A reference is taken over; null stands for what cannot be said. */
static void set(json_t *object, const char *name, json_t *value)
{
	json_object_set_new(object, name, value ? value : json_null());
}

static void set_text(json_t *object, const char *name, const char *text)
{
	set(object, name, text ? text_to_json(text) : NULL);
}

static void set_mode(json_t *object, int switches, const char *origin)
{
	char text[MODE_TEXT];

	set_text(object, "mode", switches < 0 ? NULL : switches_text(switches, text));
	set(object, "switches",
	    switches < 0 ? NULL
			 : json_pack("{s:b,s:b,s:b}", "direct", !!(switches & CACHEFS_DIRECT),
				     "writeback", !!(switches & CACHEFS_WRITEBACK), "no_flush",
				     !!(switches & CACHEFS_NO_FLUSH)));
	set_text(object, "origin", origin);
}

static json_t *field_to_json(const struct file_status *f, const struct file_field *field)
{
	uint64_t n;

	if (field->type == FIELD_SECONDS) {
		double seconds = *seconds_at(f, field);

		return isnan(seconds) ? NULL : json_real(seconds);
	}
	n = *number_at(f, field);
	if (n == CACHEFS_UNKNOWN)
		return NULL;
	return field->type == FIELD_BOOL ? json_boolean(n) : json_integer((json_int_t)n);
}

static json_t *clients_to_json(const struct file_status *f)
{
	json_t *clients = need_memory(json_array());

	for (size_t i = 0; i < f->clients_count; i++) {
		json_t *c = need_memory(json_object());

		set(c, "opened_by_pid", json_integer(f->clients[i].pid));
		set_text(c, "comm", f->clients[i].comm);
		set_text(c, "flags", f->clients[i].flags);
		set(c, "kernel_path", json_boolean(f->clients[i].kernel_path));
		json_array_append_new(clients, c);
	}
	return clients;
}

json_t *file_status_to_json(const struct file_status *f)
{
	json_t *object = need_memory(json_object());

	set_text(object, "path", f->path);
	set_mode(object, f->switches, f->origin);
	if (f->pending) {
		json_t *pending = need_memory(json_object());

		set_mode(pending, f->pending_switches, f->pending_origin);
		set(object, "pending", pending);
	} else
		set(object, "pending", NULL);
	for (size_t i = 0; i < file_fields_count; i++)
		set(object, file_fields[i].name, field_to_json(f, &file_fields[i]));
	set_text(object, "kernel_path_reason", f->kernel_path_reason);
	set_text(object, "error", f->error);
	set(object, "clients", clients_to_json(f));
	set(object, "clients_total",
	    f->clients_total == CACHEFS_UNKNOWN ? NULL
						: json_integer((json_int_t)f->clients_total));
	return object;
}
