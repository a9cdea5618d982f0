/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a mode means, and what fits it in the hypervisor: a table beside CACHE_MODES. */
#ifndef CACHEFS_CTL_EXPLAIN_H
#define CACHEFS_CTL_EXPLAIN_H

struct mode_explanation {
	const char *mode; /* a name of CACHE_MODES */
	const char *page_cache, *completes, *flush;
	const char *qemu;     /* cache= of -drive */
	const char *blockdev; /* of -blockdev and -device */
	const char *libvirt;  /* attributes of <driver> */
	const char *why;
};

/* NULL for no mode's name. */
const struct mode_explanation *explain_mode(const char *mode);

#endif
