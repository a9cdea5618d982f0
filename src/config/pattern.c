/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config/pattern.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum token_kind {
	TOKEN_BYTE,	/* this byte */
	TOKEN_ANY,	/* ?: any byte but a slash */
	TOKEN_CLASS,	/* [...] */
	TOKEN_STAR,	/* *: any number of bytes but slashes */
	TOKEN_GLOBSTAR, /* **: any number of bytes */
	TOKEN_GLOBDIR	/* a component "**" and its slash: nothing, or what ends with a slash */
};

struct token {
	uint8_t kind;
	uint8_t byte;
	uint16_t class; /* index in classes */
};

struct class
{
	uint64_t bits[4];
};

/* Plain bytes are looked at first: they settle most matches. */
struct pattern {
	bool name_only;	 /* no slash: about the last component */
	uint16_t count;	 /* tokens */
	uint16_t head;	 /* of these: plain bytes at the start */
	uint16_t tail;	 /* and at the end, none of them in head */
	uint16_t within; /* and the longest run of them in between */
	char *plain;	 /* the bytes of head, tail and within, one after the other */
	struct class *classes;
	struct token tokens[];
};

static void class_add(struct class *c, unsigned char byte)
{
	c->bits[byte / 64] |= UINT64_C(1) << byte % 64;
}

static bool class_has(const struct class *c, unsigned char byte)
{
	return c->bits[byte / 64] >> byte % 64 & 1;
}

/* ---- compiling ---- */

struct compiler {
	const char *text;
	size_t len, at;
	struct pattern *p;
	uint16_t classes;
	struct pattern_fault *fault;
};

static int fault(struct compiler *c, size_t at, const char *what)
{
	*c->fault = (struct pattern_fault){.at = at, .what = what};
	return -EINVAL;
}

static const struct token *last_token(const struct compiler *c)
{
	return c->p->count ? &c->p->tokens[c->p->count - 1] : NULL;
}

/* Does the next token begin a component? */
static bool at_component(const struct compiler *c)
{
	const struct token *t = last_token(c);

	return !t || t->kind == TOKEN_GLOBDIR || (t->kind == TOKEN_BYTE && t->byte == '/');
}

static void add_token(struct compiler *c, enum token_kind kind, char byte, uint16_t class)
{
	c->p->tokens[c->p->count++] =
	    (struct token){.kind = kind, .byte = (uint8_t)byte, .class = class};
}

/* Is what stands since the last slash "." or ".."? */
static bool is_dot_component(const struct compiler *c)
{
	size_t dots = 0, i = c->p->count;

	for (; i > 0; i--) {
		const struct token *t = &c->p->tokens[i - 1];

		if (t->kind == TOKEN_GLOBDIR || (t->kind == TOKEN_BYTE && t->byte == '/'))
			break;
		if (t->kind != TOKEN_BYTE || t->byte != '.')
			return false;
		dots++;
	}
	return dots == 1 || dots == 2;
}

static int add_byte(struct compiler *c, size_t at, char byte)
{
	static const char dots[] = "no path on the mount has a component \".\" or \"..\": leave it "
				   "out";

	if (byte == '/' && at_component(c))
		return fault(c, at, "an empty component matches nothing: leave this slash out");
	if (byte == '/' && is_dot_component(c))
		return fault(c, at - 1, dots);
	if (byte == '/')
		c->p->name_only = false;
	add_token(c, TOKEN_BYTE, byte, 0);
	return 0;
}

static void compile_stars(struct compiler *c)
{
	size_t run = 1;

	while (c->at + run < c->len && c->text[c->at + run] == '*')
		run++;
	c->at += run;
	if (run == 1) {
		add_token(c, TOKEN_STAR, 0, 0);
	} else if (c->at == c->len || c->text[c->at] != '/' || !at_component(c)) {
		add_token(c, TOKEN_GLOBSTAR, 0, 0);
	} else {
		c->at++;
		c->p->name_only = false;
		/* one after the other is the same as one */
		if (!c->p->count || last_token(c)->kind != TOKEN_GLOBDIR)
			add_token(c, TOKEN_GLOBDIR, 0, 0);
	}
}

/* "[:alpha:]", which means something else elsewhere, at OFFSET? */
static bool is_named_class(const struct compiler *c, size_t offset)
{
	size_t end = offset + 2;

	if (c->len - offset < 4 || c->text[offset] != '[' || c->text[offset + 1] != ':')
		return false;
	while (end < c->len && c->text[end] >= 'a' && c->text[end] <= 'z')
		end++;
	return end > offset + 2 && c->len - end >= 2 && c->text[end] == ':' &&
	       c->text[end + 1] == ']';
}

