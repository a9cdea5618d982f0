/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <string.h>

#include "base/util.h"
#include "durability/marker_internal.h"

#define HEAD "cachefs crash marker 1"
/* The last line: what was cut off is no marker. */
#define TAIL "end"

/* ---- writing ---- */

void marker_quote(FILE *f, const char *text)
{
	fputc('"', f);
	for (const unsigned char *p = (const unsigned char *)text; *p; p++) {
		if (*p == '"' || *p == '\\')
			fprintf(f, "\\%c", *p);
		else if (*p == '\n')
			fputs("\\n", f);
		else if (*p < ' ' || *p == 0x7f)
			fprintf(f, "\\%03o", *p);
		else
			fputc(*p, f);
	}
	fputc('"', f);
}

void marker_time(FILE *f, struct timespec t)
{
	struct tm tm;

	gmtime_r(&t.tv_sec, &tm);
	fprintf(f, "%04d-%02d-%02dT%02d:%02d:%02d", tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday,
		tm.tm_hour, tm.tm_min, tm.tm_sec);
	if (t.tv_nsec)
		fprintf(f, ".%09ld", t.tv_nsec);
	fputc('Z', f);
}

static void put_files(FILE *f, const char *keyword, const struct named_file *files)
{
	char id[FILE_ID_TEXT];

	for (; files; files = files->hh.next) {
		file_id_text(&files->id, id);
		fprintf(f, "%s %s ", keyword, id);
		marker_quote(f, files->path);
		fputc('\n', f);
	}
}

static void put_section(FILE *f, const struct section *s)
{
	fprintf(f, "boot %s ", s->boot);
	marker_time(f, s->since);
	fputc('\n', f);
	if (s->mount)
		fputs("mount\n", f);
	for (const struct named_pattern *p = s->patterns; p; p = p->next) {
		fputs("pattern ", f);
		marker_quote(f, p->text);
		fputc('\n', f);
	}
	put_files(f, "file", s->files);
	if (s->seen.tv_sec) {
		fputs("seen ", f);
		marker_time(f, s->seen);
		fputc('\n', f);
	}
	put_files(f, "trusted", s->trusted);
	if (s->error)
		fputs("error\n", f);
}

int model_format(const struct model *m, char **text, size_t *len)
{
	FILE *f = open_memstream(text, len);
	bool failed;

	if (!f)
		return -ENOMEM;
	fputs(HEAD "\n", f);
	for (const struct section *s = m->sections; s; s = s->next)
		put_section(f, s);
	fputs(TAIL "\n", f);
	failed = ferror(f);
	if (fclose(f) == 0 && !failed)
		return 0;
	free(*text);
	*text = NULL;
	return -ENOMEM;
}

/* ---- in words ---- */

#define NAMES_SHOWN 5 /* of a section, of each kind */

static void describe_section(FILE *f, const struct section *s)
{
	const struct named_file *file = s->files;
	unsigned count = 0, files = HASH_COUNT(s->files);

	if (s->mount)
		fputs("all files of the mount", f);
	for (const struct named_pattern *p = s->patterns; p; p = p->next, count++) {
		if (count < NAMES_SHOWN) {
			fputs(count ? ", " : "files named ", f);
			marker_quote(f, p->text);
		}
	}
	if (count > NAMES_SHOWN)
		fprintf(f, " and %u patterns more", count - NAMES_SHOWN);
	if (count && files)
		fputs(", ", f);
	for (count = 0; file && count < NAMES_SHOWN; file = file->hh.next, count++) {
		fputs(count ? ", " : "", f);
		marker_quote(f, file->path);
	}
	if (files > count)
		fprintf(f, " and %u files more", files - count);
	count = HASH_COUNT(s->trusted);
	if (count)
		fprintf(f, " but %u trusted", count);
	fputs(s->error ? " (I/O error, " : " (", f);
	marker_time(f, s->since);
	fputc(')', f);
}

void model_describe(const struct model *m, char *buf, size_t size)
{
	char *text = NULL;
	size_t len;
	FILE *f = open_memstream(&text, &len);
	bool some = false;

	for (const struct section *s = m->sections; f && s; s = s->next) {
		if (s->state != SECTION_TAINTED)
			continue;
		fputs(some ? "; " : "", f);
		describe_section(f, s);
		some = true;
	}
	if (!f || fclose(f))
		snprintf(buf, size, "no memory to say it");
	else if ((size_t)snprintf(buf, size, "%s", text) >= size && size > sizeof("..."))
		strcpy(buf + size - sizeof("..."), "...");
	free(text);
}

