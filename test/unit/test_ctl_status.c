/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What is known of a file: the same from the ioctl and from status.json, and the same out again. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/file_status.h"
#include "ctl/rates.h"
#include "ctl/report.h"
#include "ctl/text.h"
#include "observe/status.h"

static struct cachefs_status sample(void)
{
	struct cachefs_status s = {
	    .switches = CACHEFS_WRITEBACK,
	    .origin = CACHEFS_ORIGIN_RULE,
	    .pending = 1,
	    .pending_switches = CACHEFS_WRITEBACK | CACHEFS_DIRECT,
	    .pending_origin = CACHEFS_ORIGIN_RUNTIME,
	    .opens = 3,
	    .writers = 2,
	    .kernel_path = CACHEFS_KERNEL_PATH_USED,
	    .error = EIO,
	    .flushing = 1,
	    .tainted = 1,
	    .deleted = 1,
	    .direct_align = 4096,
	    .size = 1ull << 40,
	    .cached_bytes = CACHEFS_UNKNOWN,
	    .dirty_bytes = 8192,
	    .writeback_bytes = 4096,
	    .checkpoint_age_s = -1,
	    .reads = {.count = 7, .nsec = 1500000000},
	    .writes = {.count = 8, .nsec = 2500000000},
	    .flushes = {.count = 9, .nsec = 3500000000},
	    .clients_total = 70,
	    .clients_shown = 1,
	    .clients = {{.pid = 12,
			 .flags = O_RDWR | O_DIRECT | O_SYNC | O_APPEND,
			 .kernel_path = 1,
			 .comm = "qemu-system-x86"}},
	};
	uint64_t n = 100;

#define COUNTER_(field, help) s.field = n++;
	CACHEFS_COUNTERS(COUNTER_)
#undef COUNTER_
	return s;
}

Test(ctl_status, everything_comes_from_the_ioctl)
{
	struct cachefs_status s = sample();
	struct file_status f;
	char buf[TEXT_SMALL];

	file_status_from_ioctl(&f, "a.img", &s);
	cr_assert_eq(f.switches, CACHEFS_WRITEBACK);
	cr_assert_str_eq(f.origin, "rule");
	cr_assert(f.pending);
	cr_assert_eq(f.pending_switches, CACHEFS_WRITEBACK | CACHEFS_DIRECT);
	cr_assert_str_eq(f.pending_origin, "runtime");
	cr_assert_str_eq(f.error, strerror(EIO));
	cr_assert_eq(f.checkpoint_age_s, CACHEFS_UNKNOWN);
	cr_assert_eq(f.flushing, 1);
	cr_assert_eq(f.tainted, 1);
	cr_assert_eq(f.read_bytes, 100);
	cr_assert_eq(f.rmw_nsec, s.rmw_nsec);
	cr_assert_eq(f.flush_seconds, 3.5);
	cr_assert_eq(f.clients_count, 1);
	cr_assert_eq(f.clients_total, 70);
	cr_assert_str_eq(f.clients[0].flags, "O_RDWR|O_DIRECT|O_SYNC|O_APPEND");
	cr_assert_str_eq(f.clients[0].comm, "qemu-system-x86");
	for (size_t i = 0; i < file_fields_count; i++) {
		bool unknown = !strcmp(file_fields[i].name, "cached_bytes") ||
			       !strcmp(file_fields[i].name, "checkpoint_age_s");

		cr_assert_eq(!strcmp(file_field_text(&f, &file_fields[i], buf), "-"), unknown, "%s",
			     file_fields[i].name);
	}
	file_status_free(&f);
}

static json_t *of_daemon(const struct cachefs_status *s, const char *path)
{
	struct status_file file = {.path = (char *)(uintptr_t)path, .s = *s};
	struct status status = {.files = &file, .count = 1};
	json_t *all, *one;
	size_t len;
	char *text = status_json(&status, &len);

	all = json_loadb(text, len, 0, NULL);
	cr_assert_not_null(all);
	one = json_incref(json_array_get(json_object_get(all, "files"), 0));
	json_decref(all);
	free(text);
	return one;
}

/* The daemon's JSON of a file, and ours of the same file by the ioctl, are the same. */
Test(ctl_status, json_of_one_file_is_that_of_the_daemon)
{
	static const char path[] = "dir/\377\nb\"\\.img";
	struct cachefs_status s = sample();
	struct file_status f, again;
	json_t *theirs = of_daemon(&s, path), *ours, *back;

	file_status_from_ioctl(&f, path, &s);
	ours = file_status_to_json(&f);
	cr_assert(json_equal(ours, theirs), "ours: %s\ntheirs: %s",
		  json_dumps(ours, JSON_SORT_KEYS), json_dumps(theirs, JSON_SORT_KEYS));

	cr_assert_eq(file_status_from_json(&again, theirs), 0);
	cr_assert_str_eq(again.path, path);
	/* how many there are besides those shown is not lost on the way */
	cr_assert_eq(again.clients_total, 70);
	back = file_status_to_json(&again);
	cr_assert(json_equal(back, theirs));
	file_status_free(&f);
	file_status_free(&again);
	json_decref(theirs);
	json_decref(ours);
	json_decref(back);
}

