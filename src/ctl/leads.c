/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctl/leads.h"

#include <errno.h>
#include <fcntl.h>
#include <fts.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/util.h"
#include "ctl/qcow2.h"
#include "ctl/text.h"

/* What does not exist leads nowhere. */
static bool leads_past(const char *path, dev_t dev)
{
	struct stat st;

	return stat(path, &st) == 0 &&
	       (st.st_dev != dev || S_ISBLK(st.st_mode) || S_ISCHR(st.st_mode));
}

/* NAME of an image: relative ones are relative to the image's directory. */
static void check_name(const char *image, const char *kind, const char *name, dev_t dev,
		       struct findings *out)
{
	_cleanup_free_ char *path = name ? qcow2_path(name) : NULL;
	_cleanup_free_ char *full = NULL;
	const char *slash = strrchr(image, '/');

	if (!path)
		return;
	if (*path == '/' || !slash)
		full = need_memory(strdup(path));
	else
		full = text_format("%.*s/%s", (int)(slash - image), image, path);
	if (leads_past(full, dev))
		findings_add(out, FINDING_LEADS_PAST, text_format("its %s is %s", kind, path));
}

void leads_of_image(const char *path, dev_t dev, struct findings *out)
{
	_cleanup_fd_ int fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	_cleanup_free_ uint8_t *image = NULL;
	struct qcow2_names names;
	uint8_t magic[4];
	struct stat st;
	ssize_t n;

	if (fd < 0 || fstat(fd, &st) < 0 || st.st_dev != dev || !S_ISREG(st.st_mode) ||
	    pread(fd, magic, sizeof(magic), 0) != sizeof(magic) || memcmp(magic, "QFI\373", 4) != 0)
		return;
	image = need_memory(malloc(QCOW2_CLUSTER_MAX));
	n = pread(fd, image, QCOW2_CLUSTER_MAX, 0);
	if (n < 0 || qcow2_parse(image, (size_t)n, &names))
		return;
	check_name(path, "backing file", names.backing, dev, out);
	check_name(path, "data file", names.data_file, dev, out);
	qcow2_free(&names);
}

static void check_entry(const FTSENT *e, dev_t dev, struct findings *out)
{
	char target[PATH_MAX];
	ssize_t n;

	switch (e->fts_info) {
	case FTS_F:
		leads_of_image(e->fts_path, dev, out);
		break;
	case FTS_SL:
		n = readlink(e->fts_path, target, sizeof(target) - 1);
		if (n < 0 || !leads_past(e->fts_path, dev))
			break;
		target[n] = '\0';
		findings_add(out, FINDING_LEADS_PAST, text_format("a symbolic link to %s", target));
		break;
	case FTS_DEFAULT:
		if (S_ISBLK(e->fts_statp->st_mode) || S_ISCHR(e->fts_statp->st_mode))
			findings_add(out, FINDING_LEADS_PAST, text_format("a device node"));
		break;
	default:
		break;
	}
}

static int by_name(const FTSENT **a, const FTSENT **b)
{
	return strcmp((*a)->fts_name, (*b)->fts_name);
}

bool leads_of_tree(const char *directory, dev_t dev, found_fn *found, void *arg)
{
	char *roots[] = {(char *)(uintptr_t)directory, NULL};
	FTS *tree = fts_open(roots, FTS_COMFOLLOW | FTS_PHYSICAL | FTS_NOCHDIR | FTS_XDEV, by_name);
	bool all = true;
	FTSENT *e;

	if (!tree) {
		complain_errno(directory, "cannot be searched", errno, NULL);
		return false;
	}
	while ((e = fts_read(tree))) {
		struct findings f = {0};

		if (e->fts_info == FTS_DNR || e->fts_info == FTS_ERR) {
			complain_errno(e->fts_path, "cannot be searched", e->fts_errno, NULL);
			all = false;
			continue;
		}
		/* what is mounted below is another's */
		if (e->fts_info != FTS_NS && e->fts_statp->st_dev == dev)
			check_entry(e, dev, &f);
		if (f.count)
			found(arg, e->fts_path, &f);
	}
	fts_close(tree);
	return all;
}