/* ---- reading ---- */

/* What is left of a line. */
struct cursor {
	const char *at, *end;
};

static bool take(struct cursor *c, const char *text)
{
	size_t len = strlen(text);

	if ((size_t)(c->end - c->at) < len || memcmp(c->at, text, len) != 0)
		return false;
	c->at += len;
	return true;
}

/* Up to the next space or the end. */
static struct cursor take_word(struct cursor *c)
{
	struct cursor word = *c;
	const char *space = memchr(c->at, ' ', (size_t)(c->end - c->at));

	word.end = c->at = space ? space : c->end;
	return word;
}

static bool take_digits(struct cursor *c, int count, int *out)
{
	for (*out = 0; count; count--, c->at++) {
		if (c->at == c->end || *c->at < '0' || *c->at > '9')
			return false;
		*out = 10 * *out + (*c->at - '0');
	}
	return true;
}

static bool take_time(struct cursor *c, struct timespec *out)
{
	struct tm tm = {0}, back;
	int nsec = 0;

	if (!take_digits(c, 4, &tm.tm_year) || !take(c, "-") || !take_digits(c, 2, &tm.tm_mon) ||
	    !take(c, "-") || !take_digits(c, 2, &tm.tm_mday) || !take(c, "T") ||
	    !take_digits(c, 2, &tm.tm_hour) || !take(c, ":") || !take_digits(c, 2, &tm.tm_min) ||
	    !take(c, ":") || !take_digits(c, 2, &tm.tm_sec))
		return false;
	if (take(c, ".") && !take_digits(c, 9, &nsec))
		return false;
	tm.tm_year -= 1900;
	tm.tm_mon--;
	back = tm;
	out->tv_sec = timegm(&back);
	out->tv_nsec = nsec;
	/* timegm(3) takes the 31st of February; 0 means "none" here */
	return take(c, "Z") && out->tv_sec > 0 && back.tm_mday == tm.tm_mday &&
	       back.tm_mon == tm.tm_mon && back.tm_sec == tm.tm_sec && back.tm_min == tm.tm_min &&
	       back.tm_hour == tm.tm_hour;
}

/* One character behind a backslash, or -1. */
static int take_escape(struct cursor *c)
{
	int v = 0;

	if (take(c, "n"))
		return '\n';
	if (take(c, "\\"))
		return '\\';
	if (take(c, "\""))
		return '"';
	for (int i = 0; i < 3; i++, c->at++) {
		if (c->at == c->end || *c->at < '0' || *c->at > '7')
			return -1;
		v = 8 * v + (*c->at - '0');
	}
	return v >= 1 && v <= 0xff ? v : -1;
}

/* To be freed; NULL: not quoted as marker_quote() does, or no memory. */
static char *take_quoted(struct cursor *c)
{
	_cleanup_free_ char *text = malloc((size_t)(c->end - c->at) + 1);
	char *result, *to = text;

	if (!text || !take(c, "\""))
		return NULL;
	while (!take(c, "\"")) {
		int v = c->at < c->end ? (unsigned char)*c->at++ : -1;

		if (v < ' ' || v == 0x7f)
			return NULL;
		if (v == '\\')
			v = take_escape(c);
		if (v < 0)
			return NULL;
		*to++ = (char)v;
	}
	*to = '\0';
	result = text;
	text = NULL;
	return result;
}

bool boot_id_valid(const char *boot, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (!((boot[i] >= '0' && boot[i] <= '9') || (boot[i] >= 'a' && boot[i] <= 'z') ||
		      (boot[i] >= 'A' && boot[i] <= 'Z') || boot[i] == '-'))
			return false;
	return len && len < MARKER_BOOT_SIZE;
}

struct parser {
	struct model *model;
	struct section *section; /* NULL: before the first one */
	const char *boot;
	unsigned sections;
	const char *what;
};

static int fault(struct parser *p, const char *what)
{
	p->what = what;
	return -EINVAL;
}

/* A section is complete: whose is it? */
static void finish_section(struct parser *p)
{
	struct section *s = p->section;

	if (s)
		s->state = strcmp(s->boot, p->boot) || s->error ? SECTION_TAINTED : SECTION_LEFT;
}