/* A member of a class, which a backslash may quote; *AT is behind it then. */
static int class_member(struct compiler *c, size_t *at, unsigned char *byte)
{
	if (is_named_class(c, *at))
		return fault(c, *at,
			     "named classes are not known here: write the characters, as in "
			     "[a-zA-Z]");
	if (c->text[*at] == '\\' && *at + 1 < c->len)
		++*at;
	if (c->text[*at] == '/')
		return fault(c, *at,
			     "a class never matches a slash: write it outside of the [...]");
	*byte = (unsigned char)c->text[(*at)++];
	return 0;
}

/* One member or range of a class into SET. */
static int class_range(struct compiler *c, size_t *at, struct class *set)
{
	unsigned char first, last;
	size_t start = *at;
	int err = class_member(c, at, &first);

	last = first;
	/* a "-" in front of the "]" is one */
	if (!err && *at + 1 < c->len && c->text[*at] == '-' && c->text[*at + 1] != ']') {
		++*at;
		err = class_member(c, at, &last);
	}
	if (err)
		return err;
	if (last < first)
		return fault(c, start, "this range runs backwards: write the smaller end first");
	for (unsigned byte = first; byte <= last; byte++)
		class_add(set, (unsigned char)byte);
	return 0;
}

static int compile_class(struct compiler *c)
{
	struct class *set = &c->p->classes[c->classes];
	size_t start = c->at, at = start + 1, first;
	bool negated = at < c->len && (c->text[at] == '!' || c->text[at] == '^');
	int err;

	at += negated;
	/* a "]" in front is a member */
	for (first = at; at < c->len && (at == first || c->text[at] != ']');) {
		err = class_range(c, &at, set);
		if (err)
			return err;
	}
	if (at == c->len)
		return fault(c, start, "this '[' is not closed: add ']', or write \\[ for itself");
	for (size_t i = 0; negated && i < 4; i++)
		set->bits[i] = ~set->bits[i];
	set->bits['/' / 64] &= ~(UINT64_C(1) << '/' % 64);
	add_token(c, TOKEN_CLASS, 0, c->classes++);
	c->at = at + 1;
	return 0;
}

static int compile_next(struct compiler *c)
{
	char byte = c->text[c->at];

	switch (byte) {
	case '?':
		add_token(c, TOKEN_ANY, 0, 0);
		c->at++;
		return 0;
	case '*':
		compile_stars(c);
		return 0;
	case '[':
		return compile_class(c);
	case '\\':
		if (c->at + 1 == c->len)
			return fault(c, c->at,
				     "a backslash at the end quotes nothing: double it, "
				     "or leave it out");
		c->at += 2;
		return add_byte(c, c->at - 1, c->text[c->at - 1]);
	default:
		return add_byte(c, c->at++, byte);
	}
}

static int check_end(struct compiler *c)
{
	if (c->p->count == 0)
		return fault(c, 0,
			     "an empty pattern matches nothing: name a file, or write ** for "
			     "all");
	if (at_component(c))
		return fault(c, c->len - 1,
			     "a slash at the end matches no file: add ** for all below");
	if (is_dot_component(c))
		return fault(c, c->len - 1,
			     "no file on the mount is called \".\" or \"..\": name one");
	return 0;
}

/* COUNT tokens that are bytes, from FIRST on, to the end of what is there. */
static void copy_plain(struct pattern *p, size_t *used, size_t first, size_t count)
{
	for (size_t i = 0; i < count; i++)
		p->plain[(*used)++] = (char)p->tokens[first + i].byte;
}

static void find_plain(struct pattern *p)
{
	size_t used = 0, run = 0, longest_end = 0;

	while (p->head < p->count && p->tokens[p->head].kind == TOKEN_BYTE)
		p->head++;
	while (p->head + p->tail < p->count && p->tokens[p->count - p->tail - 1].kind == TOKEN_BYTE)
		p->tail++;
	for (size_t i = p->head; i < (size_t)(p->count - p->tail); i++) {
		run = p->tokens[i].kind == TOKEN_BYTE ? run + 1 : 0;
		if (run > p->within) {
			p->within = (uint16_t)run;
			longest_end = i + 1;
		}
	}
	copy_plain(p, &used, 0, p->head);
	copy_plain(p, &used, (size_t)(p->count - p->tail), p->tail);
	copy_plain(p, &used, longest_end - p->within, p->within);
}

/* All in one piece: the tokens, the classes, the bytes. As many of each as there can be. */
static struct pattern *allocate(const char *text, size_t len)
{
	size_t classes = 0, tokens = (len + 1) / 2 * 2 * sizeof(struct token);
	struct pattern *p;

