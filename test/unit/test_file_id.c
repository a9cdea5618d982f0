/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What names a file. */
#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../lib/remove_tree.h"
#include "base/util.h"
#include "durability/private_dir.h"

static const struct id_text {
	char text[160];
	bool good;
} id_texts[] = {
    {"1-0a1b2c", true},
    {"0-", true},
    {"-1-ff", true},
    {"2147483647-00", true},
    {"2147483648-", false},
    {"-2147483648-", true},
    {"99999999999-", false},
    {"", false},
    {"-", false},
    {"1", false},
    {"1-0", false},
    {"1-0A", false},
    {"1-0g", false},
    {"-0-", false},
    {"01-", false},
    {"+1-", false},
    {" 1-", false},
    {"1-00 ", false},
    {"--1-", false},
};

ParameterizedTestParameters(file_id, texts)
{
	return cr_make_param_array(struct id_text, (void *)id_texts, ARRAY_SIZE(id_texts), NULL);
}

ParameterizedTest(struct id_text *row, file_id, texts)
{
	char text[FILE_ID_TEXT];
	struct file_id id;

	cr_assert_eq(file_id_parse(row->text, strlen(row->text), &id), row->good, "%s", row->text);
	if (!row->good)
		return;
	file_id_text(&id, text);
	cr_assert_str_eq(text, row->text);
}

Test(file_id, as_long_as_they_get)
{
	char text[FILE_ID_TEXT], longer[FILE_ID_TEXT + 2];
	struct file_id id = {.type = INT32_MIN, .len = FILE_ID_MAX}, back;

	memset(id.bytes, 0xfe, sizeof(id.bytes));
	file_id_text(&id, text);
	cr_assert_eq(strlen(text), strlen("-2147483648-") + 2 * FILE_ID_MAX);
	cr_assert(file_id_parse(text, strlen(text), &back));
	cr_assert(file_id_equal(&id, &back));
	snprintf(longer, sizeof(longer), "%s00", text);
	cr_assert(!file_id_parse(longer, strlen(longer), &back));
}

Test(file_id, a_file_has_one_id_whatever_its_name)
{
	const char *tmp = getenv("TMPDIR");
	struct file_id a, b;
	int root_fd, fd, path_fd;
	char root[4200];

	snprintf(root, sizeof(root), "%s/cachefs-id.XXXXXX", tmp ? tmp : "/var/tmp");
	cr_assert(mkdtemp(root));
	root_fd = open(root, O_DIRECTORY | O_RDONLY | O_CLOEXEC);
	close(openat(root_fd, "b", O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
	fd = openat(root_fd, "a", O_CREAT | O_RDWR | O_CLOEXEC, 0600);
	cr_assert_eq(renameat(root_fd, "a", root_fd, "c"), 0);
	path_fd = openat(root_fd, "c", O_PATH);
	if (!file_id_of(fd, &a))
		cr_skip("no file handles here");
	cr_assert_gt(a.len, 0);
	cr_assert(file_id_of(path_fd, &b));
	cr_assert(file_id_equal(&a, &b));
	close(path_fd);
	path_fd = openat(root_fd, "b", O_PATH);
	cr_assert(file_id_of(path_fd, &b));
	cr_assert(!file_id_equal(&a, &b));
	cr_assert(!file_id_of(-1, &b));
	cr_assert_eq(b.len, 0);
	close(path_fd);
	close(fd);
	close(root_fd);
	cr_assert_eq(remove_tree(root), 0);
}
