/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A rollback that comes again: one file goes back, one is kept, and the answer names it. */
#include "once.h"

#include <dirent.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/wait.h>

#include "fs/checkpointer_internal.h"

#define SIZE 65536

static struct checkpointer *c;
static struct checkpoints *store;

static void no_invalidate_entry(void *arg, uint64_t parent, const char *name)
{
	(void)arg;
	(void)parent;
	(void)name;
}

/* A filesystem with reflinks, in a mount namespace of this process. */
static void begin_xfs(void)
{
	if (geteuid() != 0 || unshare(CLONE_NEWNS) < 0 || system("command -v mkfs.xfs >/dev/null"))
		cr_skip_test("needs root and mkfs.xfs");
	cr_assert_eq(mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
	cr_assert_eq(mount("none", "/mnt", "tmpfs", 0, NULL), 0);
	cr_assert_eq(system("truncate -s 512M /mnt/disk && mkfs.xfs -q -m reflink=1 /mnt/disk && "
			    "mkdir /mnt/fs && mount -o loop /mnt/disk /mnt/fs"),
		     0);
	setenv("TMPDIR", "/mnt/fs", 1);
	begin();
	session.fs->config.invalidate_entry = no_invalidate_entry;
	c = session.fs->checkpointer;
	cr_assert_eq(checkpointer_store(c, &store), 0);
	atomic_store(&c->any, true);
}

static void finish_xfs(void)
{
	finish();
	cr_assert_eq(umount("/mnt/fs"), 0);
	cr_assert_eq(umount("/mnt"), 0);
}

TestSuite(once_rollback, .init = begin_xfs, .fini = finish_xfs, .timeout = 300);

static void fill(const char *name, char with)
{
	int fd = open(name, O_CREAT | O_RDWR | O_TRUNC, 0600);
	char bytes[SIZE];

	memset(bytes, with, sizeof(bytes));
	cr_assert_eq(write(fd, bytes, sizeof(bytes)), SIZE);
	cr_assert_eq(fsync(fd), 0);
	close(fd);
}

static char first_byte(const char *name)
{
	int fd = open(name, O_RDONLY);
	char byte = 0;

	cr_assert(fd >= 0 && read(fd, &byte, 1) == 1, "%s", name);
	close(fd);
	return byte;
}

static void take(const char *name, struct file_id *id)
{
	int fd = open(name, O_RDONLY);

	cr_assert(file_id_of(fd, id));
	cr_assert_eq(checkpoint_take(store, fd, id, name, NULL), 0);
	close(fd);
}

static unsigned files(void)
{
	DIR *d = opendir(".");
	struct dirent *e;
	unsigned n = 0;

	while ((e = readdir(d)))
		n += e->d_name[0] != '.';
	closedir(d);
	return n;
}

/* It was killed before the checkpoints went over to the file that is there now. */
static void as_if_not_handed_over(const struct file_id *old, const struct file_id *new,
				  const char *kept)
{
	char from[256], to[256], record[512];
	char from_id[FILE_ID_TEXT], to_id[FILE_ID_TEXT];
	FILE *f;

	file_id_text(new, from_id);
	file_id_text(old, to_id);
	snprintf(from, sizeof(from), ".cachefs/checkpoints/%s", from_id);
	snprintf(to, sizeof(to), ".cachefs/checkpoints/%s", to_id);
	cr_assert_eq(rename(from, to), 0);
	snprintf(record, sizeof(record), "%s/rollback", to);
	f = fopen(record, "w");
	cr_assert(f && fprintf(f, "%s\n%s", from_id, kept) > 0 && fclose(f) == 0);
	checkpoints_destroy(c->store); /* as another worker begins */
	c->store = NULL;
}

static void roll_back_at(enum point p, bool handed_over)
{
	struct once o = {.unique = UNIQUE, .resent = true};
	struct journal_entry *e = NULL;
	struct file_id id, new_id;
	struct fs_rollback r;
	char kept[NAME_MAX + 1];
	struct journal_file was;

	fill("img", 'g');
	take("img", &id);
	fill("img", 'b');
	was = identity("img");
	lookup("img");
	if (p >= TAKEN)
		e = entry_as_begun("img", NULL);
	if (p >= BEGUN)
		e->state = JOURNAL_BEGUN;
	if (p >= EXECUTED) {
		int dir = open(".", O_RDONLY | O_DIRECTORY);

		cr_assert_eq(checkpoint_rollback(store, &id, dir, "img", false, kept, &new_id), 0);
		close(dir);
		if (!handed_over)
			as_if_not_handed_over(&id, &new_id, kept);
	}
	if (p >= DONE) {
		e->result = 0;
		e->state = JOURNAL_DONE;
	}
	resume();
	once_found(&o, journal_find(session.journal, UNIQUE));
	fs_thread_once(&o);
	cr_assert_eq(fs_rollback(session.fs, FUSE_ROOT_ID, "img", false, 0, &r), 0, "%s",
		     points[p]);
	fs_thread_once(NULL);
	if (o.entry)
		journal_release(session.journal, o.entry);
	cr_assert_eq(files(), 2, "%s: %u", points[p], files());
	cr_assert_eq(first_byte("img"), 'g', "%s", points[p]);
	cr_assert(identity(r.kept).ino == was.ino && first_byte(r.kept) == 'b', "%s: %s", points[p],
		  r.kept);
	cr_assert(r.taken.tv_sec > 0);
	if (p >= EXECUTED)
		cr_assert(file_id_equal(&r.id, &new_id));
	cr_assert_eq(checkpointer_store(c, &store), 0);
	cr_assert_eq(checkpoint_drop(store, &r.id), 0);
	cr_assert(unlink("img") == 0 && unlink(r.kept) == 0);
}

Test(once_rollback, one_file_goes_back)
{
	for (enum point p = FREE; p < POINTS; p++)
		roll_back_at(p, true);
	roll_back_at(EXECUTED, false);
}
