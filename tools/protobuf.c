/* SPDX-License-Identifier: MIT */
/* Protocol buffers, written. See protobuf.h. */
#include "protobuf.h"

#include <stdlib.h>

#define VARINT_MAX 10           /* bytes of a number of 64 bits, 7 in each */

enum wire { VARINT = 0, LENGTH = 2 };

static bool reserve(struct message *message, size_t more)
{
	size_t room = message->room ? message->room : 256;
	char *grown;

	while (room < message->len + more)
		room *= 2;
	if (message->failed || room == message->room)
		return !message->failed;
	grown = realloc(message->bytes, room);
	message->failed = !grown;
	if (!grown)
		return false;
	message->bytes = grown;
	message->room = room;
	return true;
}

/* The lowest seven bits first; the eighth says that more come. */
static void add_varint(struct message *message, uint64_t value)
{
	for (; value >> 7; value >>= 7)
		message->bytes[message->len++] = (char)(value | 0x80);
	message->bytes[message->len++] = (char)value;
}

void message_number(struct message *message, unsigned field, uint64_t value)
{
	if (!reserve(message, 2 * VARINT_MAX))
		return;
	add_varint(message, (uint64_t)field << 3 | VARINT);
	add_varint(message, value);
}

void message_varint(struct message *message, uint64_t value)
{
	if (reserve(message, VARINT_MAX))
		add_varint(message, value);
}

void message_text(struct message *message, unsigned field, struct text text)
{
	if (!reserve(message, 2 * VARINT_MAX + text.len))
		return;
	add_varint(message, (uint64_t)field << 3 | LENGTH);
	add_varint(message, text.len);
	if (text.len)
		memcpy(message->bytes + message->len, text.at, text.len);
	message->len += text.len;
}

void message_put(struct message *message, unsigned field, struct message *inner)
{
	message->failed = message->failed || inner->failed;
	message_text(message, field, (struct text){ inner->bytes, inner->len });
	inner->len = 0;
}

void message_free(struct message *message)
{
	free(message->bytes);
	*message = (struct message){ 0 };
}
