/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Requests over /dev/fuse.
 *
 * Each loop reads through two descriptors of its own (FUSE_DEV_IOC_CLONE): one blocks and is read
 * while the loop has nothing else to wait for; the other is O_NONBLOCK and polled in the ring while
 * file I/O is in flight, since a blocking read after a lost race for a request would hold up the
 * completions. A request is answered through the descriptor that it was read from.
 */
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "base/log.h"
#include "base/util.h"
#include "fuse/dispatch.h"
#include "fuse/session.h"
#include "transport/transport.h"

#define PAGE 4096
#define HUGE_PAGE (UINT64_C(2) << 20)
#define SPARE_MAX 64 /* requests kept for the next ones, per transport */
/* Requests in resident memory, but for those that loops read into: they are never given back. */
#define RESIDENT_MAX 64

struct dev_request {
	struct request req;
	struct dev_request *next;
	struct transport *transport;
	struct dev_queue *queue; /* that it was read from */
	uint8_t *mem;
	bool resident; /* all of MEM is there, and locked as far as that is allowed */
	bool first;    /* MEM is a part of transport.first */
};

struct dev_queue {
	struct transport *transport;
	int blocking_fd, polled_fd;
	struct dev_request *current; /* for the next receive */
	atomic_ulong received;	     /* by its loop alone */
	atomic_ulong answered;
};

struct transport {
	struct transport_config config;
	struct loop_group *group;
	size_t mem_size;
	pthread_mutex_t lock; /* spares and their numbers */
	struct dev_request *plain, *resident;
	unsigned nplain;    /* spare ones */
	unsigned nresident; /* all that there are */
	uint8_t *first;	    /* NULL: none. first_buffers_create() */
	size_t first_size;
	struct dev_queue queues[];
};

static void request_free(struct dev_request *r)
{
	if (!r)
		return;
	if (!r->first)
		munmap(r->mem, r->transport->mem_size);
	free(r);
}

static int dev_send(struct request *req, const struct iovec *iov, int n)
{
	ssize_t put;

	do {
		put = writev(req->reply_fd, iov, n);
	} while (put < 0 && errno == EINTR);
	if (put < 0 && errno != ENOENT && errno != ENODEV)
		log_debug("a reply to %s was refused: %s", req->op ? req->op->name : "a request",
			  strerror(errno));
	return put < 0 ? -errno : 0;
}

static void dev_release(struct request *req)
{
	struct dev_request *r = container_of(req, struct dev_request, req);
	struct transport *t = r->transport;

	atomic_fetch_add_explicit(&r->queue->answered, 1, memory_order_relaxed);
	pthread_mutex_lock(&t->lock);
	if (r->resident) {
		r->next = t->resident;
		t->resident = r;
		r = NULL;
	} else if (t->nplain < SPARE_MAX) {
		r->next = t->plain;
		t->plain = r;
		t->nplain++;
		r = NULL;
	}
	pthread_mutex_unlock(&t->lock);
	request_free(r);
}

static const struct request_ops dev_ops = {.send = dev_send, .release = dev_release};

/* Best effort: without the right to it, what is there stays unless memory gets short. */
static bool lock_memory(void *mem, size_t size)
{
	if (mlock(mem, size) == 0)
		return true;
	log_debug("buffers may be swapped out: %s", strerror(errno));
	return false;
}

/*
 * One page for header and arguments, so placed that a WRITE's data begins on the second page, where
 * direct I/O can take it from.
 */
static struct dev_request *request_in(struct transport *t, uint8_t *mem, bool resident)
{
	struct dev_request *r = calloc(1, sizeof(*r));

	if (!r)
		return NULL;
	r->transport = t;
	r->mem = mem;
	r->resident = resident;
	r->req.ops = &dev_ops;
	r->req.session = t->config.session;
	r->req.payload = r->mem + PAGE;
	r->req.in = (void *)(r->mem + PAGE - SESSION_WRITE_HEADER);
	return r;
}

static struct dev_request *request_new(struct transport *t, bool resident)
{
	int flags = resident ? MAP_POPULATE : MAP_NORESERVE;
	uint8_t *mem = mmap(NULL, t->mem_size, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | flags, -1, 0);
	struct dev_request *r;

