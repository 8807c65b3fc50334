/* SPDX-License-Identifier: MIT */
/*
 * A page of HTML that needs nothing but itself: a table that can be read without
 * JavaScript, the data, and where configure found d3 the pictures (page.js). What
 * the data looks like is said at the head of page.js.
 *
 *   page_begin()  ->  page_heading(), a <table>  ->  page_data()  ->  JSON  ->  page_end()
 *
 * Names are hostile text: they reach the page through page_text() or page_string() alone.
 */
#ifndef ANONNAME_TOOLS_PAGE_H
#define ANONNAME_TOOLS_PAGE_H

#include "inside.h"
#include "measure.h"

/* Up to the body, with a heading. */
void page_begin(FILE *out, const char *title, const char *about);

/* Behind the tables, where the data begins, a JSON value; and its end. */
void page_data(FILE *out);
void page_end(FILE *out);

/* Text between tags or in an attribute. */
void page_text(FILE *out, const char *text);

/* A JSON string that cannot end the script that it is in. */
void page_string(FILE *out, const char *text);

/* A number, or null. */
void page_number(FILE *out, bool known, uint64_t number);
void page_figure(FILE *out, const struct figures *figures, enum figure figure);

/* The rows of a report, of each process. For wants.each; context is a struct page_rows. */
struct page_rows {
	struct page_row *row;
	size_t count, room;
	bool fold;
};
int page_process(void *context, const struct measured *process);

/* Of more processes nobody looks at the address spaces or the arenas, and each is read again for it. */
#define PAGE_PROCESSES 16

/* What is inside the arenas: the table, and the member "arenas" of the data. */
void page_arenas_table(FILE *out, const struct inside *inside, const struct measurement *measurement);
void page_arenas_data(FILE *out, const struct inside *inside, const struct measurement *measurement);

/* The whole page of a report, with the address spaces of a few processes, which are read again for it. Returns the exit code. */
int page_report(FILE *out, struct page_rows *rows, const struct measurement *measurement, const struct inside *inside, const char *root);
void page_rows_free(struct page_rows *rows);

#endif
