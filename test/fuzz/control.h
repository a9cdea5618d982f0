/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A served directory without a kernel, for targets that send requests: a file that is open twice, a
 * directory, the root. What a request says of its own sizes ends where its heap block ends.
 */
#ifndef TEST_FUZZ_CONTROL_H
#define TEST_FUZZ_CONTROL_H

#include <stddef.h>
#include <stdint.h>

#include "cachefs.h"
#include "fuse/abi.h"

/* Nodes and handles that an input can choose; NOWHERE is none. */
enum control_place { CONTROL_ROOT, CONTROL_FILE, CONTROL_DIRECTORY, CONTROL_NOWHERE };

struct control_reply {
	int error;   /* of the header: 0 or a negative errno */
	size_t size; /* bytes behind it */
	uint8_t data[16384];
};

/* Chooses by a byte. */
uint64_t control_node(uint8_t which);
uint64_t control_handle(uint8_t which);
uint32_t control_uid(uint8_t which);

/* Sends ARGS (SIZE bytes) to NODE and waits; FUZZ_CHECKs that there is one reply. */
const struct control_reply *control_send(uint32_t opcode, uint64_t node, uint32_t uid,
					 const void *args, size_t size);

/* The directory is served from the first call on, until the process ends. */
void control_start(void);

#endif
