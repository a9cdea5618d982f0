/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the files of the crash marker share: marker.c and marker_names.c (what others call),
 * marker_turn.c (who writes it when), marker_model.c and marker_files.c (what it says),
 * marker_text.c (as text).
 */
#ifndef CACHEFS_DURABILITY_MARKER_INTERNAL_H
#define CACHEFS_DURABILITY_MARKER_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>

#define HASH_NONFATAL_OOM 1
#include <uthash.h>

#include "durability/marker.h"

#define MARKER_NAME "crash-marker"
#define MARKER_BOOT_SIZE 64 /* bytes of a boot id, with its NUL */
/* Of an earlier boot or with an error, at most; then they become one that says "mount". */
#define MARKER_SECTIONS_MAX 16
/* The most that we write is (MARKER_SECTIONS_MAX + 2) × (1 MiB + 3/4 MiB of trusted files). */
#define MARKER_SIZE_MAX (32u << 20)
#define SECTION_TEXT_MAX (1u << 20)
#define SECTION_TRUSTED_MAX (768u << 10)

struct pattern;

struct named_file {
	UT_hash_handle hh; /* by its id, or by its path where it has none */
	struct file_id id;
	char path[];
};

struct named_pattern {
	struct named_pattern *next;
	struct pattern *compiled;
	char text[];
};

enum section_state {
	SECTION_TAINTED,
	SECTION_LEFT,  /* of this boot, by a process that died */
	SECTION_ACTIVE /* ours */
};

struct section {
	struct section *next;
	enum section_state state;
	char boot[MARKER_BOOT_SIZE];
	struct timespec since, seen; /* CLOCK_REALTIME; seen.tv_sec 0: not yet */
	bool error, mount;
	bool every_path; /* has the pattern "**" */
	struct named_pattern *patterns;
	unsigned pattern_count;
	unsigned moved; /* files that marker_begin_name() has added; not written */
	struct named_file *files, *trusted;
	size_t text_size, trusted_size; /* estimates, from above */
};

/* What the marker says. It does not change once others can see it. */
struct model {
	atomic_uint users;
	struct section *sections; /* oldest first */
};

/* ---- marker_files.c ---- */

struct named_file *files_find(struct named_file *files, const struct file_id *id, const char *path);
/* 0 or -ENOMEM */
int files_add(struct named_file **files, const struct file_id *id, const char *path);
void files_free(struct named_file **files);
/* Of a line about a file, or a pattern: an estimate from above. */
size_t files_text_size(const char *path);
/* Is the file of ID and PATHS (any of them; a list, or NULL) among FILES? */
bool files_have(struct named_file *files, const struct file_id *id, const char *paths);
/* Trusted is what was named, and by nothing weaker than its id. */
bool files_trust(struct named_file *files, const struct file_id *id, const char *paths);

/* ---- marker_model.c: no system calls. Negative errno: -ENOMEM where nothing else is said ---- */

struct model *model_new(void);
struct model *model_ref(struct model *m);
void model_unref(struct model *m);
struct model *model_clone(const struct model *m);
bool model_has(const struct model *m, enum section_state state);
/* The first in STATE, or NULL. */
struct section *model_find(const struct model *m, enum section_state state);
/* At the end; NULL: no memory. */
struct section *model_add(struct model *m, enum section_state state, const char *boot,
			  struct timespec since);
/* Those in STATE go; how many. */
unsigned model_drop(struct model *m, enum section_state state);
/* Those left on this boot become one that is active. 0 or -ENOMEM */
int model_adopt_left(struct model *m);
/* Those that concern nothing go; how many. */
unsigned model_drop_empty(struct model *m);
/* More tainted sections than allowed become one of the whole mount. 1: they have, 0 or -ENOMEM */
int model_limit(struct model *m);

/* 1: C is in S from now on, 0: it was; -EINVAL: no such pattern. On errors nothing has changed. */
int section_add(struct section *s, const struct concerned *c);
bool section_covers(const struct section *s, const struct concerned *c);
/* All that SRC concerns, S does too. */
int section_absorb(struct section *s, const struct section *src);
/* Does a pattern of S match one of PATHS? Without any it may. */
bool section_matches(const struct section *s, const char *paths);
bool section_concerns(const struct section *s, const struct file_id *id, const char *paths,
		      const struct statx *st, struct timespec now);
/* 1: from now on, 0: it was or is not concerned. -EFBIG: too many of them. */
int section_trust(struct section *s, const struct file_id *id, const char *path);
/* A new error concerns C, whatever was trusted before. */
void section_distrust(struct section *s, const struct concerned *c);

/* ---- marker_text.c ---- */

void marker_quote(FILE *f, const char *text);
void marker_time(FILE *f, struct timespec t);
/* To be freed. */
int model_format(const struct model *m, char **text, size_t *len);
/*
 * Sections of another boot than BOOT, and those with an error, are tainted, the others left.
 * -EINVAL: no marker that we wrote, *LINE is where (from 1) and *WHAT (static) why.
 */
int model_parse(const char *text, size_t len, const char *boot, struct model **out, unsigned *line,
		const char **what);
/* As marker_describe(). */
void model_describe(const struct model *m, char *buf, size_t size);
bool boot_id_valid(const char *boot, size_t len);

/* ---- marker_turn.c ---- */

/* 1: NEXT is changed, 0: it need not be; a negative errno. */
typedef int (*change_fn)(struct marker *m, struct model *next, const void *arg);

/* One change that somebody waits for; on the waiter's stack. */
struct change {
	change_fn apply;
	const void *arg;
	struct change *next;
	int result;
	bool done;
};

/*
 * Whoever finds nobody writing takes all changes that wait, makes the next model from the current
 * one, writes it, and shows it to the others. So a change that fails has not happened.
 *
 * The two locks are held for memory only, and never together.
 */
struct marker {
	struct private_dir *own;
	char boot[MARKER_BOOT_SIZE];

	pthread_mutex_t mutex; /* busy and the changes */
	pthread_cond_t turned;
	bool busy; /* somebody writes: has the turn */
	struct change *changes, **last;
	bool owner;	/* turn */
	bool uncertain; /* turn; what is in the directory may not be the model */
	bool adopted;	/* turn; the same: it may not be on stable storage */
	bool waited;	/* turn; in vain for another owner */
	int complained; /* turn; errno of what was logged last, 0: nothing since it worked */

	pthread_rwlock_t lock;	/* the three below */
	struct model *model;	/* what is written */
	struct section *active; /* of it, or NULL; what it covers need not be written again */
	bool covering;		/* ACTIVE can be relied on */
	atomic_ullong begun;	/* calls of marker_begin() */
	atomic_bool tainted;
	atomic_bool inherited;
};

/* Durably changed as APPLY does, together with what others want. May block. */
int marker_change(struct marker *m, change_fn apply, const void *arg);
/* What is written. -ENOENT: no marker; or an error that says nothing of the marker's text. */
int marker_load(struct marker *m, struct model **out);
/* Others see NEXT (consumed), which is what is written, from now on. */
void marker_install(struct marker *m, struct model *next, bool covering);
/* marker.c: the section of this boot; NULL: no memory. */
struct section *marker_section(struct marker *m, struct model *next);
/* Whole seconds, for people. */
struct timespec marker_now(void);

#endif
