/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "control.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../lib/remove_tree.h"
#include "base/log.h"
#include "base/util.h"
#include "fs/cred.h"
#include "fs/probe.h"
#include "fuse/dispatch.h"
#include "fuse/session.h"
#include "fuzz.h"

#define OWNER 1000
#define MAX_WRITE 8192

static struct session session;
static struct options options;
static struct control_reply reply;
static char directory[4096];
static uint8_t *payload;
static uint64_t file_node, directory_node, handles[2];
static sem_t over;
static unsigned replies;

static void thread_init(enum lane lane)
{
	if (lane == LANE_META)
		cred_thread_init();
}

static void no_invalidate(void *arg, uint64_t id, int64_t off, int64_t len)
{
	(void)arg;
	(void)id;
	(void)off;
	(void)len;
}

static void stop(void)
{
	pool_destroy(session.pool);
	fs_destroy(session.fs);
	options_free(&options);
	free(payload);
	remove_tree(directory);
}

static void make_directory(void)
{
	const char *tmp = getenv("TMPDIR");
	char path[4200];
	int fd;

	snprintf(directory, sizeof(directory), "%s/cachefs-served.XXXXXX", tmp ? tmp : "/var/tmp");
	FUZZ_CHECK(mkdtemp(directory));
	snprintf(path, sizeof(path), "%s/f", directory);
	fd = open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0666);
	FUZZ_CHECK(fd >= 0 && ftruncate(fd, 65536) == 0);
	if (geteuid() == 0)
		FUZZ_CHECK(fchown(fd, OWNER, OWNER) == 0);
	close(fd);
	snprintf(path, sizeof(path), "%s/d", directory);
	FUZZ_CHECK(mkdir(path, 0777) == 0);
}

/* The null engine: what is fuzzed is what is done with requests, not the disk's flushes. */
static void start_session(void)
{
	struct fs_config config = {.engine = &engine_null,
				   .privileged = geteuid() == 0,
				   .kernel_path = KERNEL_PATH_NEVER,
				   .page_timeout = -1,
				   .invalidate = no_invalidate};

	options_init(&options);
	config.source_fd = probe_source(directory, &config.caps.open_tree);
	FUZZ_CHECK(config.source_fd >= 0);
	probe_backing(config.source_fd, config.privileged, &config.caps);
	config.switches = options.switches;
	FUZZ_CHECK(pool_create(&config.pool, thread_init) == 0);
	session = (struct session){.fd = -1,
				   .pool = config.pool,
				   .minor = CACHEFS_FUSE_MINOR,
				   .flags = FUSE_SETXATTR_EXT | FUSE_CREATE_SUPP_GROUP,
				   .max_write = MAX_WRITE,
				   .options = &options,
				   .options_lock = PTHREAD_MUTEX_INITIALIZER};
	FUZZ_CHECK(fs_create(&config, &session.fs) == 0);
	payload = aligned_alloc(4096, MAX_WRITE + FS_READ_SLACK);
	FUZZ_CHECK(payload);
	memset(payload, 0, MAX_WRITE + FS_READ_SLACK);
}

static uint64_t look_up(const char *name)
{
	const struct control_reply *r =
	    control_send(FUSE_LOOKUP, FUSE_ROOT_ID, 0, name, strlen(name) + 1);

	FUZZ_CHECK(r->error == 0);
	return ((const struct fuse_entry_out *)r->data)->nodeid;
}

static uint64_t open_file(uint32_t flags)
{
	struct fuse_open_in in = {.flags = flags};
	const struct control_reply *r = control_send(FUSE_OPEN, file_node, 0, &in, sizeof(in));

	FUZZ_CHECK(r->error == 0);
	return ((const struct fuse_open_out *)r->data)->fh;
}

void control_start(void)
{
	static bool started;

	log_level_set(LOG_LEVEL_ERROR); /* an input may have changed it */
	if (started)
		return;
	started = true;
	log_open("fuzz", LOG_TO_STDERR, LOG_LEVEL_ERROR);
	sem_init(&over, 0, 0);
	make_directory();
	start_session();
	atexit(stop);
	file_node = look_up("f");
	directory_node = look_up("d");
	handles[0] = open_file(O_RDWR);
	handles[1] = open_file(O_WRONLY);
}

uint64_t control_node(uint8_t which)
{
	const uint64_t nodes[] = {FUSE_ROOT_ID, file_node, directory_node, file_node + 77};

	return nodes[which % ARRAY_SIZE(nodes)];
}

uint64_t control_handle(uint8_t which)
{
	const uint64_t all[] = {handles[0], handles[1], handles[0] + 77, 0};

	return all[which % ARRAY_SIZE(all)];
}

uint32_t control_uid(uint8_t which)
{
	return which % 3 == 0 ? 0 : OWNER + which % 3 - 1u;
}

static int record_send(struct request *req, const struct iovec *iov, int n)
{
	const struct fuse_out_header *head = iov[0].iov_base;

	(void)req;
	replies++;
	reply.error = head->error;
	reply.size = n > 1 ? iov[1].iov_len : 0;
	FUZZ_CHECK(head->error <= 0 && head->error > -1000);
	FUZZ_CHECK(head->len == sizeof(*head) + reply.size);
	FUZZ_CHECK(reply.size <= sizeof(reply.data));
	if (n > 1)
		memcpy(reply.data, iov[1].iov_base, reply.size);
	return 0;
}

static void record_release(struct request *req)
{
	free(req->in);
	free(req);
	sem_post(&over);
}

static const struct request_ops record_ops = {record_send, record_release};

const struct control_reply *control_send(uint32_t opcode, uint64_t node, uint32_t uid,
					 const void *args, size_t size)
{
	struct fuse_in_header head = {.opcode = opcode,
				      .nodeid = node,
				      .uid = uid,
				      .gid = uid,
				      .unique = 4711,
				      .len = (uint32_t)(sizeof(head) + size)};
	struct request *req = calloc(1, sizeof(*req));
	uint8_t *in = malloc(sizeof(head) + size);

	FUZZ_CHECK(req && in);
	memcpy(in, &head, sizeof(head));
	memcpy(in + sizeof(head), args, size);
	*req = (struct request){.ops = &record_ops,
				.session = &session,
				.len = sizeof(head) + size,
				.in = (void *)in,
				.payload = payload};
	replies = 0;
	fuse_dispatch(req);
	while (sem_wait(&over) < 0)
		;
	FUZZ_CHECK(replies == 1);
	return &reply;
}
