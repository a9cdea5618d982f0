/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What modes owe to files, after the process that served them was killed: errors, and flushes that
 * were dropped. */
#include "owes.h"

#include "fs/unsafe_internal.h"

/* ---- errors ---- */

/* Also by what a resume does with open files in the background, after the last close perhaps. */
static void closed_by_all(uint64_t id)
{
	struct node *n = node_get(fs, id);
	struct node_shard *s = node_shard(fs, n);
	bool open = true;

	for (int tries = 0; open && tries < 6000; tries++) {
		pthread_mutex_lock(&s->lock);
		open = n->file;
		pthread_mutex_unlock(&s->lock);
		if (open)
			usleep(10000);
	}
	cr_assert(!open);
}

static void fail_a_flush(void)
{
	open_one();
	atomic_store(&syncs->error, EIO);
	IN_WORKER(fs_fsync(fs, told->fhs[0], true) == -EIO);
}

Test(owes, a_latched_error_stays)
{
	struct fs_opened o;

	begin_counting("writeback");
	worker(fail_a_flush);
	atomic_store(&syncs->error, 0);
	resume();
	cr_assert_eq(fs_fsync(fs, told->fhs[0], false), -EIO);
	cr_assert_eq(fs_open(fs, told->ids[0], O_RDWR, false, &caller, &o), 0);
	cr_assert_eq(fs_fsync(fs, o.fh, false), -EIO);
	fs_release(fs, told->fhs[0]);
	fs_release(fs, o.fh);
	closed_by_all(told->ids[0]);
	cr_assert_eq(fs_open(fs, told->ids[0], O_RDWR, false, &caller, &o), 0);
	cr_assert_eq(fs_fsync(fs, o.fh, false), 0, "closed by all, and opened again");
	end_counting();
}

Test(owes, a_latched_error_goes_with_the_last_close)
{
	begin_counting("writeback");
	worker(fail_a_flush);
	atomic_store(&syncs->error, 0);
	worker(nothing);
	resume();
	fs_release(fs, told->fhs[0]);
	closed_by_all(told->ids[0]);
	cr_assert_eq(node_get(fs, told->ids[0])->rec->error, 0);
	end_counting();
}

static void die_in_a_flush(void)
{
	open_one();
	IN_WORKER(!node_get(fs, told->ids[0])->rec->owes.witness);
	atomic_store(&syncs->die, true);
	fs_fsync(fs, told->fhs[0], false);
}

Test(owes, a_file_that_is_flushed_has_a_witness)
{
	const struct node *n;
	int witness;

	begin_counting("writeback");
	worker(die_in_a_flush);
	atomic_store(&syncs->die, false);
	resume();
	n = node_get(fs, told->ids[0]);
	witness = n->rec->owes.witness - 1;
	cr_assert_geq(witness, 0);
	cr_assert_neq(witness, handle_get(fs, told->fhs[0])->fd);
	cr_assert_geq(fcntl(witness, F_GETFD), 0);
	cr_assert_eq(fs_fsync(fs, told->fhs[0], false), 0);
	cr_assert_eq(n->rec->owes.witness - 1, witness);
	fs_release(fs, told->fhs[0]);
	closed_by_all(told->ids[0]);
	cr_assert_eq(n->rec->owes.witness, 0);
	WAIT_FOR(fcntl(witness, F_GETFD) < 0); /* by whoever was the last, as the last thing */
	end_counting();
}

/* Also where a size or what is in the page cache is settled, and no client asks for a flush. */
static void die_in_a_new_size(void)
{
	struct fs_setattr a = {.valid = FS_SET_SIZE, .size = 3};
	struct statx st;

	open_one();
	IN_WORKER(!node_get(fs, told->ids[0])->rec->owes.witness);
	atomic_store(&syncs->die, true);
	fs_setattr(fs, told->ids[0], told->fhs[0], &a, &st);
}

Test(owes, a_file_whose_size_is_set_has_a_witness)
{
	begin_counting("writethrough");
	worker(die_in_a_new_size);
	atomic_store(&syncs->die, false);
	resume();
	cr_assert_geq(fcntl(node_get(fs, told->ids[0])->rec->owes.witness - 1, F_GETFD), 0);
	end_counting();
}

static void open_direct(void)
{
	told->fhs[0] = make_file(1, "f", "", &told->ids[0]);
	IN_WORKER(told->fhs[0]);
	IN_WORKER(node_get(fs, told->ids[0])->rec->owes.witness);
}

