/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What is owed to a file, or for the mount, whoever serves it: in records that outlive a worker
 * (fs/shared.h). What is promised to a client is noted here before the client is told.
 */
#ifndef CACHEFS_FS_OWES_H
#define CACHEFS_FS_OWES_H

#include <stdatomic.h>
#include <stdint.h>

#define OWES_MODE 0x8000 /* | origin << 8 | switches_pack(): a mode, and where it comes from */

#define OWES_WANTED 0x80
#define OWES_NO_DIO 0xff /* of dio_offset: the file can do none */

/* Of node_record.sync_attr */
enum {
	OWES_ATTR_NONE,
	OWES_ATTR_SET,	   /* we have set it, and it stays so while the file is open */
	OWES_ATTR_CHANGING /* the inode may have it from us; nobody relies on it */
};

/* Part of a node's record, beside what stands there. */
struct node_owes {
	atomic_int witness;   /* a descriptor that nobody flushes + 1, or 0. witness.h */
	atomic_uchar barrier; /* as file->owed; before the mode is in force */
	/* The next three: 0 where it is not known (they were padding before). file->lock */
	atomic_uchar wanted; /* file->wanted: OWES_WANTED | origin << 3 | switches_pack() */
	/* Of direct I/O: the binary logarithm of file->dio_mem and dio_offset, + 1 */
	atomic_uchar dio_mem, dio_offset;
};

/* Of unsafe.c */
enum {
	OWES_UNSAFE_MET = 1,	     /* what an earlier mount left was dealt with, and... */
	OWES_UNSAFE_MET_TAINTED = 2, /* ...made files of it concerned */
	OWES_UNSAFE_REFUSE_ALL = 4,
	OWES_UNSAFE_TRUST_ALL = 8,
	OWES_UNSAFE_FAILED = 16,
	OWES_UNSAFE_UNTOLD = 32 /* that it failed, to the marker */
};

/* Part of the mount's state. */
struct fs_owes {
	atomic_uint unsafe;	  /* OWES_UNSAFE_ */
	atomic_uint failed_files; /* whose flush after the last close failed, not trusted since */
	atomic_uint switches;  /* OWES_MODE | the mount's; 0: those of the options. fs->changes */
	atomic_uint switching; /* OWES_MODE | what they were, until all files have others */
	atomic_int sync_fd;    /* of the backing + 1, whose error of syncfs(2) nobody asks for */
};

#endif
