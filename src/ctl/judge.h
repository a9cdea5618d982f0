/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What doctor makes of what it saw: pure functions over two looks at a file.
 */
#ifndef CACHEFS_CTL_JUDGE_H
#define CACHEFS_CTL_JUDGE_H

#include "ctl/file_status.h"

/* X(id, name, what it means, what to do) */
#define FINDINGS(X)                                                                                \
	X(NEVER_FLUSHES, "never-flushes",                                                          \
	  "the mode waits for flushes that do not come: the hypervisor runs with cache=unsafe, "   \
	  "or "                                                                                    \
	  "the guest has no barriers; a crash of the host loses what was written",                 \
	  "set the hypervisor's cache mode as \"cachefsctl explain\" says; for a guest that "      \
	  "never "                                                                                 \
	  "flushes take writethrough or directsync")                                               \
	X(DIRECT_CACHED, "direct-cached",                                                          \
	  "harmless: the mode wins, so the host's page cache is used all the same",                \
	  "switch to none or directsync if it should be bypassed")                                 \
	X(AIO_CACHED, "aio-cached",                                                                \
	  "asynchronous I/O pays with a direct mode: in the page cache aio=native may wait in "    \
	  "io_submit(2), and io_uring goes through the kernel's worker threads",                   \
	  "switch to none or directsync, or take aio=threads in QEMU (io='threads' in libvirt)")   \
	X(FLUSH_RATE, "flush-rate",                                                                \
	  "the device cannot sustain the rate: its writers do little but wait for flushes",        \
	  "a device with a protected write cache; fewer flushes by the guest; unsafe for data "    \
	  "that can be made again")                                                                \
	X(DIRTY_GROWS, "dirty-grows",                                                              \
	  "more is written than reaches the storage: a crash of the host, or the next flush, "     \
	  "costs as much",                                                                         \
	  "cachefsctl flush, a bound with dirty-limit= or dirty-max=, or mode none")               \
	X(UNALIGNED, "unaligned",                                                                  \
	  "each such write reads the blocks around it first and keeps its neighbours waiting",     \
	  "give the guest the alignment: logical_block_size= and physical_block_size= of the "     \
	  "device in QEMU (<blockio> in libvirt), partitions at 1 MiB")                            \
	X(TWO_MODES, "two-modes",                                                                  \
	  "what one mount promises the other need not keep: pages cached by the one are not seen " \
	  "by the other's direct I/O before they are flushed",                                     \
	  "use one of the two mounts, or give the file the same mode on both")                     \
	X(LEADS_PAST, "leads-past",                                                                \
	  "I/O there goes past the mount: no mode of cachefs holds for it",                        \
	  "mount the directory, or one above it that has the target too, over itself (SOURCE and " \
	  "MOUNTPOINT the same), or move the target below it and make the name relative "          \
	  "(qemu-img rebase -u)")                                                                  \
	X(FLUSH_FAILED, "flush-failed",                                                            \
	  "data may be lost; every flush of the file fails until all have closed it",              \
	  "look at the device (dmesg), stop the guest, check the image (qemu-img check)")          \
	X(TAINTED, "tainted",                                                                      \
	  "the host went down while data of it was not flushed: its contents may be of different " \
	  "times",                                                                                 \
	  "check the image, or make it again (see after-crash in mount.cachefs(8))")               \
	X(PENDING, "pending", "an open on the kernel path keeps the mode that it was made in",     \
	  "have all clients close the file: the new mode holds then")

#define FINDING_ENUM_(id, name, means, advice) FINDING_##id,
enum finding_id { FINDINGS(FINDING_ENUM_) FINDINGS_COUNT };

struct finding_text {
	const char *name, *means, *advice;
};
extern const struct finding_text finding_texts[FINDINGS_COUNT];

struct finding {
	enum finding_id id;
	char *seen; /* owned */
};

struct findings {
	struct finding *list; /* owned */
	size_t count;
};

/* SEEN is owned by F from then on. */
void findings_add(struct findings *f, enum finding_id id, char *seen);
void findings_free(struct findings *f);

/* How a client submits its I/O, as bits; of the process, so it may be for another file. */
enum { CLIENT_AIO = 1, CLIENT_URING = 2 };

struct evidence {
	const struct file_status *before, *after; /* BEFORE NULL: seen once */
	double seconds;				  /* between the two */
	unsigned client_io;
	const char *client; /* "process 12 (qemu)"; NULL: none with CLIENT_ bits */
};

/*
 * The mode that results from the mount and its clients together, as switches; -1: not known. Where
 * it is another than the file's, *WHY says so, else it is NULL.
 */
int effective_switches(const struct file_status *f, const char **why);

/* Adds to OUT. */
void judge(const struct evidence *e, struct findings *out);

#endif
