/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Names in headers of images, which nobody vouches for. */
#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/qcow2.h"

static uint8_t image[4096];
static struct qcow2_names names;

static void put32(size_t offset, uint32_t v)
{
	v = htobe32(v);
	memcpy(image + offset, &v, sizeof(v));
}

/* A header with a backing file at OFFSET, which is 0 for none. */
static void header(uint32_t version, uint32_t offset, const char *backing)
{
	memset(image, 0, sizeof(image));
	put32(0, 0x514649fb);
	put32(4, version);
	put32(12, offset); /* the low half of 64 bits */
	put32(16, backing ? (uint32_t)strlen(backing) : 0);
	put32(20, 16);
	put32(100, 104);
	if (offset)
		memcpy(image + offset, backing, strlen(backing));
}

Test(ctl_qcow2, no_names)
{
	for (uint32_t version = 2; version <= 3; version++) {
		header(version, 0, NULL);
		cr_assert_eq(qcow2_parse(image, sizeof(image), &names), 0);
		cr_assert_null(names.backing);
		cr_assert_null(names.data_file);
	}
}

Test(ctl_qcow2, backing_file)
{
	header(2, 512, "/abs/base.qcow2");
	cr_assert_eq(qcow2_parse(image, sizeof(image), &names), 0);
	cr_assert_str_eq(names.backing, "/abs/base.qcow2");
	qcow2_free(&names);
	cr_assert_null(names.backing);
}

Test(ctl_qcow2, data_file_behind_another_extension)
{
	header(3, 512, "base");
	put32(104, 0xe2792aca); /* backing format */
	put32(108, 5);
	memcpy(image + 112, "qcow2", 5);
	put32(120, 0x44415441);
	put32(124, 9);
	memcpy(image + 128, "/dev/data", 9);
	cr_assert_eq(qcow2_parse(image, sizeof(image), &names), 0);
	cr_assert_str_eq(names.backing, "base");
	cr_assert_str_eq(names.data_file, "/dev/data");
	qcow2_free(&names);
}

Test(ctl_qcow2, what_is_wrong_is_refused)
{
	header(3, 512, "base");
	put32(0, 0x514649fa);
	cr_assert_eq(qcow2_parse(image, sizeof(image), &names), -EINVAL, "magic");
	header(4, 512, "base");
	cr_assert_eq(qcow2_parse(image, sizeof(image), &names), -EINVAL, "version");
	header(3, 512, "base");
	put32(100, 100);
	cr_assert_eq(qcow2_parse(image, sizeof(image), &names), -EINVAL, "short header");
	put32(100, 0xffffffff);
	cr_assert_eq(qcow2_parse(image, sizeof(image), &names), -EINVAL, "long header");
	header(3, 512, "base");
	put32(8, 0xffffffff);
	cr_assert_eq(qcow2_parse(image, sizeof(image), &names), -EINVAL, "far name");
	header(3, 512, "base");
	put32(16, 1024);
	cr_assert_eq(qcow2_parse(image, sizeof(image), &names), -EINVAL, "long name");
	header(3, 512, "base");
	put32(16, 5);
	cr_assert_eq(qcow2_parse(image, sizeof(image), &names), -EINVAL, "a NUL in the name");
	header(3, 512, "base");
	put32(104, 1);
	put32(108, 0xfffffff9);
	cr_assert_eq(qcow2_parse(image, sizeof(image), &names), -EINVAL, "long extension");
}

/* Each length is a buffer of its own, so that a sanitizer sees what is read behind it. */
Test(ctl_qcow2, cut_anywhere)
{
	header(3, 256, "/base");
	put32(104, 0x44415441);
	put32(108, 5);
	memcpy(image + 112, "/data", 5);
	for (size_t len = 0; len < 300; len++) {
		uint8_t *cut = malloc(len + !len);

		memcpy(cut, image, len);
		cr_assert_eq(qcow2_parse(cut, len, &names), len >= 261 ? 0 : -EINVAL, "%zu", len);
		if (len >= 261)
			qcow2_free(&names);
		free(cut);
	}
}

/* The bytes are a function of the round alone, so a failure can be repeated. */
Test(ctl_qcow2, any_bytes)
{
	uint32_t x = 12345;

	for (int round = 0; round < 20000; round++) {
		header(2 + (uint32_t)round % 2, 512, "/some/backing/file");
		for (int i = 0; i < 6; i++) {
			x = x * 1664525 + 1013904223;
			image[4 + (x >> 8) % 150] = (uint8_t)(x >> 24);
		}
		if (!qcow2_parse(image, 600, &names))
			qcow2_free(&names);
	}
}

static const struct path {
	char name[96], path[40]; /* "": none */
} paths[] = {
    {"/a/b", "/a/b"},
    {"base.qcow2", "base.qcow2"},
    {"dir/with:colon", "dir/with:colon"},
    {"file:/a/b", "/a/b"},
    {"file:rel", "rel"},
    {"nbd://host/export", ""},
    {"rbd:pool/image", ""},
    {"json:{\"driver\":\"qcow2\",\"file\":{\"driver\":\"file\",\"filename\":\"/x\"}}", "/x"},
    {"json:{\"file.filename\":\"/y\"}", "/y"},
    {"json:{\"driver\":\"nbd\",\"filename\":\"z\"}", ""},
    {"json:{\"driver\":", ""},
    {"json:[]", ""},
};

ParameterizedTestParameters(ctl_qcow2, paths)
{
	return cr_make_param_array(struct path, (void *)paths, sizeof(paths) / sizeof(paths[0]),
				   NULL);
}

ParameterizedTest(struct path *row, ctl_qcow2, paths)
{
	char *path = qcow2_path(row->name);

	cr_assert_str_eq(path ? path : "", row->path);
	free(path);
}
