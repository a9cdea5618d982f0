/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What doctor concludes, from canned looks. */
#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/judge.h"
#include "ctl/report.h"

/*
 * Files as status.json has them, a second apart, and the warnings that must come of them, with the
 * mode that results end to end. A quiet file comes first.
 */
#define QUIET "\"opens\":1,\"writers\":1,\"opens_total\":1,\"opens_direct\":0,\"opens_sync\":0,"
#define WB "\"path\":\"f\",\"mode\":\"writeback\","
#define NONE "\"path\":\"f\",\"mode\":\"none\","
#define CLIENTS(a, b)                                                                              \
	"\"write_bytes\":1,\"flushes_received\":0,\"clients\":[{\"flags\":" a "},{\"flags\":" b "}]"
#define SOME "\"writes\":1000,\"write_bytes\":4096000,\"flushes_received\":5,"

static const struct judged {
	char before[160], after[360];
	unsigned client_io;
	char warnings[64], effective[64];
} judged[] = {
    {"{" WB QUIET "\"writes\":0}", "{" WB QUIET "\"writes\":0}", 0, "", "writeback"},
    {"{" WB QUIET "\"writes\":0}", "{" WB QUIET SOME "\"dirty_bytes\":4096}", 0, "", "writeback"},
    {"", "{\"path\":\"f\"}", CLIENT_AIO, "", "-"},
    /* it writes, and no flush comes */
    {"", "{" WB QUIET "\"write_bytes\":4096,\"flushes_received\":0}", 0, "never-flushes", "unsafe"},
    {"", "{" NONE QUIET "\"write_bytes\":4096,\"flushes_received\":0}", 0, "never-flushes",
     "cache.direct=on,cache.writeback=on,cache.no-flush=on"},
    {"", "{" WB QUIET "\"kernel_path\":true,\"dirty_bytes\":4096,\"flushes_received\":0}", 0,
     "never-flushes", "unsafe"},
    /* where nobody has to flush, or nothing was written, or it is not known */
    {"", "{\"path\":\"f\",\"mode\":\"writethrough\",\"write_bytes\":1,\"flushes_received\":0}", 0,
     "", "writethrough"},
    {"", "{\"path\":\"f\",\"mode\":\"unsafe\",\"write_bytes\":1,\"flushes_received\":0}", 0, "",
     "unsafe"},
    {"", "{" WB QUIET "\"write_bytes\":0,\"flushes_received\":0}", 0, "", "writeback"},
    {"", "{" WB QUIET "\"write_bytes\":4096}", 0, "", "writeback"},
    {"", "{" WB "\"write_bytes\":1,\"flushes_received\":0,\"opens_sync\":1}", 0, "", "writeback"},
    /* each write waits: of all writers, of some, of nobody knows how many */
    {"", "{" WB CLIENTS("\"O_WRONLY|O_SYNC\"", "\"O_RDONLY\"") "}", 0, "", "writethrough"},
    {"", "{" NONE CLIENTS("\"O_RDWR|O_DSYNC\"", "\"O_WRONLY|O_SYNC\"") "}", 0, "", "directsync"},
    {"", "{" WB CLIENTS("\"O_RDWR|O_DSYNC\"", "\"O_RDWR\"") "}", 0, "", "writeback"},
    {"", "{" WB CLIENTS("\"O_RDONLY|O_DSYNC\"", "\"O_RDONLY\"") "}", 0, "", "writeback"},
    {"", "{" WB CLIENTS("\"O_RDWR|O_DSYNC\"", "\"O_RDONLY\"") ",\"clients_total\":3}", 0, "",
     "writeback"},
    /* O_DIRECT, and how clients submit */
    {"", "{" WB "\"opens_direct\":1}", 0, "direct-cached", "writeback"},
    {"", "{" WB "\"clients\":[{\"flags\":\"O_RDWR|O_DIRECT\"}]}", 0, "direct-cached", "writeback"},
    {"", "{" NONE "\"opens_direct\":1}", CLIENT_AIO, "", "none"},
    {"", "{" WB "\"opens_direct\":1}", CLIENT_AIO, "direct-cached aio-cached", "writeback"},
    {"", "{" WB "\"opens\":1}", CLIENT_URING, "aio-cached", "writeback"},
    /* the device */
    {"{" WB "\"writers\":1,\"flush_seconds\":5,\"flushes_honoured\":10}",
     "{" WB "\"writers\":1,\"flush_seconds\":5.9,\"flushes_honoured\":50}", 0, "flush-rate",
     "writeback"},
    {"{" WB "\"writers\":2,\"flush_seconds\":5}", "{" WB "\"writers\":2,\"flush_seconds\":5.9}", 0,
     "", "writeback"},
    {"{" WB "\"writers\":1,\"flush_seconds\":5}", "{" WB "\"writers\":1}", 0, "", "writeback"},
    {"{" WB "\"dirty_bytes\":0}", "{" WB "\"dirty_bytes\":9000000}", 0, "dirty-grows", "writeback"},
    {"{" WB "\"dirty_bytes\":0}", "{" WB "\"dirty_bytes\":900000}", 0, "", "writeback"},
    {"{" WB "\"dirty_bytes\":9000000}", "{" WB "\"dirty_bytes\":0}", 0, "", "writeback"},
    {"{" WB "\"dirty_bytes\":null}", "{" WB "\"dirty_bytes\":9000000}", 0, "", "writeback"},
    /* alignment matters to direct I/O only, and when it is not rare */
    {"", "{" NONE SOME "\"unaligned_writes\":500,\"rmw_writes\":400,\"rmw_nsec\":800000000}", 0,
     "unaligned", "none"},
    {"", "{" NONE SOME "\"unaligned_writes\":9}", 0, "", "none"},
    {"", "{" WB SOME "\"unaligned_writes\":500}", 0, "", "writeback"},
    /* what the daemon knows by itself */
    {"", "{" WB "\"error\":\"Input/output error\",\"tainted\":true}", 0, "flush-failed tainted",
     "writeback"},
    {"", "{" WB "\"pending\":{\"mode\":\"none\"}}", 0, "pending", "writeback"},
};

