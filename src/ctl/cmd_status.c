/* SPDX-License-Identifier: GPL-2.0-or-later */
/* status: all mounts, the files of one, or one file. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/unserved.h"
#include "base/util.h"
#include "ctl/ctl.h"
#include "ctl/report.h"
#include "ctl/table.h"
#include "ctl/target.h"
#include "ctl/term.h"
#include "ctl/text.h"

/* ---- one file ---- */

static void print_line(const char *name, const char *value)
{
	printf("%-22s %s\n", name, value);
}

static void print_mode_lines(const struct file_status *f)
{
	char mode[MODE_TEXT];
	_cleanup_free_ char *now = NULL, *later = NULL;

	now = text_format("%s (%s)", switches_text(f->switches, mode), f->origin ? f->origin : "-");
	print_line("mode", now);
	if (!f->pending)
		return;
	later = text_format("%s (%s), when all have closed the file",
			    switches_text(f->pending_switches, mode),
			    f->pending_origin ? f->pending_origin : "-");
	print_line("pending", later);
}

static void print_file(const struct file_status *f)
{
	_cleanup_free_ char *path = text_escape(f->path);
	char buf[TEXT_SMALL];

	print_line("path", path);
	print_mode_lines(f);
	for (size_t i = 0; i < file_fields_count; i++)
		print_line(file_fields[i].name, file_field_text(f, &file_fields[i], buf));
	print_line("kernel_path_reason", f->kernel_path_reason ? f->kernel_path_reason : "-");
	print_line("error", f->error ? f->error : "none");
	if (f->clients_count)
		printf("clients\n");
	print_clients(f, stdout);
	if (f->tainted == 1)
		printf("it may have lost data when the host went down: cachefsctl rollback puts it "
		       "back to its checkpoint, cachefsctl trust says that it is good\n");
}

static int status_file(const struct target *t, bool json)
{
	struct file_status f;
	int code = CTL_OK;

	if (t->fd < 0)
		file_status_unopened(&f, t);
	else
		code = file_status_read(&f, t);
	if (code)
		return code;
	if (json)
		code = print_json(file_status_to_json(&f));
	else
		print_file(&f);
	file_status_free(&f);
	return code;
}

/* ---- the files of a mount ---- */

static const struct table_column file_columns[] = {
    {.title = "PATH", .shorten = true},
    {.title = "MODE"},
    {.title = "FROM", .drop = 3},
    {.title = "OPENS", .right = true},
    {.title = "CACHED", .right = true},
    {.title = "DIRTY", .right = true},
    {.title = "FLUSHES", .right = true, .drop = 1},
    {.title = "DROPPED", .right = true},
    {.title = "PATH TAKEN", .drop = 4},
    {.title = "NOTES", .drop = 2},
};

static const char *notes_of(const struct file_status *f)
{
	if (f->error)
		return "flush failed";
	if (f->tainted == 1)
		return "tainted";
	if (f->pending)
		return "mode pending";
	if (f->flushing == 1)
		return "flushing";
	return f->deleted == 1 ? "deleted" : "";
}

static void add_file(struct table *t, const struct file_status *f)
{
	_cleanup_free_ char *path = text_escape(f->path);
	char mode[MODE_TEXT], opens[TEXT_SMALL], cached[TEXT_SMALL], dirty[TEXT_SMALL];
	char flushes[TEXT_SMALL], dropped[TEXT_SMALL];
	bool risk = f->switches >= 0 && f->switches & CACHEFS_NO_FLUSH && f->dirty_bytes &&
		    f->dirty_bytes != CACHEFS_UNKNOWN;
	struct table_cell cells[] = {
	    {path, COLOUR_NONE},
	    {switches_text(f->switches, mode), risk ? COLOUR_YELLOW : COLOUR_NONE},
	    {f->origin ? f->origin : "-", COLOUR_NONE},
	    {text_number(f->opens, opens), COLOUR_NONE},
	    {text_bytes(f->cached_bytes, cached), COLOUR_NONE},
	    {text_bytes(f->dirty_bytes, dirty), risk ? COLOUR_YELLOW : COLOUR_NONE},
	    {text_number(f->flushes_received, flushes), COLOUR_NONE},
	    {text_number(f->flushes_dropped, dropped), COLOUR_NONE},
	    {f->kernel_path == CACHEFS_UNKNOWN ? "-"
	     : f->kernel_path		       ? "kernel"
					       : "daemon",
	     COLOUR_NONE},
	    {notes_of(f), f->error || f->tainted == 1 || f->pending ? COLOUR_RED : COLOUR_NONE},
	};

	_Static_assert(ARRAY_SIZE(cells) == ARRAY_SIZE(file_columns), "a cell for each column");
	table_add(t, cells);
}

