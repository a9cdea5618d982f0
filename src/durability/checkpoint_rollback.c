/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A rollback, and what a crash leaves after each of its steps:
 *
 * 1. a clone of the checkpoint without a name (O_TMPFILE), beside the image: nothing is left
 * 2. the record, in the checkpoints' directory: which file is to get which name (KEPT); removed by
 *    checkpoint_recover()
 * 3. the clone gets the name KEPT, and is durable: the image is untouched. checkpoint_recover()
 *    removes KEPT, which it knows by its file handle
 * 4. the two change names (RENAME_EXCHANGE): the image is the clone, KEPT the tainted file
 * 5. the checkpoints go over to the clone's handle; else checkpoint_recover() does it
 * 6. the record goes
 *
 * So the name of the image is always there, old or new, and only a file that is known to be our own
 * clone is ever removed.
 */
#include "durability/checkpoint.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/util.h"
#include "durability/checkpoint_internal.h"

#define KEPT_TRIES 100

struct rollback {
	int top;    /* all checkpoints */
	int dir;    /* those of the image */
	int beside; /* where the image is; readable */
	const struct file_id *id;
	const char *name;
	char *kept;
	struct file_id *new_id;
};

/* NAME.tainted-TIME, and a number where that is taken; a NAME too long for that loses its end. */
static void kept_name(const char *name, int number, char *kept)
{
	char tail[64], more[16] = "";
	time_t now = time(NULL);
	size_t len = strlen(name);
	struct tm utc;

	gmtime_r(&now, &utc);
	strftime(tail, sizeof(tail), ".tainted-%Y%m%dT%H%M%SZ", &utc);
	if (number)
		snprintf(more, sizeof(more), "-%d", number);
	strcat(tail, more);
	if (len + strlen(tail) > NAME_MAX) {
		len = NAME_MAX - strlen(tail);
		while (len > 0 && ((unsigned char)name[len] & 0xc0) == 0x80)
			len--; /* not inside a character of UTF-8 */
	}
	snprintf(kept, NAME_MAX + 1, "%.*s%s", (int)len, name, tail);
}

/*
 * Readable. Another link would go on leading to the tainted file, so an image that has one is not
 * put back behind its owner's back.
 */