Test(ctl_status, missing_fields_are_unknown)
{
	static const char text[] = "{\"files\":[{\"path\":\"x\"},{\"no\":1},7,"
				   "{\"path\":\"y\",\"mode\":\"none\",\"opens\":null,\"size\":-4,"
				   "\"writers\":\"many\",\"clients\":[{}],\"new\":[]}]}";
	char error[128], buf[TEXT_SMALL];
	struct report r;

	cr_assert_eq(report_parse(&r, text, strlen(text), error, sizeof(error)), 0);
	cr_assert_eq(r.files_count, 2);
	for (size_t i = 0; i < file_fields_count; i++) {
		cr_assert_str_eq(file_field_text(&r.files[0], &file_fields[i], buf), "-");
		cr_assert_str_eq(file_field_text(&r.files[1], &file_fields[i], buf), "-");
	}
	cr_assert_eq(r.files[0].switches, -1);
	cr_assert_eq(r.files[1].switches, CACHEFS_DIRECT | CACHEFS_WRITEBACK);
	cr_assert_eq(r.files[1].clients_count, 1);
	cr_assert_str_eq(r.files[1].clients[0].comm, "");
	cr_assert_str_eq(report_text(&r, "source"), "-");
	cr_assert_eq(report_find(&r, "y"), &r.files[1]);
	cr_assert_null(report_find(&r, "z"));
	report_free(&r);
}

Test(ctl_status, what_is_no_report_is_refused)
{
	static const char *const texts[] = {"", "[]", "{", "{\"files\":[\n{]}", "\377"};
	char error[128];
	struct report r;

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		*error = '\0';
		cr_assert_eq(report_parse(&r, texts[i], strlen(texts[i]), error, sizeof(error)),
			     -EINVAL);
		cr_assert(strstr(error, "line "), "%s", error);
		cr_assert_null(r.json);
	}
}

/* ---- top ---- */

static struct report look(double seconds, const char *path, uint64_t reads, uint64_t write_bytes)
{
	struct report r = {.seconds = seconds};
	struct file_status f;

	file_status_init(&f, path);
	f.reads = reads;
	f.write_bytes = write_bytes;
	report_add(&r, &f);
	return r;
}

static void add(struct report *r, const char *path, uint64_t reads)
{
	struct file_status f;

	file_status_init(&f, path);
	f.reads = reads;
	report_add(r, &f);
}

Test(ctl_rates, difference_per_second)
{
	struct report before = look(10, "a", 100, 1000), now = look(12, "a", 300, 5000);
	struct rate_row *rows;
	size_t count;

	add(&before, "gone", 1);
	add(&before, "reopened", 50);
	add(&now, "reopened", 3);
	add(&now, "new", 9);
	now.files[0].dirty_bytes = 77;
	rows = rates(&before, &now, &count);
	cr_assert_eq(count, 3);
	cr_assert_eq(rows[0].values[RATE_COLUMN_READS], 100);
	cr_assert_eq(rows[0].values[RATE_COLUMN_WRITE_BYTES], 2000);
	cr_assert_eq(rows[0].values[RATE_COLUMN_DIRTY], 77);
	cr_assert(isnan(rows[0].values[RATE_COLUMN_FLUSHES]), "never said");
	cr_assert(isnan(rows[1].values[RATE_COLUMN_READS]), "began again");
	cr_assert(isnan(rows[2].values[RATE_COLUMN_READS]), "was not there");
	free(rows);
	rows = rates(NULL, &now, &count);
	cr_assert_eq(count, 3);
	cr_assert(isnan(rows[0].values[RATE_COLUMN_READS]));
	free(rows);
	report_free(&before);
	report_free(&now);
}

Test(ctl_rates, order)
{
	static const char *const down[] = {"big", "a", "b", "zero", "unknown"};
	static const char *const up[] = {"zero", "a", "b", "big", "unknown"};
	struct report before = {.seconds = 0}, now = {.seconds = 1};
	struct rate_row *rows;
	size_t count;

	for (int i = 4; i >= 0; i--)
		add(&before, down[i], i == 4 ? CACHEFS_UNKNOWN : 0);
	add(&now, "unknown", 5);
	add(&now, "zero", 0);
	add(&now, "b", 2);
	add(&now, "big", 9);
	add(&now, "a", 2);
	rows = rates(&before, &now, &count);
	rates_sort(rows, count, RATE_COLUMN_READS, false);
	for (size_t i = 0; i < 5; i++)
		cr_assert_str_eq(rows[i].file->path, down[i]);
	rates_sort(rows, count, RATE_COLUMN_READS, true);
	for (size_t i = 0; i < 5; i++)
		cr_assert_str_eq(rows[i].file->path, up[i]);
	free(rows);
	report_free(&before);
	report_free(&now);
}

Test(ctl_rates, the_column_that_is_sorted_by_is_never_left_out)
{
	struct report now = look(1, "a-file-with-quite-a-long-name-of-its-own", 1, 1);
	size_t count;
	struct rate_row *rows = rates(NULL, &now, &count);

	for (enum rate_column by = 0; by < RATE_COLUMNS_COUNT; by++) {
		struct table *t = rates_table(rows, count, by);
		char *text;
		size_t len;
		FILE *f = open_memstream(&text, &len);

		table_print(t, f, 30, 0, false);
		fclose(f);
		table_free(t);
		cr_assert(strchr(text, '*') && strcspn(text, "\n") <= 30, "%s", text);
		free(text);
	}
	free(rows);
	report_free(&now);
}
