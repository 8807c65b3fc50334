/* SPDX-License-Identifier: MIT */
/*
 * JSON written as it goes: a process can have so many names that the document
 * would not fit in memory. The values are jansson's, one at a time.
 */
#ifndef ANONNAME_TOOLS_JSON_H
#define ANONNAME_TOOLS_JSON_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

struct json_out {
	FILE *out;
	bool one_line;              /* the whole document */
	unsigned depth;             /* of objects and lists that are open */
	bool more;                  /* something stands before in the innermost one */
	bool failed;                /* a value could not be made: no memory */
};

/* Begin an object or a list. key NULL: the document itself, or an element of a list. */
void json_object_begin(struct json_out *json, const char *key);
void json_list_begin(struct json_out *json, const char *key);
void json_object_end(struct json_out *json);
void json_list_end(struct json_out *json);

/* A member of an object, or with key NULL an element of a list. Takes the value; NULL: it could not be made. */
void json_put(struct json_out *json, const char *key, json_t *value);

/* A string, or null for NULL, into a document that is printed by hand. text is safe to show: text_clean(). */
void json_text(FILE *out, const char *text);

/* Ends a document on standard output. Returns the exit code, after an error message where something failed. */
int json_finish(const struct json_out *json);

/* JSON numbers of jansson are signed; a sum of a made-up file may be more. */
json_int_t json_bytes(uint64_t value);

#endif
