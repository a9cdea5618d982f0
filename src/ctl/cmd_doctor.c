/* SPDX-License-Identifier: GPL-2.0-or-later */
/* doctor: gathers the evidence, has it judged, prints. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "base/util.h"
#include "ctl/client_io.h"
#include "ctl/ctl.h"
#include "ctl/judge.h"
#include "ctl/leads.h"
#include "ctl/sample.h"
#include "ctl/term.h"
#include "ctl/text.h"

struct doctor {
	struct sample_source source;
	struct report before, after;
	json_t *files, *tree; /* NULL: print text */
	size_t warnings;
};

/* ---- printing ---- */

static json_t *finding_to_json(const struct finding *f)
{
	const struct finding_text *t = &finding_texts[f->id];

	return need_memory(json_pack("{s:s,s:o,s:s,s:s}", "warning", t->name, "seen",
				     text_to_json(f->seen), "means", t->means, "advice",
				     t->advice));
}

static json_t *findings_to_json(const struct findings *f)
{
	json_t *array = need_memory(json_array());

	for (size_t i = 0; i < f->count; i++)
		json_array_append_new(array, finding_to_json(&f->list[i]));
	return array;
}

static void print_findings(const struct findings *f)
{
	const char *begin = term_colours() ? "\033[33m" : "", *end = *begin ? "\033[0m" : "";

	for (size_t i = 0; i < f->count; i++) {
		const struct finding_text *t = &finding_texts[f->list[i].id];
		_cleanup_free_ char *seen = text_escape(f->list[i].seen);

		printf("  %swarning: %s%s: %s\n", begin, t->name, end, seen);
		text_wrap(stdout, t->means, 4, term_width());
		text_wrap(stdout, t->advice, 6, term_width());
	}
}

static void print_file(struct doctor *d, const struct file_status *f, const struct findings *found)
{
	char mode[MODE_TEXT], result[MODE_TEXT];
	_cleanup_free_ char *path = text_escape(f->path);
	const char *why;
	int effective = effective_switches(f, &why);

	d->warnings += found->count;
	if (d->files) {
		json_array_append_new(
		    d->files,
		    need_memory(json_pack("{s:o,s:s,s:s,s:s?,s:o}", "path", text_to_json(f->path),
					  "mode", switches_text(f->switches, mode), "effective",
					  switches_text(effective, result), "because", why,
					  "warnings", findings_to_json(found))));
		return;
	}
	printf("%s: %s (%s), end to end %s%s%s%s\n", path, switches_text(f->switches, mode),
	       f->origin ? f->origin : "-", switches_text(effective, result), why ? " (" : "",
	       why ? why : "", why ? ")" : "");
	print_findings(found);
}

/* As found_fn. */
static void print_place(void *arg, const char *path, struct findings *found)
{
	struct doctor *d = arg;

	d->warnings += found->count;
	if (d->tree)
		json_array_append_new(d->tree,
				      need_memory(json_pack("{s:o,s:o}", "path", text_to_json(path),
							    "warnings", findings_to_json(found))));
	else {
		_cleanup_free_ char *name = text_escape(path);

		printf("%s\n", name);
		print_findings(found);
	}
	findings_free(found);
}

/* ---- gathering ---- */

/* The mode of the same backing file on the mount OTHER; -1: it is not there, or not known. */
static int mode_on(const struct mount_entry *other, const char *backing)
{
	const char *below = path_below(backing, other->source);
	_cleanup_free_ char *path = below ? text_format("%s/%s", other->point, below) : NULL;
	struct cachefs_mode m = {0};
	_cleanup_fd_ int fd = -1;
	struct stat st;

	if (!below || !*below || strcmp(other->root, "/") != 0)
		return -1;
	fd = open(path, O_RDONLY | O_NONBLOCK | O_NOFOLLOW | O_NOCTTY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0 || st.st_dev != other->dev || !S_ISREG(st.st_mode) ||
	    ioctl(fd, CACHEFS_IOC_MODE, &m) < 0)
		return -1;
	return (int)(m.switches & 7);
}

static void compare_mounts(const struct doctor *d, const struct file_status *f, dev_t dev,
			   const char *real, struct findings *out)
{
	const struct mounts *mounts = &d->source.mounts;
	_cleanup_free_ char *below = NULL;
	_cleanup_free_ char *backing = NULL;
	const struct mount_entry *entry = mounts_find(mounts, dev, real, &below);

	if (!entry || f->switches < 0)
		return;
	backing = text_format("%s/%s", entry->source, below);
	for (size_t i = 0; i < mounts->count; i++) {
		const struct mount_entry *other = &mounts->entries[i];
		char mode[MODE_TEXT];
		int switches = other->dev == dev ? -1 : mode_on(other, backing);

		if (switches >= 0 && switches != f->switches)
			findings_add(out, FINDING_TWO_MODES,
				     text_format("also served at %s, as %s", other->point,
						 switches_text(switches, mode)));
	}
}

static void examine(struct doctor *d, const struct file_status *f)
{
	struct evidence e = {
	    .before = report_find(&d->before, f->path),
	    .after = f,
	    .seconds = d->after.seconds - d->before.seconds,
	};
	_cleanup_free_ char *real = realpath(f->path, NULL);
	_cleanup_free_ char *who = NULL;
	struct findings found = {0};
	struct stat st;

	e.client_io = client_io(f, &who);
	e.client = who;
	judge(&e, &found);
	if (real && f->deleted != 1 && stat(real, &st) == 0) {
		compare_mounts(d, f, st.st_dev, real, &found);
		leads_of_image(real, st.st_dev, &found);
	}
	print_file(d, f, &found);
	findings_free(&found);
}

static int look_twice(struct doctor *d)
{
	struct timespec pause = {.tv_sec = 2}; /* several flushes of a slow disk */
	int code = sample_take(&d->source, &d->before);

	if (code)
		return code;
	while (nanosleep(&pause, &pause) < 0 && errno == EINTR)
		;
	return sample_take(&d->source, &d->after);
}

static int run(struct doctor *d)
{
	const struct target *t = &d->source.target;
	bool directory = !d->source.whole && !target_is_file(t);
	int code = look_twice(d);

	if (code)
		return code;
	for (size_t i = 0; i < d->after.files_count; i++)
		examine(d, &d->after.files[i]);
	if (directory && !leads_of_tree(t->path, t->st.st_dev, print_place, d))
		code = CTL_FAILED;
	if (!d->files)
		printf("files looked at: %zu, warnings: %zu\n", d->after.files_count, d->warnings);
	return code;
}

int cmd_doctor(const struct ctl_args *a)
{
	struct doctor d = {0};
	int code;

	if (a->options & CTL_OPT_JSON) {
		d.files = need_memory(json_array());
		d.tree = need_memory(json_array());
	}
	code = sample_open(&d.source, a->words_count ? a->words[0] : NULL);
	if (!code)
		code = run(&d);
	if (d.files && !code)
		code = print_json(
		    need_memory(json_pack("{s:O,s:O}", "files", d.files, "tree", d.tree)));
	json_decref(d.files);
	json_decref(d.tree);
	report_free(&d.before);
	report_free(&d.after);
	sample_close(&d.source);
	return code;
}