	for (size_t i = 0; i < len; i++)
		classes += text[i] == '[';
	p = calloc(1, sizeof(*p) + tokens + classes * sizeof(struct class) + len);
	if (!p)
		return NULL;
	p->classes = (void *)((char *)p->tokens + tokens);
	p->plain = (char *)(p->classes + classes);
	p->name_only = true;
	return p;
}

int pattern_compile(const char *text, size_t len, struct pattern **out,
		    struct pattern_fault *fault_out)
{
	struct compiler c = {.text = text, .len = len, .fault = fault_out};
	int err = 0;

	if (len > PATTERN_MAX)
		return fault(&c, PATTERN_MAX, "longer than any path can be: shorten the pattern");
	c.p = allocate(text, len);
	if (!c.p)
		return -ENOMEM;
	/* where it is anchored: the mount's root */
	if (len && text[0] == '/') {
		c.p->name_only = false;
		c.at = 1;
	}
	while (!err && c.at < len)
		err = compile_next(&c);
	if (!err)
		err = check_end(&c);
	if (err) {
		free(c.p);
		return err;
	}
	find_plain(c.p);
	*out = c.p;
	return 0;
}

/* ---- matching ---- */

/* The tokens between head and tail; a set of positions among them has a bit for each, and one for
 * the end. */
#define SET_WORDS (PATTERN_MAX / 64 + 1)
struct matcher {
	const struct token *tokens;
	const struct class *classes;
	size_t count;
};

/* Arriving at a token that may stand for nothing is arriving at the next one too. */
static void arrive(const struct matcher *m, uint64_t *set, size_t i)
{
	for (;; i++) {
		set[i / 64] |= UINT64_C(1) << i % 64;
		if (i == m->count || m->tokens[i].kind < TOKEN_STAR)
			return;
	}
}

static void step(const struct matcher *m, size_t i, unsigned char byte, uint64_t *next)
{
	const struct token *t = &m->tokens[i];

	switch ((enum token_kind)t->kind) {
	case TOKEN_BYTE:
		if (byte == t->byte)
			arrive(m, next, i + 1);
		break;
	case TOKEN_ANY:
		if (byte != '/')
			arrive(m, next, i + 1);
		break;
	case TOKEN_CLASS:
		if (class_has(&m->classes[t->class], byte))
			arrive(m, next, i + 1);
		break;
	case TOKEN_STAR:
		if (byte != '/')
			arrive(m, next, i);
		break;
	case TOKEN_GLOBSTAR:
		arrive(m, next, i);
		break;
	case TOKEN_GLOBDIR:
		/* no arrival: in the midst of a component it cannot end */
		next[i / 64] |= UINT64_C(1) << i % 64;
		if (byte == '/')
			arrive(m, next, i + 1);
		break;
	}
}

static bool match_middle(const struct pattern *p, const char *path, size_t len)
{
	struct matcher m = {.tokens = p->tokens + p->head,
			    .classes = p->classes,
			    .count = (size_t)(p->count - p->head - p->tail)};
	size_t words = m.count / 64 + 1;
	/* as little of them is touched as the pattern needs: most need one word */
	uint64_t sets[2][SET_WORDS], *now = sets[0], *next = sets[1];

	for (size_t w = 0; w < words; w++)
		now[w] = next[w] = 0;
	arrive(&m, now, 0);
	for (size_t at = 0; at < len; at++) {
		uint64_t *spent = now, any = 0;

		for (size_t w = 0; w < words; w++)
			for (uint64_t bits = now[w]; bits; bits &= bits - 1) {
				size_t i = w * 64 + (size_t)__builtin_ctzll(bits);

				if (i < m.count)
					step(&m, i, (unsigned char)path[at], next);
			}
		for (size_t w = 0; w < words; w++) {
			any |= next[w];
			spent[w] = 0;
		}
		if (!any)
			return false;
		now = next;
		next = spent;
	}
	return now[m.count / 64] >> m.count % 64 & 1;
}

bool pattern_matches(const struct pattern *p, const char *path, size_t len, size_t name)
{
	size_t head = p->head, tail = p->tail;

	if (p->name_only) {
		path += name;
		len -= name;
	}
	if (len < head + tail || memcmp(path, p->plain, head) != 0 ||
	    memcmp(path + len - tail, p->plain + head, tail) != 0)
		return false;
	path += head;
	len -= head + tail;
	if (head + tail == p->count)
		return len == 0;
	if (head + tail + 1 == p->count && p->tokens[head].kind == TOKEN_STAR)
		return !memchr(path, '/', len);
	if (p->within && !memmem(path, len, p->plain + head + tail, p->within))
		return false;
	return match_middle(p, path, len);
}
