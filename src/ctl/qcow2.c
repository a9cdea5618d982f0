/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctl/qcow2.h"

#include <endian.h>
#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "ctl/text.h"

enum {
	MAGIC = 0x514649fb, /* "QFI\xfb" */
	V2_LENGTH = 72,
	V3_LENGTH = 104,
	NAME_MAX_LENGTH = 1023,
	EXTENSION_END = 0,
	EXTENSION_DATA_FILE = 0x44415441,
};

static uint32_t be32(const uint8_t *image, size_t offset)
{
	uint32_t v;

	memcpy(&v, image + offset, sizeof(v));
	return be32toh(v);
}

static uint64_t be64(const uint8_t *image, size_t offset)
{
	return (uint64_t)be32(image, offset) << 32 | be32(image, offset + 4);
}

/* NULL where it does not lie within LEN bytes, or has a NUL in it, which no path has. */
static char *take_name(const uint8_t *image, size_t len, uint64_t offset, uint32_t length)
{
	if (length == 0 || length > NAME_MAX_LENGTH || offset > len || length > len - offset ||
	    memchr(image + offset, 0, length))
		return NULL;
	return need_memory(strndup((const char *)image + offset, length));
}

static int take_extensions(const uint8_t *image, size_t len, size_t at, struct qcow2_names *out)
{
	while (at + 8 <= len) {
		uint32_t type = be32(image, at), length = be32(image, at + 4);

		at += 8;
		if (type == EXTENSION_END)
			return 0;
		if (length > len - at)
			return -EINVAL;
		if (type == EXTENSION_DATA_FILE && !out->data_file)
			out->data_file = take_name(image, len, at, length);
		at += align_up(length, 8);
	}
	/* an image that ends behind its header has no end mark */
	return 0;
}

int qcow2_parse(const uint8_t *image, size_t len, struct qcow2_names *out)
{
	uint32_t version, header;
	uint64_t offset;

	*out = (struct qcow2_names){0};
	if (len < V2_LENGTH || be32(image, 0) != MAGIC)
		return -EINVAL;
	version = be32(image, 4);
	if (version != 2 && version != 3)
		return -EINVAL;
	header = V2_LENGTH;
	if (version == 3) {
		header = len >= V3_LENGTH ? be32(image, 100) : 0;
		if (header < V3_LENGTH || header > len)
			return -EINVAL;
	}
	offset = be64(image, 8);
	if (offset) {
		out->backing = take_name(image, len, offset, be32(image, 16));
		if (!out->backing)
			return -EINVAL;
		/* extensions end where the name begins */
		len = MAX((uint64_t)header, MIN(offset, (uint64_t)len));
	}
	if (take_extensions(image, len, header, out)) {
		qcow2_free(out);
		return -EINVAL;
	}
	return 0;
}

void qcow2_free(struct qcow2_names *n)
{
	free(n->backing);
	free(n->data_file);
	*n = (struct qcow2_names){0};
}

/* {"driver":"qcow2","file":{"driver":"file","filename":PATH}}, or "file.filename", or both mixed */
static const char *json_filename(const json_t *options, int depth)
{
	const char *driver = json_string_value(json_object_get(options, "driver"));
	const char *path = json_string_value(json_object_get(options, "filename"));

	if (path && (!driver || !strcmp(driver, "file") || !strcmp(driver, "host_device")))
		return path;
	path = json_string_value(json_object_get(options, "file.filename"));
	if (path)
		return path;
	options = json_object_get(options, "file");
	return options && depth > 0 ? json_filename(options, depth - 1) : NULL;
}

char *qcow2_path(const char *name)
{
	size_t scheme = strcspn(name, ":/");
	json_t *options;
	const char *path;
	char *copy;

	if (name[scheme] != ':')
		return need_memory(strdup(name));
	if (strncmp(name, "file:", 5) == 0)
		return need_memory(strdup(name + 5));
	if (strncmp(name, "json:", 5) != 0)
		return NULL;
	options = json_loads(name + 5, 0, NULL);
	path = json_filename(options, 8);
	copy = path ? need_memory(strdup(path)) : NULL;
	json_decref(options);
	return copy;
}