static int open_image(const struct rollback *r)
{
	_cleanup_fd_ int path_fd = openat(r->beside, r->name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	struct stat st;
	char proc[64];

	if (path_fd < 0)
		return errno == ENOENT ? -ESTALE : -errno;
	if (fstat(path_fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode) || !checkpoint_is(path_fd, r->id))
		return -ESTALE;
	if (st.st_nlink > 1)
		return -EMLINK;
	snprintf(proc, sizeof(proc), "/proc/self/fd/%d", path_fd);
	return sysret(open(proc, O_RDONLY | O_NONBLOCK | O_CLOEXEC));
}

static int open_newest(const struct rollback *r)
{
	struct timespec taken[CHECKPOINTS_KEPT];
	int n = checkpoint_newest(r->dir, taken);
	char name[48];

	if (n <= 0)
		return n < 0 ? n : -ENOENT;
	checkpoint_name(taken[0], name);
	return sysret(openat(r->dir, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC));
}

/* Steps 2 and 3. */
static int name_clone(const struct rollback *r, int clone)
{
	char id[FILE_ID_TEXT], record[FILE_ID_TEXT + NAME_MAX + 2], proc[64];
	int err, number;

	file_id_text(r->new_id, id);
	snprintf(proc, sizeof(proc), "/proc/self/fd/%d", clone);
	for (number = 0; number < KEPT_TRIES; number++) {
		kept_name(r->name, number, r->kept);
		if (faccessat(r->beside, r->kept, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
			continue;
		snprintf(record, sizeof(record), "%s\n%s", id, r->kept);
		err = checkpoint_write(r->dir, CHECKPOINT_ROLLBACK, record);
		if (err)
			return err;
		if (linkat(AT_FDCWD, proc, r->beside, r->kept, AT_SYMLINK_FOLLOW) == 0)
			break;
		if (errno != EEXIST)
			return -errno;
	}
	if (number == KEPT_TRIES)
		return -EEXIST;
	/* not before it had a name: btrfs makes nothing durable of a file without one */
	if (fsync(clone) < 0 || fsync(r->beside) < 0)
		return -errno;
	return 0;
}

static int exchange(const struct rollback *r)
{
	return sysret(renameat2(r->beside, r->name, r->beside, r->kept, RENAME_EXCHANGE));
}

/* Is KEPT, beside the image, the file of ID? */
static bool kept_is(int beside, const char *kept, const struct file_id *id)
{
	_cleanup_fd_ int fd = openat(beside, kept, O_PATH | O_NOFOLLOW | O_CLOEXEC);

	return fd >= 0 && checkpoint_is(fd, id);
}

static int record_remove(int dir)
{
	if (unlinkat(dir, CHECKPOINT_ROLLBACK, 0) < 0 && errno != ENOENT)
		return -errno;
	return sysret(fsync(dir));
}

/* Steps 5 and 6: TO has the image's name now, so the checkpoints are its own. */
static int hand_over(int top, int dir, const struct file_id *from, const struct file_id *to)
{
	char old[FILE_ID_TEXT], new[FILE_ID_TEXT];

	file_id_text(from, old);
	file_id_text(to, new);
	if (renameat(top, old, top, new) < 0) {
		/* it has newer ones already */
		if (errno == EEXIST || errno == ENOTEMPTY)
			return checkpoint_remove(top, from);
		return -errno;
	}
	return fsync(top) < 0 ? -errno : record_remove(dir);
}

int checkpoint_recover(int top, const struct file_id *id, int dir_fd)
{
	_cleanup_fd_ int dir = checkpoint_dir(top, id, false);
	char record[FILE_ID_TEXT + NAME_MAX + 2], *kept;
	struct file_id clone;
	int err;

	if (dir < 0)
		return dir;
	err = checkpoint_read(dir, CHECKPOINT_ROLLBACK, record, sizeof(record));
	if (err)
		return err == -ENOENT ? 0 : err;
	kept = strchr(record, '\n');
	if (!kept || !file_id_parse(record, (size_t)(kept - record), &clone))
		return record_remove(dir);
	kept++;
	if (kept_is(dir_fd, kept, &clone)) {
		if (unlinkat(dir_fd, kept, 0) < 0)
			return -errno;
	} else if (kept_is(dir_fd, kept, id)) {
		return hand_over(top, dir, id, &clone);
	}
	return record_remove(dir);
}

/* From a clone that is whole on. */
static int put_in_place(const struct rollback *r, int clone)
{
	int err;

	if (!file_id_of(clone, r->new_id))
		return -EOPNOTSUPP;
	err = name_clone(r, clone);
	if (!err)
		err = exchange(r);
	if (!err && !kept_is(r->beside, r->kept, r->id)) {
		/* somebody had just put another file there */
		err = exchange(r);
		err = err ? err : -ESTALE;
	}
	if (err) {
		checkpoint_recover(r->top, r->id, r->beside);
		return err;
	}
	/* rare, so the certain way: on each filesystem it covers both names */
	if (syncfs(r->beside) < 0)
		return -errno;
	return hand_over(r->top, r->dir, r->id, r->new_id);
}

static int rollback(struct rollback *r, bool dry_run)
{
	_cleanup_fd_ int from = -1, image = -1, clone = -1;
	int err;

	if (!dry_run) {
		err = checkpoint_recover(r->top, r->id, r->beside);
		if (err)
			return err;
	}
	from = open_newest(r);
	if (from < 0)
		return from;
	image = open_image(r);
	if (image < 0)
		return image;
	if (dry_run) {
		kept_name(r->name, 0, r->kept);
		*r->new_id = *r->id;
		return sysret(faccessat(r->beside, ".", W_OK | X_OK, AT_EACCESS));
	}
	clone = openat(r->beside, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (clone < 0)
		return -errno;
	/* who may do what with the image is not rolled back: the attributes are today's */
	err = checkpoint_clone(clone, from, image, NULL, NULL);
	return err ? err : put_in_place(r, clone);
}

int checkpoint_rollback(struct checkpoints *c, const struct file_id *id, int dir_fd,
			const char *name, bool dry_run, char *kept, struct file_id *new_id)
{
	_cleanup_fd_ int top = checkpoint_top(c), dir = -1, beside = -1;
	struct rollback r = {.id = id, .name = name, .kept = kept, .new_id = new_id};
	struct claim claim;
	int err;

	if (top < 0)
		return top;
	beside = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (beside < 0)
		return -errno;
	if (!checkpoint_claim(c, &claim, id))
		return -EBUSY;
	dir = checkpoint_dir(top, id, false);
	r.top = top;
	r.dir = dir;
	r.beside = beside;
	err = dir < 0 ? dir : rollback(&r, dry_run);
	checkpoint_release(c, &claim);
	return err;
}
