/* SPDX-License-Identifier: GPL-2.0-or-later */
/* status.json as a parser reads it, and the text of metrics line by line. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <string.h>

#include "observe/status.h"

static struct status_file file_at(const char *path)
{
	struct status_file f = {.path = strdup(path), .inode = 77};

	f.s.switches = CACHEFS_WRITEBACK | CACHEFS_NO_FLUSH;
	f.s.origin = CACHEFS_ORIGIN_STORED;
	f.s.kernel_path = CACHEFS_KERNEL_PATH_MODE;
	f.s.checkpoint_age_s = -1;
	f.s.cached_bytes = f.s.dirty_bytes = f.s.writeback_bytes = CACHEFS_UNKNOWN;
	return f;
}

static struct status with_files(size_t count)
{
	struct status s = {.count = count};

	s.mount = (struct status_mount){.version = "1.2",
					.source = "/a \"b\"",
					.mountpoint = "/m",
					.transport = "dev",
					.engine = "uring",
					.options = "cache=unsafe",
					.worker_pid = 42,
					.rules = 3,
					.switches = CACHEFS_WRITEBACK};
	s.files = calloc(count + 1, sizeof(*s.files));
	return s;
}

static json_t *parsed(struct status *s)
{
	json_error_t error;
	size_t len = 0;
	char *text = status_json(s, &len);
	json_t *j;

	cr_assert_not_null(text);
	cr_assert_eq(strlen(text), len);
	cr_assert_eq(text[len - 1], '\n');
	j = json_loads(text, JSON_REJECT_DUPLICATES, &error);
	cr_assert_not_null(j, "%s at %d:%d in %s", error.text, error.line, error.column, text);
	free(text);
	return j;
}

static json_t *first_file(const json_t *j)
{
	return json_array_get(json_object_get(j, "files"), 0);
}

static const char *text_of(const json_t *j, const char *name)
{
	const char *s = json_string_value(json_object_get(j, name));

	return s ? s : "(no text)";
}

static json_int_t number_of(const json_t *j, const char *name)
{
	cr_assert(json_is_integer(json_object_get(j, name)), "%s", name);
	return json_integer_value(json_object_get(j, name));
}

/* The contract's names, written down a second time on purpose. */
static const char *const mount_names[] = {"version",	    "source",	       "mountpoint",
					  "transport",	    "engine",	       "recover",
					  "supervisor_pid", "worker_pid",      "worker_restarts",
					  "files",	    "options",	       "mode",
					  "switches",	    "rules",	       "sync_error",
					  "upgrades",	    "requests_resent", "last_death"};
static const char *const file_names[] = {"path",
					 "mode",
					 "switches",
					 "origin",
					 "opens",
					 "writers",
					 "kernel_path",
					 "clients",
					 "size",
					 "cached_bytes",
					 "dirty_bytes",
					 "writeback_bytes",
					 "reads",
					 "read_bytes",
					 "writes",
					 "write_bytes",
					 "flushes_received",
					 "flushes_honoured",
					 "flushes_dropped",
					 "flush_seconds",
					 "error",
					 "tainted",
					 "checkpoint_age_s",
					 "pending",
					 "kernel_path_reason",
					 "deleted",
					 "direct_align",
					 "read_seconds",
					 "write_seconds",
					 "opens_total",
					 "rmw_nsec"};

Test(status, every_name)
{
	struct status s = with_files(1);
	json_t *j;

	s.files[0] = file_at("f");
	j = parsed(&s);
	for (size_t i = 0; i < sizeof(mount_names) / sizeof(*mount_names); i++)
		cr_assert_not_null(json_object_get(j, mount_names[i]), "%s", mount_names[i]);
	for (size_t i = 0; i < sizeof(file_names) / sizeof(*file_names); i++)
		cr_assert_not_null(json_object_get(first_file(j), file_names[i]), "%s",
				   file_names[i]);
	json_decref(j);
	status_free(&s);
}

Test(status, no_files)
{
	struct status s = with_files(0);
	json_t *j = parsed(&s);

	cr_assert(json_is_array(json_object_get(j, "files")));
	cr_assert_eq(json_array_size(json_object_get(j, "files")), 0);
	cr_assert_str_eq(text_of(j, "source"), "/a \"b\"");
	cr_assert_eq(number_of(j, "worker_pid"), 42);
	cr_assert_eq(number_of(j, "rules"), 3);
	cr_assert_str_eq(text_of(j, "mode"), "writeback");
	cr_assert(json_is_null(json_object_get(j, "sync_error")));
	cr_assert(json_is_false(json_object_get(j, "recover")));
	cr_assert(json_is_null(json_object_get(j, "last_death")));
	json_decref(j);
	s.mount.sync_error = EIO;
	j = parsed(&s);
	cr_assert_str_eq(text_of(j, "sync_error"), "Input/output error");
	json_decref(j);
	status_free(&s);
}