Test(owes, a_file_whose_cache_is_dropped_at_the_open_has_a_witness)
{
	begin_counting("none");
	if (!config.caps.backing_direct_io)
		cr_skip_test("no direct I/O here");
	worker(open_direct);
	resume();
	end_counting();
}

/* ---- unsafe: the marker, and the flush after the last close ---- */

static bool marked(void)
{
	char path[5000];

	snprintf(path, sizeof(path), "%s/" PRIVATE_DIR "/crash-marker", directory);
	return access(path, F_OK) == 0;
}

static bool lock_is_free(void)
{
	struct private_dir *other;
	int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC), err;

	cr_assert_eq(private_dir_create(fd, &other), 0);
	err = private_dir_try_own_existing(other);
	private_dir_destroy(other);
	close(fd);
	cr_assert(!err || err == -EBUSY);
	return !err;
}

static void open_by_pattern(void)
{
	open_one();
	IN_WORKER(marked());
}

Test(owes, the_marker_goes_on)
{
	struct timespec before, after;
	struct stat st;
	char path[5000];

	begin_counting("unsafe");
	worker(open_by_pattern);
	snprintf(path, sizeof(path), "%s/" PRIVATE_DIR "/crash-marker", directory);
	cr_assert(!lock_is_free(), "while nobody serves");
	sweep_fds();
	cr_assert(!lock_is_free(), "nor when what is not recorded is closed");
	resume();
	cr_assert(!lock_is_free());
	cr_assert_eq(stat(path, &st), 0);
	before = st.st_mtim;
	cr_assert_eq(fs->unsafe->writers, 1);
	cr_assert(marker_active(fs->unsafe->marker));
	cr_assert(!unsafe_tainted(fs));
	cr_assert_neq(make_file(1, "g", "", &told->ids[1]), 0);
	cr_assert_eq(stat(path, &st), 0);
	after = st.st_mtim;
	cr_assert(before.tv_sec == after.tv_sec && before.tv_nsec == after.tv_nsec,
		  "what covers both is not written again");
	cr_assert_eq(atomic_load(&syncs->count), 0, "nothing is flushed before a close");
	cr_assert_eq(fs_fsync(fs, told->fhs[0], false), 0);
	cr_assert_eq(atomic_load(&syncs->count), 0, "and flushes are dropped");
	fs_release(fs, told->fhs[0]);
	WAIT_FOR(atomic_load(&syncs->count) == 1);
	cr_assert(marked(), "the other one is open");
	end_counting();
}

/* As if it had been killed in a switch, and the handle opened in the midst of that. */
static void open_uncounted(void)
{
	struct handle *h;

	open_one();
	h = handle_get(fs, told->fhs[0]);
	h->rec->unsafe = false;
	IN_WORKER(marker_end(fs->unsafe->marker) == 0 && !marked());
}

Test(owes, a_handle_that_drops_flushes_counts)
{
	begin_counting("unsafe");
	worker(open_uncounted);
	resume();
	cr_assert_eq(fs->unsafe->writers, 1);
	cr_assert(marked());
	cr_assert(handle_get(fs, told->fhs[0])->rec->unsafe);
	fs_release(fs, told->fhs[0]);
	WAIT_FOR(atomic_load(&syncs->count) == 1);
	end_counting();
}

Test(owes, the_marker_ends_when_all_is_closed)
{
	begin_counting("unsafe");
	worker(open_by_pattern);
	resume();
	fs_release(fs, told->fhs[0]);
	WAIT_FOR(!marked());
	cr_assert_eq(atomic_load(&syncs->count), 1);
	end_counting();
}

static void die_in_the_last_flush(void)
{
	open_one();
	atomic_store(&syncs->die, true);
	atomic_store(&syncs->later, true);
	fs_release(fs, told->fhs[0]);
	fs_forget(fs, told->ids[0], 1);
	sleep(60); /* until it dies */
}

Test(owes, the_flush_after_the_last_close_is_made_up_for)
{
	begin_counting("unsafe");
	worker(die_in_the_last_flush);
	atomic_store(&syncs->die, false);
	cr_assert_eq(atomic_load(&syncs->count), 1);
	resume();
	cr_assert_null(handle_get(fs, told->fhs[0]));
	WAIT_FOR(atomic_load(&syncs->count) == 2);
	WAIT_FOR(!node_get(fs, told->ids[0])); /* nobody else knew it */
	WAIT_FOR(!marked());
	end_counting();
}

