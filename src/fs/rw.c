/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Reads and writes. Both claim their range of the file first; a claim that has to wait is resumed
 * on a pool thread, so from then on the request may block.
 */
#include <sys/uio.h>

#include "base/cap.h"
#include "engine/bounce.h"
#include "fs/internal.h"
#include "fs/sweep.h"
#include "fs/witness.h"

static uint64_t file_key(const struct file *f)
{
	return f->node->index;
}

static uint64_t range_end(uint64_t off, uint64_t len)
{
	return off + len < off ? UINT64_MAX : off + len;
}

/* The range is owned by now: go on where this thread may block. */
static void resume_on_pool(struct fs_io *io, void (*run)(struct pool_job *job))
{
	io->loop = NULL;
	io->job =
	    (struct pool_job){.run = run, .key = file_key(io->handle->file), .lane = LANE_DATA};
	pool_submit(io->fs->config.pool, &io->job);
}

/* ---- accounting ---- */

static void count_arrival(struct fs_io *io, enum stats_counter unaligned)
{
	struct file *f = io->handle->file;

	io->start = clock_nsec();
	if (io->page_cache)
		stats_count(&f->stats, STATS_page_cache_requests, 1);
	if ((io->off | io->len) & (f->dio_offset - 1))
		stats_count(&f->stats, unaligned, 1);
}

/* Before the reply: the file may be closed after it. */
static void count_done(struct fs_io *io, ssize_t result, enum stats_latency latency,
		       enum stats_counter bytes)
{
	struct file_stats *stats = &io->handle->file->stats;

	stats_time(stats, latency, clock_nsec() - io->start);
	if (result > 0)
		stats_count(stats, bytes, (uint64_t)result);
}

/* ---- reads ---- */

struct invalidation {
	struct pool_job job;
	struct fs *fs;
	uint64_t id, off, len;
};

static void invalidate_job(struct pool_job *job)
{
	struct invalidation *i = container_of(job, struct invalidation, job);

	i->fs->config.invalidate(i->fs->config.invalidate_arg, i->id, (int64_t)i->off,
				 (int64_t)i->len);
	free(i);
}

static void invalidate_soon(struct fs *fs, uint64_t id, uint64_t off, uint64_t len)
{
	struct invalidation *i = malloc(sizeof(*i));

	if (!i)
		return;
	*i = (struct invalidation){.fs = fs, .id = id, .off = off, .len = len};
	i->job = (struct pool_job){.run = invalidate_job, .key = id, .lane = LANE_NOTIFY};
	pool_submit(fs->config.pool, &i->job);
}

/*
 * The kernel put what it read into its own page cache, from where splice and sendfile go on reading
 * it for as long as it stays. Writes through the daemon drop it (write_finish()), but nobody tells
 * of writes on the kernel path, and under direct modes nothing is to be cached: there it goes as
 * soon as it was delivered. Else it may be a mapping, that would be read over and over again (64
 * MiB took up to twelve times as long), and only what happens behind the mount could make it stale.
 */
static bool pages_must_go_soon(const struct handle *h)
{
	return h->backing_id > 0 || h->plan.direct;
}

static void read_finish(struct fs_io *io, ssize_t result)
{
	struct fs *fs = io->fs;
	struct file *f = io->handle->file;
	bool page_cache = io->page_cache && result >= 0;
	bool soon = page_cache && pages_must_go_soon(io->handle);
	uint64_t id = node_id(f->node), off = io->off, len = io->len;

	if (page_cache && !soon && fs->sweep)
		sweep_schedule(fs->sweep, f);

	iolock_release(&f->range, &io->claim);
	count_done(io, result, STATS_READ, STATS_read_bytes);
	io->done(io, result); /* IO may be gone, and the file closed */
	if (soon)
		invalidate_soon(fs, id, off, len);
}

static void read_done(struct engine_io *eio, ssize_t result)
{
	struct fs_io *io = container_of(eio, struct fs_io, eio);
	ssize_t total;

	if (result < 0 && !io->got) {
		read_finish(io, result);
		return;
	}
	/* the kernel takes a short read into its page cache for the end of the file */
	if (io->page_cache && (eio->error || result < 0)) {
		read_finish(io, result < 0 ? result : eio->error);
		return;
	}
	total = (ssize_t)io->got + MAX(result, 0) - (ssize_t)io->skip;
	read_finish(io, MIN(MAX(total, 0), (ssize_t)io->len));
}

/* What is in the page cache already is copied at once; more may have to be waited for. */
static ssize_t read_cached(struct fs_io *io)
{
	struct iovec iov = {io->buf, io->len};
	ssize_t n;

	if (!io->fs->config.caps.rwf_nowait)
		return 0;
	n = preadv2(io->handle->fd, &iov, 1, (off_t)io->off, RWF_NOWAIT);
	return MAX(n, 0);
}

