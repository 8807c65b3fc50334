/* SPDX-License-Identifier: MIT */
/* anonname heap: what is live and free inside the arenas of a process, and what to do. */
#include "arenas.h"
#include "options.h"
#include "tool.h"

struct request {
	enum unit unit;
	bool json, csv, sizes;
};

static int print_json(const struct heaps *heaps, const struct request *request, pid_t pid)
{
	struct json_out json = { .out = stdout };

	json_object_begin(&json, NULL);
	json_put(&json, "format", json_string("anonname-heap"));
	json_put(&json, "version", json_integer(1));
	json_put(&json, "pid", json_integer(pid));
	if (heaps->cut)
		json_put(&json, "cut", json_true());
	arenas_json(&json, heaps, request->sizes);
	json_object_end(&json);
	return json_finish(&json);
}

static int print(const struct heaps *heaps, const struct request *request, pid_t pid)
{
	if (heaps->cut)
		tool_error("process %d holds more than is looked through of one process: arenas and figures may be missing",
		           (int)pid);
	if (request->json)
		return print_json(heaps, request, pid);
	if (request->csv)
		arenas_print_csv(stdout, heaps);
	else if (heaps->count)
		arenas_print_text(stdout, heaps, request->unit, request->sizes);
	else
		tool_error("process %d has no allocator that is known here; 'man anonname-heap' lists them", (int)pid);
	return tool_finish(heaps->count || request->csv ? EXIT_DONE : EXIT_FAILED);
}

int tool_heap(int argc, char **argv)
{
	struct request request = { .unit = UNIT_KIB };
	struct heaps heaps = { 0 };
	struct proc proc;
	pid_t pid;
	int c, error;

	while ((c = options_next(COMMAND_heap, argc, argv)) != OPT_END) {
		switch (c) {
		case OPT_SIZES: request.sizes = true; break;
		case OPT_HUMAN: request.unit = UNIT_HUMAN; break;
		case OPT_BYTES: request.unit = UNIT_BYTES; break;
		case OPT_JSON: request.json = true; break;
		case OPT_CSV: request.csv = true; break;
		case OPT_HELP:
			options_help(COMMAND_heap, "");
			putchar('\n');
			arenas_help(stdout);
			return tool_finish(EXIT_DONE);
		default: return options_rest(COMMAND_heap, c);
		}
	}
	c = tool_one_process(argc, argv, NULL, &pid, &proc);
	if (c != EXIT_DONE)
		return c;
	error = heap_read_apart(&proc, pid, &heaps);
	if (!error && heaps.count)
		heaps_label(&proc, pid, &heaps);
	proc_close(&proc);
	arenas_sort(&heaps);
	c = error ? tool_process_error(pid, error) : print(&heaps, &request, pid);
	heaps_free(&heaps);
	return c;
}
