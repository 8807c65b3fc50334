/* SPDX-License-Identifier: MIT */
/*
 * anonname-record: record and view. A program of its own, as they alone need
 * SQLite: to load it would cost each report as much as a small process costs to read.
 * anonname starts it with "anonname record" or "anonname view" for its name.
 */
#include "tool.h"

#include <string.h>

int main(int argc, char **argv)
{
	const char *command = strrchr(argv[0], ' ');

	tool_begin();
	tool_name = command && !strcmp(command, " view") ? "view" : "record";
	return command && !strcmp(command, " view") ? tool_view(argc, argv) : tool_record(argc, argv);
}