static void read_owned(struct fs_io *io)
{
	struct handle *h = io->handle;
	struct engine_io *e = &io->eio;
	const struct engine *engine = io->fs->config.engine;

	io->got = io->skip = 0;
	io->data = io->buf;
	*e = (struct engine_io){.fd = h->fd,
				.loop = io->loop,
				.pool = io->fs->config.pool,
				.key = file_key(h->file),
				.done = read_done};
	if (h->plan.direct) { /* widened to blocks; the buffer has room for that */
		uint32_t align = h->file->dio_offset;

		e->off = align_down(io->off, align);
		io->skip = io->off - e->off;
		e->len = align_up(io->skip + io->len, align);
		e->buf = io->buf;
		io->data = io->buf + io->skip;
	} else if (!engine->null) {
		io->got = (size_t)read_cached(io);
		if (io->got == io->len) {
			read_finish(io, (ssize_t)io->got);
			return;
		}
	}
	if (!h->plan.direct) {
		e->off = io->off + io->got;
		e->len = io->len - io->got;
		e->buf = io->buf + io->got;
	}
	engine->read(e);
}

static void read_job(struct pool_job *job)
{
	read_owned(container_of(job, struct fs_io, job));
}

static void read_resume(struct claim *c)
{
	resume_on_pool(container_of(c, struct fs_io, claim), read_job);
}

void fs_read(struct fs_io *io)
{
	struct handle *h = handle_get(io->fs, io->fh);

	if (!h || !h->file || !h->can_read) {
		report_read(io, h);
		return;
	}
	io->handle = h;
	count_arrival(io, STATS_unaligned_reads);
	if (io->page_cache)
		atomic_fetch_add(&h->file->fuse_pages, 1);
	io->claim = (struct claim){.kind = CLAIM_READ,
				   .start = io->off,
				   .end = range_end(io->off, io->len),
				   .resume = read_resume};
	if (iolock_acquire(&h->file->range, &io->claim))
		read_owned(io);
}

/* ---- writes ---- */

static void write_owned(struct fs_io *io);

static void write_job(struct pool_job *job)
{
	write_owned(container_of(job, struct fs_io, job));
}

static void write_resume(struct claim *c)
{
	resume_on_pool(container_of(c, struct fs_io, claim), write_job);
}

static bool write_bounces(const struct fs_io *io)
{
	const struct handle *h = io->handle;

	/* of the file, not of the plan: nothing is claimed yet */
	return atomic_load(&h->file->direct) && !io->fs->config.engine->null &&
	       bounce_needed(io->off, io->len, io->align);
}

static void write_claim(struct fs_io *io)
{
	struct handle *h = io->handle;
	struct claim *c = &io->claim;

	io->epoch = atomic_load(&h->file->epoch);
	io->align = h->file->dio_offset;
	*c = (struct claim){.kind = CLAIM_WRITE,
			    .start = io->off,
			    .end = range_end(io->off, io->len),
			    .resume = write_resume};
	/* the kernel path knows nothing of our claims, but shares the inode's lock and page cache
	 */
	if (write_bounces(io) && h->backing_id > 0)
		io->whole = true;
	if (io->whole) {
		*c = (struct claim){.kind = CLAIM_RMW, .end = UINT64_MAX, .resume = c->resume};
	} else if (write_bounces(io)) {
		c->kind = CLAIM_RMW;
		c->start = align_down(c->start, io->align);
		c->end = align_up(c->end, io->align);
	}
	if (iolock_acquire(&h->file->range, c))
		write_owned(io);
}

static void write_reply(struct fs_io *io, ssize_t result)
{
	count_done(io, result, STATS_WRITE, STATS_write_bytes);
	io->done(io, result);
}

static void write_reply_job(struct pool_job *job)
{
	struct fs_io *io = container_of(job, struct fs_io, job);
	struct fs *fs = io->fs;

	fs->config.invalidate(fs->config.invalidate_arg, node_id(io->handle->file->node),
			      (int64_t)io->off, (int64_t)io->len);
	write_reply(io, io->result);
}

/*
 * Whoever reads after this write's reply must see it, also through pages that the kernel read for
 * splice or a mapping before. Those go before the reply; in a lane of its own, since the kernel may
 * wait for other requests of ours while it drops pages. Its own page write-back must not wait for
 * itself.
 */
static void write_finish(struct fs_io *io, ssize_t result)
{
	struct file *f = io->handle->file;

	iolock_release(&f->range, &io->claim);
	if (io->budget)
		budget_written(io->budget, io->len);
	if (result == -EIO)
		flush_latch(&f->flush, -EIO);
	if (io->page_cache || result <= 0 || !atomic_load(&f->fuse_pages)) {
		write_reply(io, result);
		return;
	}
	io->result = result;
	io->job =
	    (struct pool_job){.run = write_reply_job, .key = file_key(f), .lane = LANE_NOTIFY};
	pool_submit(io->fs->config.pool, &io->job);
}

/*
 * A write that touches the block in which the file ends: written whole, it would make the file
 * longer, and cutting it again is not atomic. So it goes through the page cache of FD (no O_DIRECT)
 * to the device (no flush), and out of the page cache.
 */