	if (mem == MAP_FAILED)
		return NULL;
	if (resident)
		lock_memory(mem, t->mem_size);
	r = request_in(t, mem, resident);
	if (!r)
		munmap(mem, t->mem_size);
	return r;
}

/*
 * The memory that loops begin with, in huge pages where there are some: a successor waits until all
 * pages of the one before it are freed, and clients until it has its own, 1 us each for thousands
 * of small ones. Without that memory each request gets its own.
 */
static void first_buffers_create(struct transport *t)
{
	size_t size = align_up(t->config.loops * t->mem_size, HUGE_PAGE), before;
	uint8_t *mem = mmap(NULL, size + HUGE_PAGE, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	bool locked;

	if (mem == MAP_FAILED)
		return;
	before = align_up((uintptr_t)mem, HUGE_PAGE) - (uintptr_t)mem;
	if (before)
		munmap(mem, before);
	munmap(mem + before + size, HUGE_PAGE - before);
	t->first = mem + before;
	t->first_size = size;
	madvise(t->first, size, MADV_HUGEPAGE);
	if (madvise(t->first, size, MADV_POPULATE_WRITE) < 0) {
		munmap(t->first, size);
		t->first = NULL;
		return;
	}
	/* in parts, as far as the limit goes, only where it must be: that splits huge pages */
	locked = lock_memory(t->first, size);
	for (size_t at = 0; at + t->mem_size <= size; at += t->mem_size) {
		struct dev_request *r = request_in(t, t->first + at, true);

		if (!r)
			return;
		if (!locked)
			mlock(r->mem, t->mem_size);
		r->first = true;
		r->next = t->resident;
		t->resident = r;
		t->nresident++;
	}
}

static struct dev_request *plain_get(struct transport *t)
{
	struct dev_request *r;

	pthread_mutex_lock(&t->lock);
	r = t->plain;
	if (r) {
		t->plain = r->next;
		t->nplain--;
	}
	pthread_mutex_unlock(&t->lock);
	return r ? r : request_new(t, false);
}

/* NULL: there are enough of them, or there is no memory. */
static struct dev_request *resident_get(struct transport *t)
{
	struct dev_request *r;
	bool another;

	pthread_mutex_lock(&t->lock);
	r = t->resident;
	if (r)
		t->resident = r->next;
	another = !r && t->nresident < t->config.loops + RESIDENT_MAX;
	t->nresident += another;
	pthread_mutex_unlock(&t->lock);
	if (!another)
		return r;
	r = request_new(t, true);
	if (!r) {
		pthread_mutex_lock(&t->lock);
		t->nresident--;
		pthread_mutex_unlock(&t->lock);
	}
	return r;
}

/*
 * The request of N bytes that was read into R, which is Q's. Resident memory is there to be read
 * into. There are hundreds of requests under way at a time, and to give each its MiB takes longer
 * than to serve it. So what has no data with it goes on in memory of the other kind; what has some
 * stays where the data is, as long as there is another to be read into.
 */
static struct dev_request *request_received(struct dev_queue *q, struct dev_request *r, size_t n)
{
	struct dev_request *plain;

	q->current = r->resident && n >= PAGE ? resident_get(q->transport) : NULL;
	if (!r->resident || q->current)
		return r;
	plain = plain_get(q->transport);
	if (!plain)
		return r;
	memcpy(plain->req.in, r->req.in, n);
	q->current = r;
	return plain;
}

static struct dev_request *request_get(struct transport *t)
{
	return t->config.resident ? resident_get(t) : plain_get(t);
}

static int dev_receive(struct loop *l, void *arg, bool wait)
{
	struct dev_queue *q = arg;
	int fd = wait ? q->blocking_fd : q->polled_fd;
	struct transport *t = q->transport;
	struct dev_request *r = q->current ? q->current : request_get(t);
	ssize_t n;

	if (!r) {
		usleep(10000); /* no memory: other requests that end give theirs back */
		return -EAGAIN;
	}
	q->current = r;
	n = read(fd, r->req.in, session_buffer_size(t->config.session));
	if (n < 0) /* ENOENT: the request was interrupted while it was read */
		return errno == ENOENT ? -EINTR : -errno;
	atomic_fetch_add_explicit(&q->received, 1, memory_order_relaxed);
	r = request_received(q, r, (size_t)n);
	r->queue = q;
	r->req.len = (size_t)n;
	r->req.loop = l;
	r->req.op = NULL;
	r->req.reply_fd = fd;
	fuse_dispatch(&r->req);
	return 0;
}

static int clone_fd(int session_fd, int flags)
{
	uint32_t source = (uint32_t)session_fd;
	_cleanup_fd_ int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC | flags);

	if (fd < 0 || ioctl(fd, FUSE_DEV_IOC_CLONE, &source) < 0)
		return -errno;
	return steal_fd(&fd);
}

