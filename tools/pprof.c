/* SPDX-License-Identifier: MIT */
/* A profile for pprof. See pprof.h. */
#include "pprof.h"

#include "../src/read/list.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

/* The fields of profile.proto that are used. */
enum profile_field { PROFILE_SAMPLE_TYPE = 1, PROFILE_SAMPLE = 2, PROFILE_LOCATION = 4, PROFILE_FUNCTION = 5, PROFILE_STRING = 6,
	PROFILE_TIME = 9, PROFILE_PERIOD_TYPE = 11, PROFILE_PERIOD = 12 };
enum type_field { TYPE_NAME = 1, TYPE_UNIT = 2 };
enum sample_field { SAMPLE_LOCATION = 1, SAMPLE_VALUE = 2, SAMPLE_LABEL = 3 };
enum label_field { LABEL_KEY = 1, LABEL_NUMBER = 3 };
enum location_field { LOCATION_ID = 1, LOCATION_LINE = 4 };
enum line_field { LINE_FUNCTION = 1 };
enum function_field { FUNCTION_ID = 1, FUNCTION_NAME = 2 };

/* --- strings ---------------------------------------------------------------------------- */

static uint32_t *find_slot(const struct pprof *pprof, struct text text)
{
	size_t at = text_hash(text) & (pprof->slots - 1);

	while (pprof->slot[at] && !text_is(text, pprof->string[pprof->slot[at] - 1]))
		at = (at + 1) & (pprof->slots - 1);
	return &pprof->slot[at];
}

/* Half of the slots stay empty, so a search ends soon. */
static bool grow_slots(struct pprof *pprof)
{
	size_t slots = pprof->slots ? 2 * pprof->slots : 256;
	uint32_t *slot;

	if (pprof->strings * 2 < pprof->slots)
		return true;
	slot = calloc(slots, sizeof(*slot));
	if (!slot)
		return false;
	free(pprof->slot);
	pprof->slot = slot;
	pprof->slots = slots;
	for (size_t i = 0; i < pprof->strings; i++)
		*find_slot(pprof, (struct text){ pprof->string[i], strlen(pprof->string[i]) }) = (uint32_t)i + 1;
	return true;
}

/* The number of a string; 0, which is the empty one, where there is no memory. */
static uint64_t string_of(struct pprof *pprof, const char *text)
{
	char **grown;
	uint32_t *slot;

	if (!grow_slots(pprof)) {
		pprof->failed = true;
		return 0;
	}
	slot = find_slot(pprof, (struct text){ text, strlen(text) });
	if (*slot)
		return *slot - 1;
	grown = list_grown(pprof->string, pprof->strings, &pprof->room, sizeof(*grown), 64, UINT32_MAX / 2);
	if (grown) {
		pprof->string = grown;
		pprof->string[pprof->strings] = strdup(text);
	}
	if (!grown || !pprof->string[pprof->strings]) {
		pprof->failed = true;
		return 0;
	}
	*slot = (uint32_t)++pprof->strings;
	return *slot - 1;
}

/* The format wants the empty string to be the first. */
static void begin(struct pprof *pprof)
{
	if (!pprof->strings)
		string_of(pprof, "");
}

/* --- stacks ----------------------------------------------------------------------------- */

static void add_pid(struct pprof *pprof, struct message *sample, pid_t pid)
{
	struct message label = { 0 };

	message_number(&label, LABEL_KEY, string_of(pprof, "pid"));
	message_number(&label, LABEL_NUMBER, (uint64_t)pid);
	message_put(sample, SAMPLE_LABEL, &label);
	message_free(&label);
}

static int add_row(void *context, const struct measured *process, const struct name_row *row)
{
	static struct name_parts parts;
	struct pprof *pprof = context;
	struct message sample = { 0 };

	if (row->figures.unknown & FIG_BIT(pprof->figure)) {
		pprof->unknown++;
		return 0;
	}
	if (!row->figures.value[pprof->figure])
		return 0;
	name_split(row, pprof->fold, &parts);
	/* The innermost comes first. */
	const char *const frames[] = { parts.detail, parts.thing, parts.owner, *process->comm ? process->comm : "?" };

	for (size_t i = 0; i < sizeof(frames) / sizeof(*frames); i++)
		if (*frames[i])
			message_number(&sample, SAMPLE_LOCATION, string_of(pprof, frames[i]));
	message_number(&sample, SAMPLE_VALUE, (uint64_t)json_bytes(row->figures.value[pprof->figure]));
	if (!pprof->fold && process->pid)
		add_pid(pprof, &sample, process->pid);
	message_put(&pprof->profile, PROFILE_SAMPLE, &sample);
	message_free(&sample);
	return 0;
}