static ssize_t write_through_cache(struct fs_io *io, int fd, int rwf)
{
	ssize_t n = engine_pwrite_full(fd, io->buf, io->len, io->off, rwf);
	int err = n < 0 ? 0 : file_drop_cache(io->fs, io->handle->file, fd);

	return err ? err : n;
}

static ssize_t write_tail(struct fs_io *io, int rwf)
{
	_cleanup_fd_ int fd = fs_reopen(io->fs, io->handle->file->path.fd, O_RDWR);
	int own = io->handle->fd, flags = fcntl(own, F_GETFL);
	ssize_t n;

	if (fd >= 0)
		return write_through_cache(io, fd, rwf);
	if (fd != -EACCES && fd != -EPERM)
		return fd;
	/* an unprivileged daemon, and the file's mode has changed since it was opened */
	fcntl(own, F_SETFL, flags & ~O_DIRECT);
	n = write_through_cache(io, own, rwf);
	fcntl(own, F_SETFL, flags);
	return n;
}

static ssize_t write_bounced(struct fs_io *io, int rwf)
{
	struct handle *h = io->handle;
	struct file_stats *stats = &h->file->stats;
	uint64_t start = clock_nsec();
	ssize_t n = io->whole ? write_tail(io, rwf)
			      : bounce_write(h->fd, io->align, io->buf, io->len, io->off, rwf);

	stats_count(stats, STATS_rmw_nsec, clock_nsec() - start);
	if (n != -EAGAIN) /* else it comes again, as a whole */
		stats_count(stats, STATS_rmw_writes, 1);
	return n;
}

static ssize_t write_blocks(struct fs_io *io, int rwf)
{
	if (io->whole || io->claim.kind == CLAIM_RMW)
		return write_bounced(io, rwf);
	return io->fs->config.engine->write(io->handle->fd, io->buf, io->len, io->off, rwf);
}

/* A write with O_DSYNC is a flush too: what an earlier flush reported, it reports. */
static ssize_t write_with_flush(struct fs_io *io, int rwf)
{
	struct file *f = io->handle->file;
	uint64_t start = clock_nsec();
	ssize_t n = write_blocks(io, rwf);

	if (n == -EAGAIN)
		return n;
	flush_count_write(&f->stats, rwf != 0, rwf ? clock_nsec() - start : 0);
	return n > 0 && flush_error(&f->flush) ? flush_error(&f->flush) : n;
}

static ssize_t write_execute(struct fs_io *io)
{
	struct handle *h = io->handle;
	int rwf = h->plan.write_rwf | plan_write_rwf(&h->plan, io->client_flags);

	/* a read-modify-write replaces whole blocks */
	checkpointer_changing(h->file, io->claim.start, io->claim.end - io->claim.start);
	if (rwf)
		witness_open(io->fs, h->file);
	fs_thread_allocator(io->fs, io->uid);
	cap_thread_fsetid(!io->kill_priv);
	/* O_SYNC contains O_DSYNC */
	return io->client_flags & O_DSYNC ? write_with_flush(io, rwf) : write_blocks(io, rwf);
}

/* Does a block that must be read first, and written whole, contain the end of the file? */
static bool write_needs_whole(const struct fs_io *io)
{
	struct stat st;

	return io->claim.kind == CLAIM_RMW && !io->whole &&
	       (fstat(io->handle->fd, &st) < 0 || io->claim.end > (uint64_t)st.st_size ||
		(fcntl(io->handle->fd, F_GETFL) & O_ACCMODE) == O_WRONLY);
}

static void write_owned(struct fs_io *io)
{
	struct file *f = io->handle->file;
	ssize_t result;

	if (io->epoch != atomic_load(&f->epoch)) { /* the mode changed while this one waited */
		iolock_release(&f->range, &io->claim);
		io->whole = false;
		write_claim(io);
		return;
	}
	result = write_needs_whole(io) ? -EAGAIN : write_execute(io);
	if (result == -ENOSPC && checkpointer_no_space(io->fs->checkpointer, f))
		result = write_execute(io);
	if (result == -EAGAIN && !io->whole) {
		iolock_release(&f->range, &io->claim);
		io->whole = true;
		write_claim(io);
		return;
	}
	write_finish(io, result);
}

static void admitted_job(struct pool_job *job)
{
	write_claim(container_of(job, struct fs_io, job));
}

static void write_admitted(struct budget_wait *w)
{
	resume_on_pool(container_of(w, struct fs_io, wait), admitted_job);
}

void fs_write(struct fs_io *io)
{
	struct handle *h = handle_get(io->fs, io->fh);

	if (!h || !h->file || !h->can_write) {
		io->done(io, -EBADF);
		return;
	}
	io->handle = h;
	io->whole = false;
	count_arrival(io, STATS_unaligned_writes);
	atomic_store_explicit(&io->fs->written, true, memory_order_relaxed);
	/* before the claim: who waits for room must not be in the way of others */
	io->budget = atomic_load_explicit(&h->file->budget, memory_order_acquire);
	io->wait.resume = write_admitted;
	if (io->budget && !budget_admit(io->budget, io->len, &io->wait))
		return;
	write_claim(io);
}