static void close_all(const int *fds, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		close(fds[i]);
}

int transport_dev_open(const struct session *session, unsigned loops, int *fds)
{
	for (unsigned i = 0; i < TRANSPORT_FDS * loops; i++) {
		/* the first of each loop blocks, the second is polled */
		fds[i] = clone_fd(session->fd, i % TRANSPORT_FDS ? O_NONBLOCK : 0);
		if (fds[i] < 0) {
			close_all(fds, i);
			return fds[i];
		}
	}
	return 0;
}

static void queue_init(struct transport *t, unsigned i)
{
	t->queues[i].transport = t;
	t->queues[i].blocking_fd = t->config.fds[TRANSPORT_FDS * i];
	t->queues[i].polled_fd = t->config.fds[TRANSPORT_FDS * i + 1];
}

static struct loop_source queue_source(void *arg, unsigned i)
{
	struct transport *t = arg;

	return (struct loop_source){
	    .receive = dev_receive, .poll_fd = t->queues[i].polled_fd, .arg = &t->queues[i]};
}

int transport_dev_start(const struct transport_config *config, struct transport **out)
{
	struct transport *t = calloc(1, sizeof(*t) + config->loops * sizeof(struct dev_queue));
	int err;

	if (!t)
		return -ENOMEM;
	t->config = *config;
	t->mem_size =
	    PAGE + align_up(session_buffer_size(config->session), PAGE) + 2 * FS_READ_SLACK;
	pthread_mutex_init(&t->lock, NULL);
	for (unsigned i = 0; i < config->loops; i++)
		queue_init(t, i);
	if (config->resident)
		first_buffers_create(t);
	err = loop_group_start(&t->group, config->loops, config->ring, queue_source, t);
	if (err) {
		transport_free(t);
		return err;
	}
	*out = t;
	return 0;
}

void transport_wait(struct transport *t)
{
	loop_group_wait(t->group);
}

bool transport_stop_within(struct transport *t, uint64_t nsec)
{
	return loop_group_stop_within(t->group, nsec);
}

void transport_stop(struct transport *t)
{
	loop_group_stop(t->group);
}

void transport_count(struct transport *t, uint64_t *answered, uint32_t *waiting)
{
	uint64_t done = 0, received = 0;

	/* in this order, so that what comes meanwhile counts as waiting, not as less than none */
	for (unsigned i = 0; i < t->config.loops; i++)
		done += atomic_load(&t->queues[i].answered);
	for (unsigned i = 0; i < t->config.loops; i++)
		received += atomic_load(&t->queues[i].received);
	*answered = done;
	*waiting = (uint32_t)(received - done);
}

void transport_kick(struct transport *t)
{
	struct pollfd p = {.fd = t->queues[0].polled_fd, .events = POLLIN};

	if (poll(&p, 1, 0) > 0 && p.revents & POLLIN)
		loop_group_kick(t->group);
}

bool transport_idle(struct transport *t)
{
	return loop_group_idle(t->group);
}

void transport_free(struct transport *t)
{
	struct dev_request *r;

	if (!t)
		return;
	loop_group_free(t->group);
	for (unsigned i = 0; i < t->config.loops; i++)
		request_free(t->queues[i].current);
	while ((r = t->plain)) {
		t->plain = r->next;
		request_free(r);
	}
	while ((r = t->resident)) {
		t->resident = r->next;
		request_free(r);
	}
	if (t->first)
		munmap(t->first, t->first_size);
	pthread_mutex_destroy(&t->lock);
	free(t);
}