Test(status, values)
{
	struct status s = with_files(1);
	struct cachefs_status *f = &s.files[0].s;
	json_t *j, *o;

	s.files[0] = file_at("dir/f");
	f->size = 1ull << 40;
	f->dirty_bytes = 4096;
	f->write_bytes = 0x7fffffffffffffff;
	f->flushes = (struct cachefs_latency){.count = 2, .nsec = 1500000001};
	f->writes.count = 5;
	f->error = ENOSPC;
	f->tainted = f->deleted = 1;
	f->checkpoint_age_s = 0;
	f->pending = 1;
	f->pending_switches = CACHEFS_DIRECT | CACHEFS_WRITEBACK | CACHEFS_NO_FLUSH;
	f->pending_origin = CACHEFS_ORIGIN_RUNTIME;
	j = parsed(&s);
	o = first_file(j);
	cr_assert_str_eq(text_of(o, "path"), "dir/f");
	cr_assert_str_eq(text_of(o, "mode"), "unsafe");
	cr_assert_str_eq(text_of(o, "origin"), "stored");
	cr_assert(json_is_true(json_object_get(json_object_get(o, "switches"), "no_flush")));
	cr_assert(json_is_false(json_object_get(json_object_get(o, "switches"), "direct")));
	cr_assert_eq(number_of(o, "size"), 1ll << 40);
	cr_assert_eq(number_of(o, "dirty_bytes"), 4096);
	cr_assert(json_is_null(json_object_get(o, "cached_bytes")), "unknown");
	cr_assert_eq(number_of(o, "write_bytes"), 0x7fffffffffffffff);
	cr_assert_float_eq(json_real_value(json_object_get(o, "flush_seconds")), 1.500000001,
			   1e-12);
	cr_assert_eq(number_of(o, "writes"), 5);
	cr_assert_str_eq(text_of(o, "error"), "No space left on device");
	cr_assert(json_is_true(json_object_get(o, "tainted")));
	cr_assert(json_is_true(json_object_get(o, "deleted")));
	cr_assert(json_is_false(json_object_get(o, "kernel_path")));
	cr_assert_str_eq(text_of(o, "kernel_path_reason"),
			 "the daemon serves this mode (kernel-path=auto)");
	cr_assert_eq(number_of(o, "checkpoint_age_s"), 0);
	o = json_object_get(o, "pending");
	cr_assert_str_eq(text_of(o, "mode"),
			 "cache.direct=on,cache.writeback=on,cache.no-flush=on");
	cr_assert_str_eq(text_of(o, "origin"), "runtime");
	json_decref(j);
	status_free(&s);
}

Test(status, clients)
{
	static const struct {
		uint32_t flags;
		const char *text;
	} rows[] = {
	    {O_RDONLY, "O_RDONLY"},
	    {O_WRONLY | O_APPEND, "O_WRONLY|O_APPEND"},
	    {O_RDWR | O_DIRECT | O_DSYNC | O_APPEND | O_NOATIME,
	     "O_RDWR|O_DIRECT|O_DSYNC|O_APPEND"},
	    {O_RDWR | O_SYNC, "O_RDWR|O_SYNC"},
	};
	struct status s = with_files(1);
	struct cachefs_status *f = &s.files[0].s;
	json_t *j, *list, *client;

	s.files[0] = file_at("f");
	f->clients_total = 70;
	for (size_t i = 0; i < 4; i++)
		f->clients[f->clients_shown++] = (struct cachefs_client){.pid = (int32_t)i + 100,
									 .flags = rows[i].flags,
									 .kernel_path = i == 1,
									 .comm = "a \"\\\n\xff"};
	j = parsed(&s);
	cr_assert_eq(number_of(first_file(j), "clients_total"), 70);
	list = json_object_get(first_file(j), "clients");
	cr_assert_eq(json_array_size(list), 4);
	for (size_t i = 0; i < 4; i++) {
		client = json_array_get(list, i);
		cr_assert_eq(number_of(client, "opened_by_pid"), (json_int_t)i + 100);
		cr_assert_str_eq(text_of(client, "flags"), rows[i].text);
		cr_assert_str_eq(text_of(client, "comm"), "a \"\\\n\\xff");
		cr_assert_eq(json_is_true(json_object_get(client, "kernel_path")), i == 1);
	}
	json_decref(j);
	status_free(&s);
}

/* Paths as bytes, and as status.json has them. */
static const struct {
	const char *bytes, *text;
} paths[] = {
    {"", ""},
    {"plain", "plain"},
    {"a\"b\\c/d\ne\tf\x01g\x7f", "a\"b\\c/d\ne\tf\x01g\x7f"},
    {"Gr\xc3\xbc\xc3\x9f"
     "e \xe2\x82\xac \xf0\x9f\x92\xbe",
     "Gr\xc3\xbc\xc3\x9f"
     "e \xe2\x82\xac \xf0\x9f\x92\xbe"},
    {"latin \xfc", "latin \\xfc"},
    {"cut \xe2\x82", "cut \\xe2\\x82"},
    {"\xc3", "\\xc3"},
    {"overlong \xc0\xaf \xe0\x80\xaf", "overlong \\xc0\\xaf \\xe0\\x80\\xaf"},
    {"surrogate \xed\xa0\x80", "surrogate \\xed\\xa0\\x80"},
    {"beyond \xf4\x90\x80\x80 \xf5\x80", "beyond \\xf4\\x90\\x80\\x80 \\xf5\\x80"},
    {"alone \x80 \xbf", "alone \\x80 \\xbf"},
    {"last \xf4\x8f\xbf\xbf", "last \xf4\x8f\xbf\xbf"},
};

