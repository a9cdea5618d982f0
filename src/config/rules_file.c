/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The rules file: the only thing that config/ reads by itself. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/util.h"
#include "config/options_internal.h"
#include "config/rules.h"

/* Up to SIZE bytes; how many, or a negative errno. */
static ssize_t read_all(int fd, char *buf, size_t size)
{
	size_t len = 0;

	while (len < size) {
		ssize_t n = read(fd, buf + len, size - len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		len += (size_t)n;
	}
	return (ssize_t)len;
}

int rules_load(const char *const *inlined, size_t count, const char *path, struct rules **out,
	       char *err, size_t errsize)
{
	struct refusal r = {.buf = err, .size = errsize};
	_cleanup_free_ char *text = NULL;
	_cleanup_fd_ int fd = -1;
	struct quoted q;
	struct stat st;
	ssize_t len;

	if (!path)
		return rules_parse(inlined, count, NULL, NULL, 0, out, err, errsize);
	text = malloc(RULES_FILE_MAX + 1);
	if (!text) {
		refuse(&r, "out of memory while reading the rules: try again");
		return -ENOMEM;
	}
	/* O_NONBLOCK: a FIFO without a writer is not waited for. It could not be read a second time
	 * either; /dev/null can. */
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd >= 0 && fstat(fd, &st) == 0 && !S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode) &&
	    !S_ISCHR(st.st_mode))
		return refuse(&r,
			      "option \"rules\": %s is no regular file, and a reload reads it "
			      "again: name one",
			      quote_string(&q, path));
	len = fd < 0 ? -errno : read_all(fd, text, RULES_FILE_MAX + 1);
	if (len < 0) {
		refuse(&r, "option \"rules\": %s: %s: name a readable file", quote_string(&q, path),
		       strerror((int)-len));
		return (int)len;
	}
	if (len > RULES_FILE_MAX)
		return refuse(&r,
			      "option \"rules\": %s is larger than %d bytes: is it rules at all?",
			      quote_string(&q, path), RULES_FILE_MAX);
	return rules_parse(inlined, count, path, text, (size_t)len, out, err, errsize);
}
