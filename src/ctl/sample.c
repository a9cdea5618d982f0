/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctl/sample.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "ctl/ctl.h"
#include "ctl/text.h"

int sample_open(struct sample_source *s, const char *path)
{
	int err;

	*s = (struct sample_source){.target = {.fd = -1}, .whole = !path};
	err = mounts_read(&s->mounts);
	if (err)
		return complain_errno("/proc/self/mountinfo", "cannot be read", -err, NULL);
	if (path)
		return target_open(&s->target, path);
	if (s->mounts.count)
		return CTL_OK;
	complain("/proc/self/mountinfo", "no cachefs mounts: mount one, see mount.cachefs(8)");
	return CTL_FAILED;
}

void sample_close(struct sample_source *s)
{
	target_close(&s->target);
	mounts_free(&s->mounts);
}

/* Moves FROM's files to R, under the path that the user has. */
static void add_files(struct report *r, struct report *from, const char *point)
{
	for (size_t i = 0; i < from->files_count; i++) {
		struct file_status *f = &from->files[i];
		char *path = text_format("%s%s%s", point,
					 point[strlen(point) - 1] == '/' ? "" : "/", f->path);

		free(f->path);
		f->path = path;
		report_add(r, f);
	}
	from->files_count = 0; /* they have another owner */
	report_free(from);
}

static int take_mount(struct report *r, int fd, const char *point, bool quiet)
{
	struct report one;
	int code = report_read(&one, fd, point, quiet);

	if (!code)
		add_files(r, &one, point);
	return code;
}

static int take_target_mount(struct sample_source *s, struct report *r)
{
	_cleanup_free_ char *below = NULL;
	const struct mount_entry *entry;
	_cleanup_fd_ int fd = target_mount(&s->target, &s->mounts, &entry, &below);

	return fd < 0 ? -fd : take_mount(r, fd, entry->point, false);
}

/*
 * Of bind mounts of one filesystem only one is looked at. Mounts come and go, and one that does not
 * answer hides no other: it is complained of at the first look.
 */
static int take_all(struct sample_source *s, struct report *r)
{
	int worst = CTL_OK;
	bool any = false;

	mounts_free(&s->mounts);
	if (mounts_read(&s->mounts))
		return CTL_OK; /* it could be read before */
	for (size_t i = 0; i < s->mounts.count; i++) {
		const struct mount_entry *e = &s->mounts.entries[i];
		_cleanup_fd_ int fd = -1;
		int code;

		if (mounts_whole(&s->mounts, e->dev) != e)
			continue;
		fd = mount_open(e);
		if (fd == -ESTALE) /* something else lies on it */
			continue;
		if (fd >= 0)
			code = take_mount(r, fd, e->point, s->looked);
		else
			code = s->looked ? CTL_FAILED
					 : complain_errno(e->point, "cannot be opened", -fd, NULL);
		any = any || code == CTL_OK;
		worst = MAX(worst, code);
	}
	s->looked = true;
	return any ? CTL_OK : worst;
}

int sample_take(struct sample_source *s, struct report *r)
{
	struct file_status f;
	int code;

	*r = (struct report){.seconds = (double)clock_nsec() / 1e9};
	if (s->whole)
		code = take_all(s, r);
	else if (!target_is_file(&s->target))
		code = take_target_mount(s, r);
	else {
		code = file_status_read(&f, &s->target);
		if (!code)
			report_add(r, &f);
	}
	if (code)
		report_free(r);
	return code;
}