#define PATHS (sizeof(paths) / sizeof(*paths))

Test(status, any_bytes_in_a_path)
{
	struct status s = with_files(PATHS);
	json_t *j;

	for (size_t i = 0; i < PATHS; i++)
		s.files[i] = file_at(paths[i].bytes);
	j = parsed(&s);
	for (size_t i = 0; i < PATHS; i++)
		cr_assert_str_eq(text_of(json_array_get(json_object_get(j, "files"), i), "path"),
				 paths[i].text, "row %zu", i);
	json_decref(j);
	status_free(&s);
}

Test(status, every_byte_alone)
{
	struct status s = with_files(255);
	json_t *j;

	for (unsigned i = 0; i < 255; i++)
		s.files[i] = file_at((char[]){(char)(i + 1), 0});
	j = parsed(&s);
	cr_assert_eq(json_array_size(json_object_get(j, "files")), 255);
	json_decref(j);
	status_free(&s);
}

/* ---- metrics ---- */

static char *metrics_of(struct status *s)
{
	size_t len = 0;
	char *text = status_metrics(s, &len);

	cr_assert_not_null(text);
	cr_assert_eq(strlen(text), len);
	cr_assert_geq(len, 6);
	cr_assert_str_eq(text + len - 6, "# EOF\n");
	return text;
}

static void has(const char *text, const char *line)
{
	const char *at = strstr(text, line);

	cr_assert(at && (at == text || at[-1] == '\n') && at[strlen(line)] == '\n',
		  "%s\nnot in\n%s", line, text);
}

Test(metrics, of_the_mount)
{
	struct status s = with_files(0);
	char *text;

	s.mount.total.counters[STATS_opens_total] = 3;
	s.mount.total.counters[STATS_rmw_nsec] = 2500000000u;
	s.mount.total.latencies[STATS_FLUSH] =
	    (struct cachefs_latency){.count = 3, .nsec = 5000000000u};
	s.mount.total.latencies[STATS_FLUSH].buckets[0] = 1;
	s.mount.total.latencies[STATS_FLUSH].buckets[CACHEFS_BUCKETS - 1] = 2;
	text = metrics_of(&s);
	has(text, "# TYPE cachefs_mount_opens counter");
	has(text, "cachefs_mount_opens_total{mountpoint=\"/m\"} 3");
	has(text, "# UNIT cachefs_mount_rmw_seconds seconds");
	has(text, "cachefs_mount_rmw_seconds_total{mountpoint=\"/m\"} 2.500000000");
	has(text, "# TYPE cachefs_mount_flush_seconds histogram");
	has(text, "cachefs_mount_flush_seconds_bucket{mountpoint=\"/m\",le=\"0.000004096\"} 1");
	has(text, "cachefs_mount_flush_seconds_bucket{mountpoint=\"/m\",le=\"4.294967296\"} 1");
	has(text, "cachefs_mount_flush_seconds_bucket{mountpoint=\"/m\",le=\"+Inf\"} 3");
	has(text, "cachefs_mount_flush_seconds_count{mountpoint=\"/m\"} 3");
	has(text, "cachefs_mount_flush_seconds_sum{mountpoint=\"/m\"} 5.000000000");
	has(text, "cachefs_mount_info{mountpoint=\"/m\",mode=\"writeback\",version=\"1.2\","
		  "source=\"/a \\\"b\\\"\",transport=\"dev\",engine=\"uring\"} 1");
	free(text);
	status_free(&s);
}

Test(metrics, of_files)
{
	struct status s = with_files(3);
	char *text;

	s.files[0] = file_at("a\\b\"\n\xff");
	s.files[1] = file_at("same");
	s.files[2] = file_at("same");
	s.files[2].inode = 78;
	s.files[0].s.dirty_bytes = 8192;
	s.files[1].s.opens = 2;
	s.files[1].s.opens_total = 9;
	text = metrics_of(&s);
	has(text, "cachefs_file_dirty_bytes{mountpoint=\"/m\",path=\"a\\\\b\\\"\\n\\\\xff\"} 8192");
	cr_assert_null(strstr(text, "cachefs_file_dirty_bytes{mountpoint=\"/m\",path=\"same\""),
		       "unknown values have no sample");
	has(text, "cachefs_file_handles{mountpoint=\"/m\",path=\"same\",inode=\"77\"} 2");
	has(text, "cachefs_file_handles{mountpoint=\"/m\",path=\"same\",inode=\"78\"} 0");
	has(text, "cachefs_file_opens_total{mountpoint=\"/m\",path=\"same\",inode=\"77\"} 9");
	free(text);
	status_free(&s);
}
