/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Workers killed anywhere in the midst of names and handles; and how long it takes to follow one.
 */
#include "resume.h"
#include "supervisor/journal.h"

#define STORM_NAMES 12
#define STORM_THREADS 3

/* What the kernel would know: counted by the workers once an answer would have been sent. */
struct storm_row {
	uint64_t id, lookups, fh, fh_node;
};
static struct storm_row *storm; /* STORM_THREADS rows of STORM_NAMES */

static void storm_name(char name[16], int thread, unsigned i)
{
	snprintf(name, 16, "t%d-%u", thread, i);
}

static void storm_known(struct storm_row *row, uint64_t id)
{
	if (row->id == id) {
		row->lookups++;
		return;
	}
	row->lookups = 0; /* first: a kill in between leaks one, and loses none */
	row->id = id;
	row->lookups = 1;
}

/* FORGET and RELEASE are not answered: they are noted before they are executed. */
static void storm_forget(struct storm_row *row)
{
	uint64_t id = row->id, lookups = row->lookups;

	row->lookups = 0;
	if (lookups)
		fs_forget(fs, id, lookups);
}

static void storm_close(struct storm_row *row)
{
	uint64_t fh = row->fh;

	row->fh = 0;
	if (fh)
		fs_release(fs, fh);
}

static void storm_step(int thread, unsigned random)
{
	unsigned i = random / 16 % STORM_NAMES, k = random / 1024 % STORM_NAMES;
	struct storm_row *row = &storm[thread * STORM_NAMES + (int)i];
	struct fs_opened o;
	struct fs_entry e;
	char name[16], other[16];

	storm_name(name, thread, i);
	storm_name(other, thread, k);
	switch (random % 16) {
	case 0:
	case 1:
		storm_close(row);
		if (!fs_create_file(fs, 1, name, O_RDWR, 0600, &caller, &e, &o)) {
			storm_forget(row);
			storm_known(row, e.id);
			row->fh_node = e.id;
			row->fh = o.fh;
		}
		break;
	case 2:
	case 3:
	case 4:
		if (fs_lookup(fs, 1, name, &e))
			break;
		if (row->id != e.id)
			storm_forget(row);
		storm_known(row, e.id);
		break;
	case 5:
	case 6:
		if (!row->fh && row->lookups && !fs_open(fs, row->id, O_RDWR, false, &caller, &o)) {
			row->fh_node = row->id;
			row->fh = o.fh;
		}
		break;
	case 7:
		storm_close(row);
		break;
	case 8:
		storm_forget(row);
		break;
	case 9:
		fs_unlink(fs, 1, name);
		break;
	case 10:
	case 11:
		fs_rename(fs, 1, name, 1, other, 0);
		break;
	case 12:
		if (row->lookups && !fs_link(fs, row->id, 1, other, &e))
			fs_forget(fs, e.id, 1);
		break;
	default:
		if (!fs_tmpfile(fs, 1, O_RDWR, 0600, &caller, &e, &o)) {
			fs_release(fs, o.fh);
			fs_forget(fs, e.id, 1);
		}
	}
}

static void *storm_thread(void *arg)
{
	int thread = (int)(intptr_t)arg;
	unsigned seed = (unsigned)getpid() * 7 + (unsigned)thread;

	cred_thread_init();
	for (;;)
		storm_step(thread, (unsigned)rand_r(&seed));
	return NULL;
}

static void storm_work(void)
{
	pthread_t thread;

	for (intptr_t i = 1; i < STORM_THREADS; i++)
		IN_WORKER(pthread_create(&thread, NULL, storm_thread, (void *)i) == 0);
	storm_thread(NULL);
}

/* All that the kernel knows is there, and is what it was. */
static void storm_check(void)
{
	for (int i = 0; i < STORM_THREADS * STORM_NAMES; i++) {
		const struct storm_row *row = &storm[i];
		const struct handle *h = row->fh ? handle_get(fs, row->fh) : NULL;
		struct stat st;

		if (row->lookups)
			cr_assert_geq(lookups_of(row->id), row->lookups, "row %d", i);
		if (!row->fh)
			continue;
		cr_assert(h && h->file && node_id(h->file->node) == row->fh_node, "row %d", i);
		cr_assert_eq(fstat(h->fd, &st), 0);
		cr_assert_eq(st.st_ino, h->file->node->rec->ino, "row %d: another file", i);
	}
}

