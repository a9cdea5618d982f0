/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The attributes of modes: set, got, listed and removed, with any value. What was set is what is
 * got, and what was refused changes nothing.
 */
#include <errno.h>
#include <string.h>

#include "base/util.h"
#include "config/mode.h"
#include "control.h"
#include "fuzz.h"

struct input {
	uint8_t what, name, node, uid, flags, room;
};

static const char *const names[] = {CACHEFS_XATTR_NOW, CACHEFS_XATTR_STORED};

static const struct control_reply *get(uint64_t node, const char *name, uint32_t room)
{
	struct fuse_getxattr_in in = {.size = room};
	uint8_t args[sizeof(in) + 64];

	memcpy(args, &in, sizeof(in));
	memcpy(args + sizeof(in), name, strlen(name) + 1);
	return control_send(FUSE_GETXATTR, node, 0, args, sizeof(in) + strlen(name) + 1);
}

/* The mode as the attribute NAME has it; false: it has none. */
static bool mode_of(uint64_t node, const char *name, struct switches *sw)
{
	const struct control_reply *r = get(node, name, 128);

	if (r->error)
		return false;
	FUZZ_CHECK(mode_parse((const char *)r->data, r->size, sw) == 0);
	return true;
}

static int set(uint64_t node, uint32_t uid, const char *name, uint32_t flags, const uint8_t *value,
	       size_t size)
{
	struct fuse_setxattr_in in = {.size = (uint32_t)size, .flags = flags};
	size_t len = strlen(name) + 1;
	uint8_t *args = malloc(sizeof(in) + len + size);
	int err;

	FUZZ_CHECK(args);
	memcpy(args, &in, sizeof(in));
	memcpy(args + sizeof(in), name, len);
	if (size)
		memcpy(args + sizeof(in) + len, value, size);
	err = control_send(FUSE_SETXATTR, node, uid, args, sizeof(in) + len + size)->error;
	free(args);
	return err;
}

static void check_set(uint64_t node, const struct input *in, const char *name, const uint8_t *value,
		      size_t size)
{
	struct switches before = {0}, after = {0}, wanted;
	bool had = mode_of(node, name, &before), has;
	int err = set(node, control_uid(in->uid), name, in->flags % 4, value, size);
	int parsed = mode_parse((const char *)value, size, &wanted);

	has = mode_of(node, name, &after);
	if (!err) {
		FUZZ_CHECK(!parsed && has && switches_equal(after, wanted));
		return;
	}
	FUZZ_CHECK(err == -EPERM || err == -EINVAL || err == -EOPNOTSUPP || err == -EEXIST ||
		   err == -ENODATA || err == -ESTALE || err == -EBUSY);
	FUZZ_CHECK(had == has && (!had || switches_equal(before, after)));
}

static void check_get(uint64_t node, const struct input *in, const char *name)
{
	const struct control_reply *r = get(node, name, in->room);

	FUZZ_CHECK(r->error == 0 || r->error == -ERANGE || r->error == -ENODATA ||
		   r->error == -EOPNOTSUPP || r->error == -ESTALE);
	FUZZ_CHECK(r->error || r->size <= MAX((size_t)in->room, sizeof(struct fuse_getxattr_out)));
}

static void check_list(uint64_t node, const struct input *in)
{
	struct fuse_getxattr_in args = {.size = in->room};
	const struct control_reply *r = control_send(FUSE_LISTXATTR, node, 0, &args, sizeof(args));

	if (!r->error && in->room)
		FUZZ_CHECK(!memmem(r->data, r->size, CACHEFS_XATTR_NOW, sizeof(CACHEFS_XATTR_NOW)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = {0};
	size_t head = MIN(size, sizeof(in));
	const char *name;
	uint64_t node;

	control_start();
	memcpy(&in, data, head);
	name = names[in.name % ARRAY_SIZE(names)];
	node = control_node(in.node);
	switch (in.what % 8) {
	case 0:
		check_get(node, &in, name);
		break;
	case 1:
		check_list(node, &in);
		break;
	case 2:
		control_send(FUSE_REMOVEXATTR, node, control_uid(in.uid), name, strlen(name) + 1);
		break;
	default:
		check_set(node, &in, name, data + head, size - head);
	}
	return 0;
}
