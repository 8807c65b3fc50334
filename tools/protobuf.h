/* SPDX-License-Identifier: MIT */
/*
 * Protocol buffers, written: a message is a run of bytes that grows. Field numbers
 * are those of the format that is written; a message in another is one of its texts.
 */
#ifndef ANONNAME_TOOLS_PROTOBUF_H
#define ANONNAME_TOOLS_PROTOBUF_H

#include "../src/read/text.h"

struct message {
	char *bytes;
	size_t len, room;
	bool failed;                /* no memory: what comes after is not added */
};

void message_number(struct message *message, unsigned field, uint64_t value);
void message_text(struct message *message, unsigned field, struct text text);

/* A number without its field: several of them are what a packed field holds. */
void message_varint(struct message *message, uint64_t value);

/* One message as a field of another. The inner one is empty then, and its memory is used again. */
void message_put(struct message *message, unsigned field, struct message *inner);
void message_free(struct message *message);

#endif
