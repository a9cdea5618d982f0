/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Requests of bytes by chance, with ids and handles that are there. */
#include <criterion/parameterized.h>
#include <signal.h>
#include <sys/resource.h>

#include "dispatch.h"

static uint64_t last_id, last_fh;

static uint64_t word(unsigned *seed)
{
	uint64_t r =
	    (uint64_t)rand_r(seed) << 33 ^ (uint64_t)rand_r(seed) << 11 ^ (uint64_t)rand_r(seed);

	switch (rand_r(seed) % 8) {
	case 0:
		return 0;
	case 1:
	case 2:
		return last_fh;
	case 3:
		return last_id;
	case 4:
		return UINT64_MAX >> r % 64;
	case 5:
	case 6:
		return r % 65536;
	default:
		return r;
	}
}

static void by_chance(unsigned *seed)
{
	const struct row *r = &rows[(size_t)rand_r(seed) % ARRAY_SIZE(rows)];
	uint64_t args[40], id = rand_r(seed) % 3 ? FUSE_ROOT_ID : word(seed);
	size_t len = r->size;
	struct outcome o;

	if (rand_r(seed) % 3 == 0 && last_id)
		id = last_id;
	for (size_t i = 0; i < ARRAY_SIZE(args); i++)
		args[i] = word(seed);
	for (unsigned n = 0; n < r->names; n++, len += 2)
		memcpy((char *)args + len, (char[]){(char)('a' + rand_r(seed) % 6), 0}, 2);
	len += (size_t)rand_r(seed) % 3 ? 0 : (size_t)rand_r(seed) % 100;
	o = send_args(r->opcode, id, args, len);
	cr_assert_eq(o.sent, !r->no_reply, "opcode %u", r->opcode);
	if (o.error || o.size < sizeof(uint64_t))
		return;
	if (r->opcode == FUSE_OPEN || r->opcode == FUSE_OPENDIR)
		memcpy(&last_fh, o.reply, sizeof(last_fh));
	if (r->opcode == FUSE_LOOKUP || r->opcode == FUSE_CREATE)
		memcpy(&last_id, o.reply, sizeof(last_id));
	if (r->opcode == FUSE_CREATE)
		memcpy(&last_fh, o.reply + sizeof(struct fuse_entry_out), sizeof(last_fh));
}

static struct storm {
	const struct engine *engine;
	const char mode[32];
} storms[] = {{&engine_threads, "cache=writeback"},
	      {&engine_threads, "cache=directsync"},
	      {&engine_threads, "cache=unsafe"},
	      {&engine_null, "cache=writethrough"}};

ParameterizedTestParameters(dispatch_chance, each_is_answered_once)
{
	/* the engines by address: each test is a new process of this program */
	static unsigned which[] = {0, 1, 2, 3};

	return cr_make_param_array(unsigned, which, ARRAY_SIZE(which));
}

ParameterizedTest(unsigned *which, dispatch_chance, each_is_answered_once, .timeout = 300)
{
	struct rlimit small = {1 << 20, 1 << 20}; /* no request may fill the disk */
	unsigned seed = 1 + *which;

	begin_with(storms[*which].engine, storms[*which].mode);
	signal(SIGXFSZ, SIG_IGN); /* not before: the fs reserves address space in a file */
	cr_assert_eq(setrlimit(RLIMIT_FSIZE, &small), 0);
	for (int i = 0; i < 10000; i++)
		by_chance(&seed);
	cr_assert_neq(last_id, 0, "nothing was ever created");
	end();
}
