/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * An ioctl as no kernel sends it: command, node, handle, caller, sizes, then the argument. What
 * comes back says only what include/cachefs.h says.
 */
#include <errno.h>
#include <string.h>

#include "base/util.h"
#include "control.h"
#include "fuzz.h"

static const uint32_t commands[] = {
    CACHEFS_IOC_INFO,	CACHEFS_IOC_FLUSH,   CACHEFS_IOC_REMOUNT, CACHEFS_IOC_MODE,
    CACHEFS_IOC_STATUS, CACHEFS_IOC_HANDOFF, CACHEFS_IOC_RELOAD,
};

struct input {
	uint8_t command, node, handle, uid, sizes, bits[3];
	uint32_t raw_command;
	uint16_t in_size, out_size;
};

static bool documented(int err)
{
	static const int known[] = {0,	     -EPERM, -EINVAL, -EOPNOTSUPP, -EBUSY,
				    -ENOTTY, -EBADF, -ESTALE, -EIO,	   -ENOENT};

	for (size_t i = 0; i < ARRAY_SIZE(known); i++)
		if (err == known[i])
			return true;
	return false;
}

static void check_switches(uint32_t switches)
{
	FUZZ_CHECK(switches < 8);
	FUZZ_CHECK(!(switches & CACHEFS_NO_FLUSH) || switches & CACHEFS_WRITEBACK);
}

static void check_mode(const struct cachefs_mode *m)
{
	check_switches(m->switches);
	check_switches(m->pending_switches);
	FUZZ_CHECK(m->origin <= CACHEFS_ORIGIN_RUNTIME);
	FUZZ_CHECK(m->pending <= 1 && m->pending_origin <= CACHEFS_ORIGIN_RUNTIME);
	for (size_t i = 0; i < ARRAY_SIZE(m->reserved); i++)
		FUZZ_CHECK(!m->reserved[i]);
	FUZZ_CHECK(memchr(m->error, 0, sizeof(m->error)));
}

static void check_status(const struct cachefs_status *s)
{
	check_switches(s->switches);
	FUZZ_CHECK(s->origin <= CACHEFS_ORIGIN_RUNTIME);
	FUZZ_CHECK(s->clients_shown <= CACHEFS_CLIENTS_MAX && s->clients_shown <= s->clients_total);
	FUZZ_CHECK(s->opens == s->clients_total && s->writers <= s->opens);
	for (size_t i = 0; i < ARRAY_SIZE(s->reserved); i++)
		FUZZ_CHECK(!s->reserved[i]);
}

static void check_reply(const struct control_reply *r, uint32_t cmd, uint32_t out_size)
{
	const struct fuse_ioctl_out *out = (const void *)r->data;

	FUZZ_CHECK(documented(r->error));
	if (r->error || !r->size)
		return;
	FUZZ_CHECK(r->size >= sizeof(*out) && r->size - sizeof(*out) <= out_size);
	FUZZ_CHECK(documented(out->result));
	if (out->result)
		return;
	if (cmd == CACHEFS_IOC_MODE)
		check_mode((const void *)(out + 1));
	else if (cmd == CACHEFS_IOC_STATUS)
		check_status((const void *)(out + 1));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = {0};
	struct fuse_ioctl_in call;
	uint8_t *args;
	size_t have;

	control_start();
	memcpy(&in, data, MIN(size, sizeof(in)));
	have = size > sizeof(in) ? size - sizeof(in) : 0;
	call = (struct fuse_ioctl_in){
	    .fh = control_handle(in.handle),
	    .cmd = in.command < 200 ? commands[in.command % ARRAY_SIZE(commands)] : in.raw_command};
	if (in.node % 4 == CONTROL_ROOT || in.node % 4 == CONTROL_DIRECTORY)
		call.flags = FUSE_IOCTL_DIR;
	if (in.sizes & 1) { /* any, and as many bytes as there are */
		call.in_size = in.in_size;
		call.out_size = in.out_size;
	} else { /* as the kernel has them */
		call.in_size = _IOC_DIR(call.cmd) & _IOC_WRITE ? _IOC_SIZE(call.cmd) : 0;
		call.out_size = _IOC_DIR(call.cmd) & _IOC_READ ? _IOC_SIZE(call.cmd) : 0;
	}
	args = calloc(1, sizeof(call) + MAX(have, (size_t)call.in_size));
	FUZZ_CHECK(args);
	memcpy(args, &call, sizeof(call));
	if (have)
		memcpy(args + sizeof(call), data + sizeof(in), have);
	if (!(in.sizes & 1))
		have = call.in_size;
	check_reply(control_send(FUSE_IOCTL, control_node(in.node), control_uid(in.uid), args,
				 sizeof(call) + have),
		    call.cmd, call.out_size);
	free(args);
	return 0;
}