static void print_files(const struct report *r, const char *point)
{
	struct table *t = table_new(file_columns, ARRAY_SIZE(file_columns));
	_cleanup_free_ char *name = text_escape(point);
	_cleanup_free_ char *source = text_escape(report_text(r, "source"));

	printf("%s on %s: %s\n", source, name, report_text(r, "options"));
	printf("transport %s, engine %s, process %lld; %zu files\n", report_text(r, "transport"),
	       report_text(r, "engine"),
	       (long long)json_integer_value(json_object_get(r->json, "worker_pid")),
	       r->files_count);
	for (size_t i = 0; i < r->files_count; i++)
		add_file(t, &r->files[i]);
	if (r->files_count)
		table_print(t, stdout, term_width(), 0, term_colours());
	table_free(t);
}

static int status_mount(const struct target *t, bool json)
{
	_cleanup_free_ char *below = NULL;
	const struct mount_entry *entry;
	struct mounts mounts;
	struct report r;
	int code, err = mounts_read(&mounts);
	_cleanup_fd_ int fd = -1;

	if (err)
		return complain_errno("/proc/self/mountinfo", "cannot be read", -err, NULL);
	fd = target_mount(t, &mounts, &entry, &below);
	code = fd < 0 ? -fd : report_read(&r, fd, entry->point, false);
	if (code == CTL_OK) {
		if (json)
			code = print_json(json_incref(r.json));
		else
			print_files(&r, entry->point);
		report_free(&r);
	}
	mounts_free(&mounts);
	return code;
}

/* ---- all mounts ---- */

static const struct table_column mount_columns[] = {
    {.title = "MOUNTPOINT", .shorten = true},
    {.title = "SOURCE", .shorten = true},
    {.title = "OPTIONS", .shorten = true},
    {.title = "PID", .right = true, .drop = 1},
};

/* What ENTRY's daemon says. 0, or a negative errno: it does not answer us. */
static int mount_info(const struct mount_entry *entry, struct cachefs_info *info)
{
	_cleanup_fd_ int fd = mount_open(entry);

	if (fd < 0)
		return fd;
	if (ioctl(fd, CACHEFS_IOC_INFO, info) < 0)
		return -errno;
	info->options[sizeof(info->options) - 1] = '\0';
	return 0;
}

static const char *no_answer(int err)
{
	return unserved_error(-err) ? "(nobody serves it any more: unmount it)" : "(no answer)";
}

static void add_mount(struct table *t, const struct mount_entry *entry)
{
	_cleanup_free_ char *point = text_escape(entry->point);
	_cleanup_free_ char *source = text_escape(entry->source);
	_cleanup_free_ char *options = NULL;
	struct cachefs_info info;
	int err = mount_info(entry, &info);
	char pid[TEXT_SMALL] = "-";

	options = text_escape(err ? no_answer(err) : info.options);
	if (!err)
		snprintf(pid, sizeof(pid), "%d", info.pid);
	table_add(t, (struct table_cell[]){{point, COLOUR_NONE},
					   {source, COLOUR_NONE},
					   {options, err ? COLOUR_RED : COLOUR_NONE},
					   {pid, COLOUR_NONE}});
}

static json_t *mounts_to_json(const struct mounts *mounts)
{
	json_t *array = need_memory(json_array());

	for (size_t i = 0; i < mounts->count; i++) {
		const struct mount_entry *e = &mounts->entries[i];
		struct cachefs_info info;
		bool known = !mount_info(e, &info);

		json_array_append_new(
		    array, need_memory(json_pack(
			       "{s:o,s:o,s:o,s:o}", "mountpoint", text_to_json(e->point), "source",
			       text_to_json(e->source), "options",
			       known ? text_to_json(info.options) : json_null(), "worker_pid",
			       known ? json_integer(info.pid) : json_null())));
	}
	return need_memory(json_pack("{s:o}", "mounts", array));
}

static int status_all(bool json)
{
	struct mounts mounts;
	int code = CTL_OK, err = mounts_read(&mounts);
	struct table *t;

	if (err)
		return complain_errno("/proc/self/mountinfo", "cannot be read", -err, NULL);
	if (json)
		code = print_json(mounts_to_json(&mounts));
	else if (mounts.count == 0)
		printf("no cachefs mounts\n");
	else {
		t = table_new(mount_columns, ARRAY_SIZE(mount_columns));
		for (size_t i = 0; i < mounts.count; i++)
			add_mount(t, &mounts.entries[i]);
		table_print(t, stdout, term_width(), 0, term_colours());
		table_free(t);
	}
	mounts_free(&mounts);
	return code;
}

int cmd_status(const struct ctl_args *a)
{
	bool json = a->options & CTL_OPT_JSON;
	struct target t;
	int code;

	if (a->words_count == 0)
		return status_all(json);
	code = target_open_any(&t, a->words[0]);
	if (!code)
		code = target_is_file(&t) ? status_file(&t, json) : status_mount(&t, json);
	target_close(&t);
	return code;
}
