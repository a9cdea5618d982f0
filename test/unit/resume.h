/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * An fs that outlives its process: workers as the supervisor makes them (a clone that shares the
 * descriptors and the memory of fs/shared.h), killed with SIGKILL, and their successor, which is
 * the test itself.
 */
#ifndef CACHEFS_TEST_RESUME_H
#define CACHEFS_TEST_RESUME_H

#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "../lib/remove_tree.h"
#include "base/log.h"
#include "base/util.h"
#include "cachefs.h"
#include "fs/cred.h"
#include "fs/internal.h"
#include "fs/once.h"
#include "fs/probe.h"
#include "fs/shared.h"
#include "supervisor/arena.h"

#define SEEN 16

/* What a worker says to the test; in memory that both have. */
struct told {
	atomic_int failed; /* line of a check in a worker, or 0 */
	uint64_t ids[SEEN], fhs[SEEN];
	char text[SEEN][4096];
	struct {
		uint64_t ids[200], fhs[200];
	} race;
	struct {
		atomic_int next;
		atomic_uchar open[1 << 20];
		atomic_bool die;	 /* in the next registration, when it is made */
		atomic_bool die_closing; /* in the next close of one, before it is made */
	} backing;
};

static struct told *told;
static struct fs_shared *shared;
static struct fs_config config;
static struct fs *fs;
static char directory[4096];
static int fds_before[2]; /* open when the test began; and with the shared memory */

static const struct fs_caller caller = {.uid = 0, .gid = 0, .pid = 7, .umask = 022};

#define IN_WORKER(cond)                                                                            \
	do {                                                                                       \
		if (!(cond)) {                                                                     \
			told->failed = __LINE__;                                                   \
			_exit(1);                                                                  \
		}                                                                                  \
	} while (0)

static void no_invalidate(void *arg, uint64_t id, int64_t off, int64_t len)
{
	(void)arg;
	(void)id;
	(void)off;
	(void)len;
}

static int backing_open(void *arg, int fd)
{
	int id = atomic_fetch_add(&told->backing.next, 1) + 1;
	struct stat st;

	(void)arg;
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || id >= 1 << 20)
		return -EINVAL;
	atomic_store(&told->backing.open[id], 1);
	if (atomic_load(&told->backing.die))
		kill(getpid(), SIGKILL);
	return id;
}

static void backing_close(void *arg, int id)
{
	(void)arg;
	if (atomic_load(&told->backing.die_closing))
		kill(getpid(), SIGKILL);
	atomic_store(&told->backing.open[id], 0);
}

static inline unsigned backings_open(void)
{
	unsigned n = 0;

	for (size_t i = 0; i < ARRAY_SIZE(told->backing.open); i++)
		n += atomic_load(&told->backing.open[i]);
	return n;
}

/* ---- descriptors ---- */

static bool kept[65536];

static void keep(void *arg, int fd)
{
	(void)arg;
	cr_assert(fd >= 0 && fd < 65536 && fcntl(fd, F_GETFD) >= 0, "%d is recorded, not open", fd);
	kept[fd] = true;
}

/* Calls FN for every open descriptor; how many there are. */
static int each_open_fd(void (*fn)(int fd))
{
	DIR *d = opendir("/proc/self/fd");
	struct dirent *e;
	int n = 0;

	while ((e = readdir(d))) {
		if (e->d_name[0] == '.' || atoi(e->d_name) == dirfd(d))
			continue;
		n++;
		if (fn)
			fn(atoi(e->d_name));
	}
	closedir(d);
	return n;
}

static bool old[65536];

static void note_old(int fd)
{
	old[fd] = true;
}

static void close_unknown(int fd)
{
	if (!old[fd] && !kept[fd])
		close(fd);
}

/* As a resuming server does it; how many are left besides those of before the first worker. */
static int sweep_fds(void)
{
	memset(kept, 0, sizeof(kept));
	fs_shared_each_fd(shared, keep, NULL);
	kept[config.source_fd] = true;
	each_open_fd(close_unknown);
	return each_open_fd(NULL) - fds_before[1];
}

/* ---- life ---- */

static void thread_init(enum lane lane)
{
	if (lane == LANE_META)
		cred_thread_init();
}