int pprof_process(void *context, const struct measured *process)
{
	begin(context);
	return measured_each_row(process, add_row, context);
}

/* --- the document ----------------------------------------------------------------------- */

static void add_type(struct pprof *pprof, enum profile_field field, const char *name)
{
	struct message type = { 0 };

	message_number(&type, TYPE_NAME, string_of(pprof, name));
	message_number(&type, TYPE_UNIT, string_of(pprof, "bytes"));
	message_put(&pprof->profile, field, &type);
	message_free(&type);
}

/* A frame is a function with one place. Those that no sample has harm nobody. */
static void add_frame(struct pprof *pprof, uint64_t id)
{
	struct message function = { 0 }, location = { 0 }, line = { 0 };

	message_number(&function, FUNCTION_ID, id);
	message_number(&function, FUNCTION_NAME, id);
	message_put(&pprof->profile, PROFILE_FUNCTION, &function);
	message_number(&line, LINE_FUNCTION, id);
	message_number(&location, LOCATION_ID, id);
	message_put(&location, LOCATION_LINE, &line);
	message_put(&pprof->profile, PROFILE_LOCATION, &location);
	message_free(&function);
	message_free(&location);
	message_free(&line);
}

static void put_little(FILE *out, uint32_t value, unsigned bytes)
{
	for (unsigned i = 0; i < bytes; i++)
		putc((int)(value >> (8 * i) & 0xff), out);
}

static uint32_t crc_of(const char *bytes, size_t len)
{
	uint32_t crc = UINT32_MAX;

	for (size_t i = 0; i < len; i++) {
		crc ^= (unsigned char)bytes[i];
		for (unsigned bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? 0xedb88320U : 0);
	}
	return ~crc;
}

/* RFC 1952 with what RFC 1951 calls stored blocks: the format asks for gzip, not for less space. */
static void write_gzip(FILE *out, const char *bytes, size_t len)
{
	static const char header[] = "\x1f\x8b\x08\0\0\0\0\0\0\xff";
	size_t left = len, block;

	fwrite(header, 1, sizeof(header) - 1, out);
	do {
		block = left < UINT16_MAX ? left : UINT16_MAX;
		left -= block;
		putc(left ? 0 : 1, out);
		put_little(out, (uint32_t)block, 2);
		put_little(out, ~(uint32_t)block, 2);
		fwrite(bytes + len - left - block, 1, block, out);
	} while (left);
	put_little(out, crc_of(bytes, len), 4);
	put_little(out, (uint32_t)len, 4);
}

int pprof_write(FILE *out, struct pprof *pprof, const char *figure)
{
	struct message *profile = &pprof->profile;
	struct timespec now;

	begin(pprof);
	clock_gettime(CLOCK_REALTIME, &now);
	add_type(pprof, PROFILE_SAMPLE_TYPE, figure);
	add_type(pprof, PROFILE_PERIOD_TYPE, figure);
	message_number(profile, PROFILE_PERIOD, 1);
	message_number(profile, PROFILE_TIME, (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec);
	for (size_t i = 1; i < pprof->strings; i++)
		add_frame(pprof, i);
	for (size_t i = 0; i < pprof->strings; i++)
		message_text(profile, PROFILE_STRING, (struct text){ pprof->string[i], strlen(pprof->string[i]) });
	if (pprof->failed || profile->failed)
		return -ENOMEM;
	write_gzip(out, profile->bytes, profile->len);
	return 0;
}

void pprof_free(struct pprof *pprof)
{
	for (size_t i = 0; i < pprof->strings; i++)
		free(pprof->string[i]);
	free(pprof->string);
	free(pprof->slot);
	message_free(&pprof->profile);
}