static int parse_boot(struct parser *p, struct cursor *c)
{
	struct cursor id = take_word(c);
	size_t len = (size_t)(id.end - id.at);
	char boot[MARKER_BOOT_SIZE];
	struct timespec since;

	if (!boot_id_valid(id.at, len) || !take(c, " ") || !take_time(c, &since))
		return fault(p, "no boot id and time");
	if (++p->sections > 2 * MARKER_SECTIONS_MAX)
		return fault(p, "too many sections");
	memcpy(boot, id.at, len);
	boot[len] = '\0';
	finish_section(p);
	p->section = model_add(p->model, SECTION_TAINTED, boot, since);
	return p->section ? 0 : -ENOMEM;
}

static int parse_pattern(struct parser *p, struct cursor *c)
{
	_cleanup_free_ char *text = take_quoted(c);
	struct concerned k = {.kind = MARKER_PATTERN, .text = text};
	int err = text ? section_add(p->section, &k) : -EINVAL;

	return err == -EINVAL ? fault(p, "no pattern") : MIN(err, 0);
}

static int parse_file(struct parser *p, struct cursor *c, bool trusted)
{
	struct concerned k = {.kind = MARKER_FILE};
	struct cursor id = take_word(c);
	_cleanup_free_ char *path = NULL;
	int err;

	if (!file_id_parse(id.at, (size_t)(id.end - id.at), &k.id) || !take(c, " "))
		return fault(p, "no file handle");
	path = take_quoted(c);
	if (!path)
		return fault(p, "no path");
	k.text = path;
	if (!trusted)
		return MIN(section_add(p->section, &k), 0);
	err = section_trust(p->section, &k.id, path);
	return err == -EFBIG ? fault(p, "too many trusted files") : MIN(err, 0);
}

static int parse_in_section(struct parser *p, struct cursor *c)
{
	static const struct concerned all = {.kind = MARKER_MOUNT};

	if (take(c, "trusted "))
		return parse_file(p, c, true);
	if (take(c, "seen "))
		return take_time(c, &p->section->seen) ? 0 : fault(p, "no time");
	if (take(c, "error")) {
		p->section->error = true;
		return 0;
	}
	/* what is said later would be trusted before it was said */
	if (p->section->trusted)
		return fault(p, "not in front of the trusted files");
	if (take(c, "mount"))
		return MIN(section_add(p->section, &all), 0);
	if (take(c, "pattern "))
		return parse_pattern(p, c);
	if (take(c, "file "))
		return parse_file(p, c, false);
	return fault(p, "no such keyword");
}

static int parse_line(struct parser *p, struct cursor c)
{
	int err;

	if (take(&c, "boot "))
		err = parse_boot(p, &c);
	else if (!p->section)
		err = fault(p, "no boot line before it");
	else
		err = parse_in_section(p, &c);
	return !err && c.at != c.end ? fault(p, "more than belongs there") : err;
}

/* The next line of TEXT; false: none, or one without its end. */
static bool next_line(struct cursor *text, struct cursor *line)
{
	const char *newline = memchr(text->at, '\n', (size_t)(text->end - text->at));

	if (!newline)
		return false;
	*line = (struct cursor){text->at, newline};
	text->at = newline + 1;
	return true;
}

static bool line_is(struct cursor line, const char *text)
{
	return take(&line, text) && line.at == line.end;
}

static int parse_all(struct parser *p, struct cursor text, unsigned *number)
{
	struct cursor line;
	int err;

	*number = 1;
	if (!next_line(&text, &line) || !line_is(line, HEAD))
		return fault(p, "not \"" HEAD "\"");
	for (;;) {
		++*number;
		if (!next_line(&text, &line))
			return fault(p, "it ends before its last line");
		if (line_is(line, TAIL))
			break;
		err = parse_line(p, line);
		if (err)
			return err;
	}
	finish_section(p);
	return text.at == text.end ? 0 : fault(p, "more behind the last line");
}

int model_parse(const char *text, size_t len, const char *boot, struct model **out, unsigned *line,
		const char **what)
{
	struct parser p = {.model = model_new(), .boot = boot};
	int err = p.model ? parse_all(&p, (struct cursor){text, text + len}, line) : -ENOMEM;

	if (!err) {
		model_drop_empty(p.model);
		err = model_limit(p.model);
	}
	if (err < 0) {
		*what = p.what;
		model_unref(p.model);
		return err;
	}
	*out = p.model;
	return 0;
}
