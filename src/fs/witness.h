/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The kernel tells an error of write-back once to each struct file that was open before (errseq_t,
 * file_check_and_advance_wb_err() in mm/filemap.c of Linux 6.18). A worker that is killed between
 * fsync(2) and its note of the error has used that one telling up, and the flush that comes again
 * would succeed. So an open file gets one more descriptor, which nobody flushes, before it is
 * flushed for the first time through one of its handles: who comes next asks it. (An error that
 * nobody has been told of by then is told to it, too. Not at the open: that makes one of 43 us 3 us
 * longer.)
 */
#ifndef CACHEFS_FS_WITNESS_H
#define CACHEFS_FS_WITNESS_H

struct file;
struct fs;

/*
 * F, which the caller has open, has a witness from now on, with fs_config.witness. Before whatever
 * asks the kernel for an error on a descriptor of a handle: fsync(2), a write with RWF_DSYNC,
 * flush_check(), flush_drop_cache(). Where none can be opened there is none. Any thread; does no
 * I/O.
 */
void witness_open(struct fs *fs, struct file *f);
/* flush_drop_cache() of FD, a handle's of F, with a witness: that uses an error up, too. */
int file_drop_cache(struct fs *fs, struct file *f, int fd);
/* What F's witness of a worker before us knows is latched. Does not block. */
void witness_ask(struct file *f);
/* The descriptor, for who closes it, or -1: from now on there is none. */
int witness_withdraw(struct file *f);

/* The same for the whole backing, whose errors syncfs(2) tells. */
void witness_sync_open(struct fs *fs);
void witness_sync_close(struct fs *fs);
/* Once after a resume; 0 or a positive errno. Blocks as syncfs(2) after syncfs(2) does. */
int witness_sync_ask(struct fs *fs);

#endif
