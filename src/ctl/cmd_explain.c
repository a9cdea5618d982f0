/* SPDX-License-Identifier: GPL-2.0-or-later */
/* explain: needs no mount. */
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "config/mode.h"
#include "config/suggest.h"
#include "ctl/ctl.h"
#include "ctl/explain.h"
#include "ctl/table.h"
#include "ctl/term.h"
#include "ctl/text.h"

#define BLOCKDEV(direct)                                                                           \
	"-blockdev driver=file,cache.direct=" direct                                               \
	",cache.no-flush=off,... -device ...,write-cache=on"

/* cache= of the hypervisor decides only what the guest is told, and how the file is opened. */
static const struct mode_explanation explanations[] = {
    {"writethrough", "used", "it is on stable storage", "executed", "writeback", BLOCKDEV("off"),
     "cache='writeback' io='threads' discard='unmap'",
     "Each write is durable already, so the guest's flushes find little to do. For a guest that "
     "never flushes, QEMU's writethrough hides the cache from it, at two flushes a write."},
    {"writeback", "used", "it is in the host page cache", "honoured", "writeback", BLOCKDEV("off"),
     "cache='writeback' io='threads' discard='unmap'",
     "The guest is told of a volatile cache and flushes it; these flushes are what makes its data "
     "durable."},
    {"none", "bypassed", "the device has it, perhaps in its volatile cache", "honoured", "none",
     BLOCKDEV("on"), "cache='none' io='native' discard='unmap'",
     "The device's own cache may be volatile, so the guest must flush. Nothing of the image stays "
     "in this host's memory, which migration needs."},
    {"directsync", "bypassed", "it is on stable storage", "executed", "none", BLOCKDEV("on"),
     "cache='none' io='native' discard='unmap'",
     "Each write is durable already. QEMU's directsync would flush each write a second time; take "
     "it only to hide the cache from a guest that never flushes."},
    {"unsafe", "used", "it is in the host page cache", "dropped", "writeback", BLOCKDEV("off"),
     "cache='writeback' io='threads' discard='unmap'",
     "The guest goes on flushing, so that a switch to a safe mode is safe at once. QEMU's own "
     "unsafe would drop the flushes before cachefs sees them. For data that can be made again."},
};

const struct mode_explanation *explain_mode(const char *mode)
{
	for (size_t i = 0; i < ARRAY_SIZE(explanations); i++)
		if (strcmp(explanations[i].mode, mode) == 0)
			return &explanations[i];
	return NULL;
}

static const char *on_off(bool on)
{
	return on ? "on" : "off";
}

static void explain_all(void)
{
	static const struct table_column columns[] = {
	    {.title = "MODE"},
	    {.title = "PAGE CACHE"},
	    {.title = "A WRITE COMPLETES WHEN", .shorten = true},
	    {.title = "A FLUSH IS"},
	    {.title = "cache.direct", .drop = 1},
	    {.title = "cache.writeback", .drop = 1},
	    {.title = "cache.no-flush", .drop = 1},
	};
	struct table *t = table_new(columns, ARRAY_SIZE(columns));

	for (size_t i = 0; i < cache_modes_count; i++) {
		const struct cache_mode *m = &cache_modes[i];
		const struct mode_explanation *e = explain_mode(m->name);

		table_add(t, (struct table_cell[]){{m->name, COLOUR_BOLD},
						   {e->page_cache, COLOUR_NONE},
						   {e->completes, COLOUR_NONE},
						   {e->flush, COLOUR_NONE},
						   {on_off(m->switches.direct), COLOUR_NONE},
						   {on_off(m->switches.writeback), COLOUR_NONE},
						   {on_off(m->switches.no_flush), COLOUR_NONE}});
	}
	table_print(t, stdout, term_width(), 0, term_colours());
	table_free(t);
	printf("\ncachefsctl explain MODE: the settings of QEMU and libvirt that fit.\n");
}

static void explain_one(const struct cache_mode *m)
{
	const struct mode_explanation *e = explain_mode(m->name);

	printf("%s: %s\n\n", m->name, m->summary);
	printf("  cache.direct=%s  cache.writeback=%s  cache.no-flush=%s\n",
	       on_off(m->switches.direct), on_off(m->switches.writeback),
	       on_off(m->switches.no_flush));
	printf("  host page cache          %s\n", e->page_cache);
	printf("  a write completes when   %s\n", e->completes);
	printf("  a flush is               %s\n\n", e->flush);
	printf("  QEMU     -drive file=...,cache=%s\n", e->qemu);
	printf("           %s\n", e->blockdev);
	printf("  libvirt  <driver name='qemu' %s/>\n\n", e->libvirt);
	text_wrap(stdout, e->why, 2, term_width());
}

int cmd_explain(const struct ctl_args *a)
{
	const char *name = a->words_count ? a->words[0] : NULL;
	struct suggestion s;

	if (!name) {
		explain_all();
		return CTL_OK;
	}
	suggest_begin(&s, name, strlen(name));
	for (size_t i = 0; i < cache_modes_count; i++) {
		if (strcmp(cache_modes[i].name, name) == 0) {
			explain_one(&cache_modes[i]);
			return CTL_OK;
		}
		suggest_offer(&s, cache_modes[i].name);
	}
	if (s.best)
		complain(name, "no such mode: is \"%s\" meant?", s.best);
	else
		complain(name, "no such mode: see cachefsctl explain");
	return CTL_USAGE;
}
