/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctl/report.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/util.h"
#include "config/mode.h"
#include "ctl/ctl.h"
#include "ctl/text.h"

int report_parse(struct report *r, const char *text, size_t len, char *error, size_t size)
{
	json_error_t why;
	const json_t *files;

	*r = (struct report){.seconds = (double)clock_nsec() / 1e9};
	r->json = json_loadb(text, len, 0, &why);
	if (!json_is_object(r->json)) {
		snprintf(error, size, "line %d, column %d: %s", why.line, why.column,
			 r->json ? "not an object" : why.text);
		report_free(r);
		return -EINVAL;
	}
	files = json_object_get(r->json, "files");
	for (size_t i = 0; i < json_array_size(files); i++) {
		struct file_status f;

		if (!file_status_from_json(&f, json_array_get(files, i)))
			report_add(r, &f);
	}
	return 0;
}

void report_free(struct report *r)
{
	for (size_t i = 0; i < r->files_count; i++)
		file_status_free(&r->files[i]);
	free(r->files);
	json_decref(r->json);
	*r = (struct report){0};
}

void report_add(struct report *r, const struct file_status *f)
{
	/* doubles at each power of two */
	if ((r->files_count & (r->files_count - 1)) == 0)
		r->files = need_memory(
		    realloc(r->files, MAX(2 * r->files_count, (size_t)1) * sizeof(*r->files)));
	r->files[r->files_count++] = *f;
}

const struct file_status *report_find(const struct report *r, const char *path)
{
	for (size_t i = 0; i < r->files_count; i++)
		if (strcmp(r->files[i].path, path) == 0)
			return &r->files[i];
	return NULL;
}

/* All of FD, to be freed; NULL with errno. */
static char *read_all(int fd, size_t *len)
{
	char *text = NULL;
	size_t room = 0, used = 0;
	ssize_t n;

	do {
		if (room - used < 65536) {
			room += MAX(room, (size_t)65536);
			text = need_memory(realloc(text, room));
		}
		n = read(fd, text + used, room - used);
		if (n < 0 && errno != EINTR) {
			cleanup_mem(&text);
			return NULL;
		}
		used += n > 0 ? (size_t)n : 0;
	} while (n != 0);
	*len = used;
	return text;
}

#define REPORT CACHEFS_DIR "/" CACHEFS_STATUS_FILE

static int complain_report(const char *point, int err, bool quiet)
{
	bool right = err == EACCES || err == EPERM;

	if (quiet)
		return CTL_FAILED;
	return complain_errno(point, "its report " REPORT, err,
			      right ? "only root may read it, since it names every file: give one "
				      "file of yours"
				    : NULL);
}

int report_read(struct report *r, int fd, const char *point, bool quiet)
{
	_cleanup_fd_ int file = openat(fd, REPORT, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	_cleanup_free_ char *text = NULL;
	char error[256];
	size_t len;

	*r = (struct report){0};
	if (file < 0)
		return complain_report(point, errno, quiet);
	text = read_all(file, &len);
	if (!text)
		return complain_report(point, errno, quiet);
	if (!report_parse(r, text, len, error, sizeof(error)))
		return CTL_OK;
	if (!quiet)
		complain(point, "its report " REPORT " is not what this program understands: %s",
			 error);
	return CTL_FAILED;
}

int file_status_read(struct file_status *f, const struct target *t)
{
	_cleanup_free_ struct cachefs_status *s = need_memory(calloc(1, sizeof(*s)));

	if (ioctl(t->fd, CACHEFS_IOC_STATUS, s) < 0)
		return complain_errno(t->path, "its status", errno,
				      errno == ENOTTY ? "the daemon of this mount is older than "
							"cachefsctl: mount again"
						      : NULL);
	file_status_from_ioctl(f, t->path, s);
	return CTL_OK;
}

void file_status_unopened(struct file_status *f, const struct target *t)
{
	char mode[MODE_TEXT] = "";
	struct switches sw;
	ssize_t n = getxattr(t->path, CACHEFS_XATTR_NOW, mode, sizeof(mode));

	file_status_init(f, t->path);
	f->tainted = 1;
	f->size = (uint64_t)t->st.st_size;
	if (n > 0 && !mode_parse(mode, strnlen(mode, (size_t)n), &sw))
		f->switches = (int)switches_pack(sw);
}

const char *report_text(const struct report *r, const char *name)
{
	const char *text = json_string_value(json_object_get(r->json, name));

	return text ? text : "-";
}

void print_clients(const struct file_status *f, FILE *out)
{
	for (size_t i = 0; i < f->clients_count; i++) {
		const struct file_client *c = &f->clients[i];
		_cleanup_free_ char *comm = text_escape(c->comm);

		fprintf(out, "  process %lld (%s) %s%s\n", (long long)c->pid,
			*comm ? comm : "ended", c->flags,
			c->kernel_path ? ", on the kernel path" : "");
	}
	if (f->clients_total != CACHEFS_UNKNOWN && f->clients_total > f->clients_count)
		fprintf(out, "  and %llu more\n",
			(unsigned long long)f->clients_total - f->clients_count);
}

int print_json(json_t *json)
{
	int err = json_dumpf(json, stdout, JSON_INDENT(2) | JSON_ENSURE_ASCII);

	json_decref(json);
	if (err || putchar('\n') == EOF) {
		complain("standard output", "%s", strerror(errno));
		return CTL_FAILED;
	}
	return CTL_OK;
}
