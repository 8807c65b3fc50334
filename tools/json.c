/* SPDX-License-Identifier: MIT */
/* Writes JSON piece by piece. See json.h. */
#include "json.h"
#include "tool.h"

json_int_t json_bytes(uint64_t value)
{
	return value > INT64_MAX ? INT64_MAX : (json_int_t)value;
}

static void new_line(const struct json_out *json)
{
	if (!json->one_line)
		fprintf(json->out, "\n%*s", (int)json->depth, "");
}

/* What comes before a value: a comma, a line and a key. Keys are ours, and plain. */
static void before_value(struct json_out *json, const char *key)
{
	if (json->more)
		fputs(json->one_line ? ", " : ",", json->out);
	if (json->depth)
		new_line(json);
	if (key)
		fprintf(json->out, "\"%s\": ", key);
	json->more = true;
}

static void begin(struct json_out *json, const char *key, char bracket)
{
	before_value(json, key);
	fputc(bracket, json->out);
	json->depth++;
	json->more = false;
}

static void end(struct json_out *json, char bracket)
{
	json->depth--;
	if (json->more)
		new_line(json);
	fputc(bracket, json->out);
	json->more = true;
	if (!json->depth)
		fputc('\n', json->out);
}

void json_object_begin(struct json_out *json, const char *key) { begin(json, key, '{'); }
void json_list_begin(struct json_out *json, const char *key) { begin(json, key, '['); }
void json_object_end(struct json_out *json) { end(json, '}'); }
void json_list_end(struct json_out *json) { end(json, ']'); }

void json_put(struct json_out *json, const char *key, json_t *value)
{
	before_value(json, key);
	if (!value || json_dumpf(value, json->out, JSON_ENCODE_ANY | JSON_PRESERVE_ORDER))
		json->failed = !ferror(json->out);
	json_decref(value);
}

void json_text(FILE *out, const char *text)
{
	if (!text) {
		fputs("null", out);
		return;
	}
	putc('"', out);
	for (; *text; text++) {
		if (*text == '"' || *text == '\\')
			putc('\\', out);
		putc(*text, out);
	}
	putc('"', out);
}

int json_finish(const struct json_out *json)
{
	if (json->failed)
		tool_error("not enough memory");
	return tool_finish(json->failed ? EXIT_FAILED : EXIT_DONE);
}