ParameterizedTestParameters(ctl_judge, judged)
{
	return cr_make_param_array(struct judged, (void *)judged,
				   sizeof(judged) / sizeof(judged[0]), NULL);
}

static bool load(const char *text, struct file_status *f)
{
	json_t *json = json_loads(text, 0, NULL);

	if (!*text)
		return false;
	cr_assert_not_null(json, "%s", text);
	cr_assert_eq(file_status_from_json(f, json), 0);
	json_decref(json);
	return true;
}

ParameterizedTest(struct judged *row, ctl_judge, judged)
{
	struct file_status before = {0}, after;
	struct evidence e = {.seconds = 1, .client_io = row->client_io, .after = &after};
	char names[128] = "", mode[MODE_TEXT];
	struct findings found = {0};
	const char *why;
	int effective;

	e.before = load(row->before, &before) ? &before : NULL;
	load(row->after, &after);
	judge(&e, &found);
	for (size_t i = 0; i < found.count; i++) {
		strcat(names, i ? " " : "");
		strcat(names, finding_texts[found.list[i].id].name);
		cr_assert(strlen(found.list[i].seen) > 0);
	}
	cr_assert_str_eq(names, row->warnings, "%s: %s", row->after, names);
	effective = effective_switches(&after, &why);
	cr_assert_str_eq(switches_text(effective, mode), row->effective, "%s", row->after);
	cr_assert_eq(!!why, effective != after.switches, "%s", row->after);
	findings_free(&found);
	file_status_free(&before);
	file_status_free(&after);
}

Test(ctl_judge, what_was_seen_has_numbers)
{
	struct file_status f;
	struct evidence e = {.after = &f};
	struct findings found = {0};

	load("{" NONE SOME "\"direct_align\":4096,\"unaligned_writes\":500,\"rmw_writes\":400,"
	     "\"rmw_nsec\":800000000}",
	     &f);
	judge(&e, &found);
	cr_assert_eq(found.count, 1);
	cr_assert_str_eq(found.list[0].seen,
			 "50 % of the writes (500) are not aligned to 4096 bytes; 400 were done as "
			 "read-modify-write, 2.000 ms each");
	findings_free(&found);
	file_status_free(&f);
}

Test(ctl_judge, every_warning_says_what_it_means_and_what_to_do)
{
	for (size_t i = 0; i < FINDINGS_COUNT; i++) {
		cr_assert(strlen(finding_texts[i].name) > 0);
		cr_assert(strlen(finding_texts[i].means) > 20);
		cr_assert(strlen(finding_texts[i].advice) > 20);
	}
}
