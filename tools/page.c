/* SPDX-License-Identifier: MIT */
/* The frame of a page. See page.h. */
#include "page.h"

/* Made by the build: the bytes of the files. d3 is empty where configure found none. */
static const unsigned char style[] = {
#include "tools/page.css.inc"
};
static const unsigned char d3[] = {
#include "tools/d3.inc"
	' '
};
static const unsigned char script[] = {
#include "tools/page.js.inc"
};

void page_text(FILE *out, const char *text)
{
	for (; *text; text++)
		switch (*text) {
		case '<': fputs("&lt;", out); break;
		case '>': fputs("&gt;", out); break;
		case '&': fputs("&amp;", out); break;
		case '"': fputs("&quot;", out); break;
		case '\'': fputs("&#39;", out); break;
		default: putc(*text, out);
		}
}

void page_string(FILE *out, const char *text)
{
	putc('"', out);
	for (; *text; text++)
		if (*text == '"' || *text == '\\')
			fprintf(out, "\\%c", *text);
		else if (*text == '<' || *text == '>' || *text == '&' || (unsigned char)*text < ' ')
			fprintf(out, "\\u%04x", (unsigned char)*text);
		else
			putc(*text, out);
	putc('"', out);
}

void page_number(FILE *out, bool known, uint64_t number)
{
	if (known)
		fprintf(out, "%llu", (unsigned long long)number);
	else
		fputs("null", out);
}

void page_figure(FILE *out, const struct figures *figures, enum figure figure)
{
	page_number(out, !(figures->unknown & FIG_BIT(figure)), figures->value[figure]);
}

void page_begin(FILE *out, const char *title, const char *about)
{
	fputs("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
	      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
	      /* Nothing is asked of anyone, whatever a name says. */
	      "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'\">\n"
	      "<title>", out);
	page_text(out, title);
	fputs("</title>\n<style>\n", out);
	fwrite(style, 1, sizeof(style), out);
	fputs("</style>\n</head>\n<body>\n<header>\n<h1>", out);
	page_text(out, title);
	fputs("</h1>\n<p id=\"about\">", out);
	page_text(out, about);
	fputs("</p>\n</header>\n<main id=\"main\">\n", out);
}

void page_data(FILE *out)
{
	fputs("</main>\n<script type=\"application/json\" id=\"data\">", out);
}

void page_end(FILE *out)
{
	fputs("</script>\n", out);
	if (sizeof(d3) > 1) {
		fputs("<!-- d3 is free software under the BSD-3-Clause licence: https://d3js.org -->\n<script>", out);
		fwrite(d3, 1, sizeof(d3), out);
		fputs("</script>\n<script>\n", out);
		fwrite(script, 1, sizeof(script), out);
		fputs("</script>\n", out);
	}
	fputs("</body>\n</html>\n", out);
}