static void idle(void)
{
}

/* At work, and every third one soon after its start: while it rebuilds what the last one left. */
static void storm_kills(int rounds)
{
	for (int i = 0; i < rounds; i++) {
		pid_t pid = worker_start(storm_work);

		usleep(i % 3 == 2 ? (useconds_t)rand() % 3000 : 3000 + (useconds_t)rand() % 20000);
		kill(pid, SIGKILL);
		worker_wait(pid);
		sweep_fds();
	}
}

static void storm_run(const char *mode, bool kernel_path)
{
	const int rounds = 60;
	size_t size = sizeof(*storm) * STORM_THREADS * STORM_NAMES;
	uint32_t nodes, handles;
	int known = 0, fds;

	begin(mode);
	config.caps.kernel_path = kernel_path;
	config.kernel_path = kernel_path ? KERNEL_PATH_AUTO : KERNEL_PATH_NEVER;
	config.flush_on_close = true;
	storm = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	worker(idle); /* so that what is killed in its start is always a successor */
	storm_kills(rounds);
	start();
	storm_check();
	background_is_over();
	fs_stop(fs); /* what is owed to closed files keeps them open until it is done */
	/* a kill leaks what the requests in the air had counted, each thread's one, and one that it
	 * was about to forget for that; no more */
	nodes = arena_used(fs->nodes);
	handles = arena_used(fs->handles);
	for (int i = 0; i < STORM_THREADS * STORM_NAMES; i++)
		known += storm[i].lookups || storm[i].fh;
	fds = each_open_fd(NULL) - fds_before[1];
	cr_log_info("%u nodes, %u handles, %d descriptors", nodes, handles, fds);
	cr_assert_leq(nodes, (uint32_t)(1 + known + 2 * rounds * STORM_THREADS), "%u", nodes);
	cr_assert_leq(handles, (uint32_t)(known + rounds * STORM_THREADS), "%u", handles);
	/* and a witness for each open file */
	cr_assert_leq(fds, (int)(nodes + 2 * handles + 32), "%d", fds);
	munmap(storm, size);
	end();
}

Test(resume_storm, killed_anywhere, .timeout = 300)
{
	storm_run("writeback", false);
}

Test(resume_storm, killed_anywhere_on_the_kernel_path, .timeout = 300)
{
	storm_run("writeback", true);
}

Test(resume_storm, killed_anywhere_when_flushes_are_dropped, .timeout = 300)
{
	storm_run("unsafe", true);
}

/* ---- how long it takes ---- */

#define MANY_NODES 20000
#define MANY_OPEN 500

static void many(void)
{
	struct fs_opened o;
	struct fs_entry e;
	char name[16];

	for (int i = 0; i < MANY_NODES; i++) {
		if (i % 500 == 0) {
			snprintf(name, sizeof(name), "d%d", i / 500);
			told->ids[0] = make_dir(1, name);
		}
		snprintf(name, sizeof(name), "f%d", i);
		IN_WORKER(fs_mknod(fs, told->ids[0], name, S_IFREG | 0600, 0, &caller, &e) == 0);
		if (i % (MANY_NODES / MANY_OPEN) == 0)
			IN_WORKER(fs_open(fs, e.id, O_RDWR, false, &caller, &o) == 0);
	}
}

static uint64_t cpu_nsec(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* All that a worker needed until it serves; the least of all workers. */
static void note_time(void)
{
	told->fhs[0] = MIN(told->fhs[0], cpu_nsec());
}

/*
 * Of the processor, since others use the machine; 6 ms in a plain build, sanitizers take longer. Of
 * the quickest of several workers, since what the host of a virtual machine takes counts as used.
 */
Test(resume_storm, is_quick, .timeout = 300)
{
	begin("writeback");
	worker(many);
	told->fhs[0] = UINT64_MAX;
	for (int i = 0; i < 5; i++) {
		sweep_fds();
		worker(note_time);
	}
	resume();
	cr_log_info("%d nodes and %d open files: %.1f ms", MANY_NODES, MANY_OPEN,
		    (double)told->fhs[0] / 1e6);
	cr_assert_eq(arena_used(fs->handles), MANY_OPEN);
	cr_assert_eq(arena_used(fs->nodes), MANY_NODES + MANY_NODES / 500 + 1);
	cr_assert_lt(told->fhs[0], UINT64_C(200000000));
	end();
}