static void begin(const char *mode)
{
	const char *tmp = getenv("TMPDIR");

	log_open("test", LOG_TO_STDERR, LOG_LEVEL_ERROR);
	fds_before[0] = each_open_fd(NULL);
	told = mmap(NULL, sizeof(*told), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	snprintf(directory, sizeof(directory), "%s/cachefs-test.XXXXXX", tmp ? tmp : "/var/tmp");
	cr_assert_not_null(mkdtemp(directory));
	config = (struct fs_config){.engine = &engine_null,
				    .privileged = geteuid() == 0,
				    .kernel_path = KERNEL_PATH_NEVER,
				    .page_timeout = -1,
				    .backing_open = backing_open,
				    .backing_close = backing_close,
				    .invalidate = no_invalidate};
	cr_assert_eq(mode_parse(mode, strlen(mode), &config.switches), 0);
	config.source_fd = probe_source(directory, &config.caps.open_tree);
	cr_assert_geq(config.source_fd, 0);
	probe_backing(config.source_fd, config.privileged, &config.caps);
	config.caps.kernel_path = false;
	cr_assert_eq(fs_shared_create(&shared), 0);
	config.shared = shared;
	fds_before[1] = each_open_fd(note_old);
	note_old(0);
}

static void start(void)
{
	cr_assert_eq(pool_create(&config.pool, thread_init), 0);
	cr_assert_eq(fs_create(&config, &fs), 0);
	config.resumed = true;
}

static pid_t worker_start(void (*work)(void))
{
	pid_t pid = (pid_t)syscall(SYS_clone, CLONE_FILES | SIGCHLD, NULL, NULL, NULL, 0UL);

	cr_assert_geq(pid, 0);
	if (pid)
		return pid;
	cred_thread_init();
	IN_WORKER(pool_create(&config.pool, thread_init) == 0);
	IN_WORKER(fs_create(&config, &fs) == 0);
	work();
	kill(getpid(), SIGKILL);
	_exit(2);
}

static void worker_wait(pid_t pid)
{
	int status;

	cr_assert_eq(waitpid(pid, &status, 0), pid);
	cr_assert_eq(told->failed, 0, "a check in a worker: line %d", told->failed);
	cr_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL, "%d", status);
	config.resumed = true;
}

/* A worker does WORK and is killed; the next one (or resume()) follows it. */
static void worker(void (*work)(void))
{
	worker_wait(worker_start(work));
}

#define NOTIFY_THREADS 4 /* pool.c */

static pthread_barrier_t meeting;

static void meet(struct pool_job *job)
{
	(void)job;
	pthread_barrier_wait(&meeting);
}

/* All of the lane's threads are here at once: none is at what it had to do before. */
static void notify_lane_is_idle(void)
{
	static struct pool_job jobs[NOTIFY_THREADS];

	pthread_barrier_init(&meeting, NULL, NOTIFY_THREADS + 1);
	for (unsigned i = 0; i < NOTIFY_THREADS; i++) {
		jobs[i] = (struct pool_job){.run = meet, .key = i, .lane = LANE_NOTIFY};
		pool_submit(config.pool, &jobs[i]);
	}
	pthread_barrier_wait(&meeting);
	pthread_barrier_destroy(&meeting);
}

/* What a resume does in the background has files open, too, and keeps those that are closed. */
static void background_is_over(void)
{
	while (atomic_load(&fs->resuming))
		usleep(1000);
	notify_lane_is_idle();
}

static void resume(void)
{
	sweep_fds();
	start();
	background_is_over();
}

/* Everything is closed by fs_destroy(), whoever opened it. */
static void end(void)
{
	fs_stop(fs);
	pool_destroy(config.pool);
	fs_destroy(fs);
	cr_assert_eq(backings_open(), 0);
	fs_shared_destroy(shared);
	cr_assert_eq(each_open_fd(NULL), fds_before[0]);
	cr_assert_eq(remove_tree(directory), 0);
	munmap(told, sizeof(*told));
}

/* ---- what workers do ---- */

static inline uint64_t look_up(uint64_t parent, const char *name)
{
	struct fs_entry e;

	return fs_lookup(fs, parent, name, &e) ? 0 : e.id;
}

/* A new file with TEXT in it, open. */
static inline uint64_t make_file(uint64_t parent, const char *name, const char *text, uint64_t *id)
{
	struct fs_opened o;
	struct fs_entry e;

	if (fs_create_file(fs, parent, name, O_RDWR, 0644, &caller, &e, &o))
		return 0;
	if (pwrite(handle_get(fs, o.fh)->fd, text, strlen(text), 0) != (ssize_t)strlen(text))
		return 0;
	*id = e.id;
	return o.fh;
}

static inline uint64_t make_dir(uint64_t parent, const char *name)
{
	struct fs_entry e;

	return fs_mkdir(fs, parent, name, 0755, &caller, &e) ? 0 : e.id;
}

/* All paths of ID, each with a newline. */
static inline void paths_of(uint64_t id, char text[4096])
{
	struct node *n = node_get(fs, id);
	char *paths = n ? node_paths(fs, n) : NULL;

	text[0] = 0;
	for (const char *p = paths; p && *p; p += strlen(p) + 1)
		snprintf(text + strlen(text), 4096 - strlen(text), "%s\n", p);
	free(paths);
}

static inline uint64_t lookups_of(uint64_t id)
{
	const struct node *n = node_get(fs, id);

	return n ? n->rec->nlookup : 0;
}

static inline bool handle_reads(uint64_t fh, const char *text)
{
	struct handle *h = handle_get(fs, fh);
	char buf[4096] = "";

	return h && pread(h->fd, buf, sizeof(buf) - 1, 0) >= 0 && !strcmp(buf, text);
}

#endif
