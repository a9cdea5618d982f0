/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Makes and reads large directories:
 *
 *  dirwalk fill DIR PREFIX COUNT    empty files PREFIX00000000, ...
 *  dirwalk remove DIR PREFIX COUNT
 *  dirwalk churn DIR COUNT    "keep" files filled before are each seen exactly once while others
 *                             come and go, by telldir, seekdir and rewinddir too
 *  dirwalk stat DIR           reads it and looks at each entry: number and type agree
 *
 * Exit status 0, or 1 with one line about what is wrong.
 */
#include <dirent.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define CHURN 40	/* entries made, and as many removed, at once */
#define CHURN_EVERY 700 /* entries read between */
#define SEEK_EVERY 1111 /* entries read between looking ahead and going back */
#define AHEAD 900	/* entries; more than one getdents(2) returns */

static void file_name(char *buf, size_t size, const char *prefix, unsigned n)
{
	snprintf(buf, size, "%s%08u", prefix, n);
}

static int fill(int dir, const char *prefix, unsigned count)
{
	char name[64];

	for (unsigned i = 0; i < count; i++) {
		file_name(name, sizeof(name), prefix, i);
		if (mknodat(dir, name, S_IFREG | 0644, 0) < 0)
			err(1, "%s", name);
	}
	return 0;
}

static int remove_all(int dir, const char *prefix, unsigned count)
{
	char name[64];

	for (unsigned i = 0; i < count; i++) {
		file_name(name, sizeof(name), prefix, i);
		if (unlinkat(dir, name, 0) < 0)
			err(1, "%s", name);
	}
	return 0;
}

/* Some come, and those that came some rounds ago go. */
static void churn_once(int dir)
{
	static unsigned made, removed;
	char name[64];

	for (unsigned i = 0; i < CHURN; i++) {
		file_name(name, sizeof(name), "passing", made++);
		if (mknodat(dir, name, S_IFREG | 0644, 0) < 0)
			err(1, "%s", name);
	}
	while (made - removed > 3 * CHURN) {
		file_name(name, sizeof(name), "passing", removed++);
		if (unlinkat(dir, name, 0) < 0)
			err(1, "%s", name);
	}
}

/* The number of the next "keep" file from the stream, or -1 at its end. */
static long next_kept(DIR *d)
{
	struct dirent *e;

	while ((errno = 0, e = readdir(d))) {
		if (!strncmp(e->d_name, "keep", 4))
			return strtol(e->d_name + 4, NULL, 10);
	}
	if (errno)
		err(1, "readdir");
	return -1;
}

/* Reads ahead, changes the directory, goes back: the next kept entry must be the same. */
static void look_ahead(DIR *d, int dir)
{
	long place = telldir(d), first = next_kept(d), again;

	for (int i = 0; i < AHEAD && next_kept(d) >= 0; i++)
		;
	churn_once(dir);
	seekdir(d, place);
	place = telldir(d);
	again = next_kept(d);
	if (again != first)
		errx(1, "after seekdir keep%08ld follows instead of keep%08ld", again, first);
	seekdir(d, place);
}

static void pass(DIR *d, int dir, unsigned count, const char *what)
{
	unsigned char *seen = calloc(count, 1);
	unsigned total = 0;
	long n;

	if (!seen)
		err(1, "calloc");
	for (unsigned i = 1; (n = next_kept(d)) >= 0; i++) {
		if ((unsigned long)n >= count || seen[n]++)
			errx(1, "%s: keep%08ld is seen twice", what, n);
		total++;
		if (i % CHURN_EVERY == 0)
			churn_once(dir);
		if (i % SEEK_EVERY == 0)
			look_ahead(d, dir);
	}
	if (total != count)
		errx(1, "%s: %u of %u entries are seen", what, total, count);
	free(seen);
}

static int churn(const char *path, int dir, unsigned count)
{
	DIR *d = opendir(path);

	if (!d)
		err(1, "%s", path);
	pass(d, dir, count, "the first pass");
	rewinddir(d);
	pass(d, dir, count, "after rewinddir");
	for (int i = 0; i < 1000; i++)
		next_kept(d);
	rewinddir(d);
	pass(d, dir, count, "after rewinddir from the middle");
	closedir(d);
	return 0;
}

static int look_at_all(const char *path)
{
	DIR *d = opendir(path);
	struct dirent *e;
	unsigned count = 0;
	struct stat st;

	if (!d)
		err(1, "%s", path);
	while ((errno = 0, e = readdir(d))) {
		if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."))
			continue;
		if (fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
			err(1, "%s", e->d_name);
		if (st.st_ino != e->d_ino)
			errx(1, "%s: inode %lu in the directory, %lu by stat", e->d_name,
			     (unsigned long)e->d_ino, (unsigned long)st.st_ino);
		if (e->d_type != DT_UNKNOWN && e->d_type != IFTODT(st.st_mode))
			errx(1, "%s: wrong type %d", e->d_name, e->d_type);
		count++;
	}
	if (errno)
		err(1, "readdir");
	printf("%u\n", count);
	closedir(d);
	return 0;
}

static unsigned count_of(const char *word)
{
	return (unsigned)strtoul(word, NULL, 10);
}

int main(int argc, char **argv)
{
	const char *verb = argc > 2 ? argv[1] : "";
	int dir = argc > 2 ? open(argv[2], O_RDONLY | O_DIRECTORY) : -1;

	if (argc > 2 && dir < 0)
		err(1, "%s", argv[2]);
	if (!strcmp(verb, "fill") && argc == 5)
		return fill(dir, argv[3], count_of(argv[4]));
	if (!strcmp(verb, "remove") && argc == 5)
		return remove_all(dir, argv[3], count_of(argv[4]));
	if (!strcmp(verb, "churn") && argc == 4)
		return churn(argv[2], dir, count_of(argv[3]));
	if (!strcmp(verb, "stat") && argc == 3)
		return look_at_all(argv[2]);
	errx(2, "usage: dirwalk fill|remove|churn|stat DIR ...");
}