Test(owes, the_flush_after_the_last_close_fails_at_the_second_try)
{
	begin_counting("unsafe");
	worker(die_in_the_last_flush);
	atomic_store(&syncs->die, false);
	atomic_store(&syncs->error, EIO);
	resume();
	WAIT_FOR(fs->owes->failed_files == 1);
	WAIT_FOR(marker_tainted(fs->unsafe->marker));
	cr_assert(marked());
	atomic_store(&syncs->error, 0);
	end_counting();
}

static void fail_the_last_flush(void)
{
	struct fs_opened o;

	open_one();
	atomic_store(&syncs->error, EIO);
	fs_release(fs, told->fhs[0]);
	for (int i = 0; !node_get(fs, told->ids[0])->rec->close_error && i < 6000; i++)
		usleep(10000);
	/* an open until then would have the flush done by its own close */
	IN_WORKER(fs_open(fs, told->ids[0], O_RDONLY, false, &caller, &o) == 0);
	IN_WORKER(fs_fsync(fs, o.fh, false) == -EIO);
	for (int i = 0; !atomic_load(&fs->owes->failed_files) && i < 6000; i++)
		usleep(10000);
}

Test(owes, what_could_not_be_flushed_is_trusted_by_nobody_but_who_may)
{
	struct fs_opened o;

	begin_counting("unsafe");
	worker(fail_the_last_flush);
	atomic_store(&syncs->error, 0);
	resume();
	cr_assert_eq(fs->unsafe->failed_files, 1);
	cr_assert_eq(fs_open(fs, told->ids[0], O_RDWR, false, &caller, &o), 0);
	cr_assert_eq(fs_fsync(fs, o.fh, false), -EIO);
	cr_assert_neq(node_get(fs, told->ids[0])->rec->owes.witness, 0);
	cr_assert_eq(fs_trust(fs, 1, "f", 0), 0);
	cr_assert_eq(node_get(fs, told->ids[0])->rec->owes.witness, 0, "it knows the error");
	cr_assert_eq(fs->unsafe->failed_files, 0);
	cr_assert_eq(fs_fsync(fs, o.fh, false), 0);
	end_counting();
}

static const char other_boot[] = "cachefs crash marker 1\n"
				 "boot another-boot 2026-11-21T05:50:00Z\n"
				 "mount\n"
				 "end\n";

static void leave_marker(void)
{
	char path[5000];
	int fd;

	snprintf(path, sizeof(path), "%s/" PRIVATE_DIR, directory);
	cr_assert_eq(mkdir(path, 0700), 0);
	snprintf(path, sizeof(path), "%s/" PRIVATE_DIR "/crash-marker", directory);
	fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	cr_assert_eq(write(fd, other_boot, strlen(other_boot)), (ssize_t)strlen(other_boot));
	close(fd);
	snprintf(path, sizeof(path), "%s/old", directory);
	fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	close(fd);
	/* its birth must be before the marker is seen, which a coarse clock says */
	usleep(20000);
}

static int open_old(void)
{
	struct fs_opened o;
	int err = fs_open(fs, look_up(1, "old"), O_RDWR, false, &caller, &o);

	if (!err)
		fs_release(fs, o.fh);
	return err;
}

static void refuse(void)
{
	IN_WORKER(open_old() == -EUCLEAN);
}

static void trust(void)
{
	IN_WORKER(open_old() == 0);
}

Test(owes, what_was_refused_stays_refused)
{
	log_open("test", LOG_TO_STDERR, LOG_LEVEL_ERROR);
	begin_counting("unsafe");
	leave_marker();
	worker(refuse);
	worker(refuse);
	resume();
	cr_assert_eq(open_old(), -EUCLEAN);
	cr_assert_eq(fs_trust_all(fs), 0);
	cr_assert_eq(open_old(), 0);
	end_counting();
}

Test(owes, what_was_trusted_stays_trusted)
{
	begin_counting("unsafe");
	leave_marker();
	config.trust_after_crash = true;
	worker(trust);
	config.trust_after_crash = false; /* as a remount would have it */
	resume();
	cr_assert_eq(open_old(), 0);
	end_counting();
}

/* The marker could not be written: it is this mount alone that knows. */
static void refuse_all(void)
{
	open_one();
	atomic_store(&fs->unsafe->refuse_all, true);
	unsafe_note(fs->unsafe);
	refuse();
}

Test(owes, what_could_not_be_written_is_known)
{
	begin_counting("unsafe");
	cr_assert_eq(mknodat(config.source_fd, "old", S_IFREG | 0600, 0), 0);
	worker(refuse_all);
	resume();
	cr_assert_eq(open_old(), -EUCLEAN);
	end_counting();
}
