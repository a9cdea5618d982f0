/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Modes that were being changed when the process that served them was killed, and what they set. */
#include "owes.h"

#include <linux/fs.h>
#include <sys/ioctl.h>

#include "fs/unsafe_internal.h"

/* ---- modes ---- */

static int set_mode(const char *mode)
{
	struct fs_mode_change c = {.uid = 0};

	if (mode_parse(mode, strlen(mode), &c.switches))
		return -EINVAL;
	return fs_mode_change(fs, told->ids[0], &c);
}

static bool has_mode(const char *mode)
{
	struct fs_mode_shown shown;
	struct switches sw;

	return !mode_parse(mode, strlen(mode), &sw) && !fs_mode_show(fs, told->ids[0], &shown) &&
	       !shown.pending && switches_equal(sw, shown.switches) &&
	       switches_equal(sw, handle_get(fs, told->fhs[0])->file->mode.switches);
}

static void die_in_a_barrier(void)
{
	open_one();
	atomic_store(&syncs->die, true);
	set_mode("writeback");
}

Test(owes_modes, a_barrier_that_was_not_done_is_made_up_for)
{
	begin_counting("unsafe");
	worker(die_in_a_barrier);
	cr_assert_eq(atomic_load(&syncs->count), 1);
	worker(nothing);
	atomic_store(&syncs->die, false);
	resume();
	cr_assert(has_mode("writeback"));
	WAIT_FOR(!node_get(fs, told->ids[0])->rec->owes.barrier);
	cr_assert_geq(atomic_load(&syncs->count), 2);
	cr_assert_eq(set_mode("writeback"), 0, "the request comes again");
	cr_assert_eq(fs_fsync(fs, told->fhs[0], false), 0);
	WAIT_FOR(!fs->unsafe->writers);
	end_counting();
}

static void die_in_a_rename_of_modes(void)
{
	open_one();
	IN_WORKER(set_mode("unsafe") == 0);
	atomic_store(&syncs->die, true);
	set_mode("none");
}

Test(owes_modes, descriptors_follow_the_mode_in_force)
{
	struct handle *h;

	begin_counting("writeback");
	if (!config.caps.backing_direct_io)
		cr_skip_test("no direct I/O here");
	worker(die_in_a_rename_of_modes);
	atomic_store(&syncs->die, false);
	resume();
	cr_assert(has_mode("none"));
	h = handle_get(fs, told->fhs[0]);
	cr_assert(h->plan.direct && fcntl(h->fd, F_GETFL) & O_DIRECT);
	cr_assert(atomic_load(&h->file->direct));
	WAIT_FOR(!h->file->owed);
	end_counting();
}

static void die_in_a_remount(void)
{
	open_one();
	atomic_store(&syncs->die, true);
	fs_set_switches(fs, (struct switches){.writeback = true});
}

Test(owes_modes, a_remount_that_was_not_over)
{
	const struct switches writeback = {.writeback = true};

	begin_counting("unsafe");
	worker(die_in_a_remount);
	atomic_store(&syncs->die, false);
	resume();
	cr_assert(switches_equal(fs_switches(fs), writeback), "whatever the options say");
	cr_assert_neq(fs->owes->switching, 0, "what was closed before is not flushed yet");
	cr_assert(has_mode("writeback"));
	cr_assert_eq(fs_set_switches(fs, writeback), 0);
	cr_assert_eq(fs->owes->switching, 0);
	cr_assert_geq(atomic_load(&syncs->count), 2);
	end_counting();
}

/* ---- the kernel path: sync attributes ---- */

static bool has_attr(void)
{
	char path[5000];
	int fd, flags = 0;

	snprintf(path, sizeof(path), "%s/f", directory);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || ioctl(fd, FS_IOC_GETFLAGS, &flags) < 0)
		flags = -1;
	close(fd);
	return flags & FS_SYNC_FL;
}

static void begin_on_kernel_path(const char *mode)
{
	int fd, err, flags;

	begin_counting(mode);
	config.caps.kernel_path = true;
	config.kernel_path = KERNEL_PATH_ALWAYS;
	fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	err = ioctl(fd, FS_IOC_GETFLAGS, &flags);
	close(fd);
	if (!config.privileged || err)
		cr_skip_test("needs root, and inode flags");
}

static void open_with_attr(void)
{
	open_one();
	IN_WORKER(handle_get(fs, told->fhs[0])->plan.kernel_sync);
	IN_WORKER(has_attr());
}

Test(owes_modes, the_sync_attribute_of_an_open_file_stays)
{
	begin_on_kernel_path("writethrough");
	worker(open_with_attr);
	cr_assert(has_attr());
	worker(nothing);
	cr_assert(has_attr());
	resume();
	cr_assert(has_attr());
	cr_assert(handle_get(fs, told->fhs[0])->file->sync_attr);
	fs_release(fs, told->fhs[0]);
	cr_assert(!has_attr());
	end_counting();
}

/* As if it had been killed in the middle of the close. */
static void half_closed(void)
{
	struct handle *h;

	open_with_attr();
	h = handle_get(fs, told->fhs[0]);
	h->file->node->rec->sync_attr = OWES_ATTR_CHANGING;
	h->rec->state = HANDLE_FREE;
}

Test(owes_modes, the_sync_attribute_of_a_closed_file_goes)
{
	begin_on_kernel_path("writethrough");
	worker(half_closed);
	cr_assert(has_attr());
	resume();
	cr_assert(!has_attr());
	cr_assert_eq(node_get(fs, told->ids[0])->rec->sync_attr, OWES_ATTR_NONE);
	end_counting();
}

/* The record of the attribute is there, whether it was set or not is not known. */
static void half_set(void)
{
	open_with_attr();
	handle_get(fs, told->fhs[0])->file->node->rec->sync_attr = OWES_ATTR_CHANGING;
}

Test(owes_modes, the_sync_attribute_that_is_needed_is_set)
{
	begin_on_kernel_path("writethrough");
	worker(half_set);
	resume();
	cr_assert(has_attr());
	cr_assert_eq(node_get(fs, told->ids[0])->rec->sync_attr, OWES_ATTR_SET);
	fs_release(fs, told->fhs[0]);
	cr_assert(!has_attr());
	end_counting();
}
