/* SPDX-License-Identifier: MIT */
/*
 * Watches a command's processes. The RSS in statm costs a few microseconds and
 * is looked at often; a whole report is made only when it is higher than ever,
 * and only while all reports together took less than a hundredth of the time.
 */
#include "peak.h"
#include "measure.h"
#include "preload.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define SHARE 0.008             /* of the elapsed time; the rest to 1 % is for statm */

struct sample {
	bool taken;
	uint64_t at;                /* ns since the start */
	struct measurement measurement;
};

struct watch {
	struct proc proc;
	pid_t pid;
	pid_t *pids;
	size_t count;
	uint64_t began;
	uint64_t spent;             /* ns of CPU in samples and in looking for processes */
	uint64_t sample_cost, tree_cost, tree_at;
	uint64_t highest_rss;       /* pages, when the last sample was taken for it */
	struct sample peak, last;
};

static volatile sig_atomic_t forwarded;

static void forward(int signal)
{
	forwarded = signal;
}

static uint64_t watch_rss(const struct watch *watch)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < watch->count; i++) {
		struct proc_text statm;
		struct text rest = { statm.small, 0 };
		uint64_t size, rss;

		if (!proc_read(&watch->proc, watch->pids[i], "statm", &statm))
			rest = (struct text){ statm.text, statm.len };
		if (text_u64(&rest, 10, &size) && text_char(&rest, ' ') && text_u64(&rest, 10, &rss))
			sum += rss;
		proc_text_free(&statm);
	}
	return sum;
}

static bool affordable(const struct watch *watch, uint64_t now, uint64_t cost)
{
	return (double)(watch->spent + cost) <= SHARE * (double)(now - watch->began);
}

static void sample_free(struct sample *sample)
{
	if (sample->taken)
		measure_free(&sample->measurement);
	sample->taken = false;
}

static uint64_t sample_pss(const struct sample *sample)
{
	return sample->measurement.names.totals.figures.value[FIG_PSS];
}

static void take_sample(struct watch *watch)
{
	const struct wants wants = { .comm = true };
	struct sample sample = { .taken = true };
	uint64_t began = tool_cpu_ns();

	sample.at = clock_ns() - watch->began;
	measure_begin(&sample.measurement, &wants);
	measure_processes(&sample.measurement, &watch->proc, watch->pids, watch->count, PROCESS_FIGURES, NULL);
	measure_end(&sample.measurement);
	watch->sample_cost = tool_cpu_ns() - began;
	watch->spent += watch->sample_cost;
	if (!sample.measurement.names.rows) {
		/* It ended meanwhile. */
		measure_free(&sample.measurement);
		return;
	}
	if (watch->last.taken && watch->last.measurement.names.row != watch->peak.measurement.names.row)
		sample_free(&watch->last);
	if (!watch->peak.taken || sample_pss(&sample) >= sample_pss(&watch->peak)) {
		sample_free(&watch->peak);
		watch->peak = sample;
	}
	watch->last = sample;
}

/* Looks for new processes when that is affordable. */
static void find_processes(struct watch *watch)
{
	uint64_t now = clock_ns(), began = tool_cpu_ns();
	pid_t *pids;
	size_t count;

	if (watch->count && (now - watch->tree_at < 50000000 || !affordable(watch, now, 2 * watch->tree_cost)))
		return;
	if (measure_tree(&watch->proc, watch->pid, &pids, &count))
		return;
	free(watch->pids);
	watch->pids = pids;
	watch->count = count;
	watch->tree_at = now;
	watch->tree_cost = tool_cpu_ns() - began;
	watch->spent += watch->tree_cost;
}

static void look(struct watch *watch)
{
	uint64_t now = clock_ns(), rss;

	find_processes(watch);
	rss = watch_rss(watch);
	/* One reading a command should have, whatever it costs. */
	if (!affordable(watch, now, watch->sample_cost ? watch->sample_cost : 200000) &&
	    (watch->last.taken || now - watch->began < 100000000))
		return;
	/* A new high at once; else from time to time, for the report of the end. */
	if (rss > watch->highest_rss ||
	    !watch->last.taken || now - watch->began - watch->last.at > (uint64_t)((double)watch->sample_cost / SHARE)) {
		take_sample(watch);
		if (rss > watch->highest_rss)
			watch->highest_rss = rss;
	}
}

static void print_sample(FILE *out, const char *title, const struct sample *sample)
{
	struct table table = { .screen = terminal_width(fileno(out)) };
	const size_t limit = 20;    /* the rest is in the JSON */
	double labelled = names_labelled(&sample->measurement.names.totals);
	char name[96] = "TOTAL";
	struct row total = { .name = name, .figures = sample->measurement.names.totals.figures };
	struct rows rows;

	fprintf(out, "%s %.3f s, %zu process%s:\n", title, (double)sample->at / 1e9,
	        sample->measurement.count, sample->measurement.count == 1 ? "" : "es");
	if (measure_rows(&sample->measurement, &groups[0], false, &rows))
		return;
	columns_default(&table);
	rows_sort(&rows, columns_find("pss"));
	if (labelled >= 0)
		snprintf(name, sizeof(name), "TOTAL, %.1f %% of anonymous RSS named", 100 * labelled);
	rows_print_text(out, &rows, &total, &table, limit);
	if (rows.count > limit)
		fprintf(out, "# %zu smaller rows are not shown; --json has them\n", rows.count - limit);
	rows_free(&rows);
}

static void sample_json(struct json_out *json, const char *key, const struct sample *sample)
{
	struct rows rows;

	if (!sample->taken || measure_rows(&sample->measurement, &groups[0], false, &rows)) {
		json_put(json, key, json_null());
		return;
	}
	rows_sort(&rows, columns_find("pss"));
	json_object_begin(json, key);
	measure_json(json, &sample->measurement, "anonname-report", &groups[0]);
	rows_json(json, &rows);
	json_put(json, "at_seconds", json_real((double)sample->at / 1e9));
	json_object_end(json);
	rows_free(&rows);
}

static void sample_csv(FILE *out, const char *moment, const struct sample *sample, const struct table *table)
{
	char before[64];
	struct rows rows;

	if (!sample->taken || measure_rows(&sample->measurement, &groups[0], false, &rows))
		return;
	rows_sort(&rows, columns_find("pss"));
	snprintf(before, sizeof(before), "%s,%.3f,", moment, (double)sample->at / 1e9);
	rows_print_csv(out, before, &rows, table);
	rows_free(&rows);
}

static void print_csv(FILE *out, const struct watch *watch)
{
	struct table table = { 0 };

	columns_default(&table);
	table_csv_header(out, "moment,at_seconds,", &table);
	sample_csv(out, "peak", &watch->peak, &table);
	sample_csv(out, "end", &watch->last, &table);
}

static void print(FILE *out, const struct watch *watch, const struct peak_options *options,
                  const struct rusage *usage, int status)
{
	double elapsed = (double)(clock_ns() - watch->began) / 1e9;
	char rss[16];

	if (options->json) {
		struct json_out json = { .out = out };

		json_object_begin(&json, NULL);
		json_put(&json, "format", json_string("anonname-peak"));
		json_put(&json, "version", json_integer(1));
		json_put(&json, "status", json_integer(status));
		json_put(&json, "seconds", json_real(elapsed));
		json_put(&json, "max_rss", json_integer((json_int_t)usage->ru_maxrss * 1024));
		json_put(&json, "cost_seconds", json_real((double)watch->spent / 1e9));
		sample_json(&json, "peak", &watch->peak);
		sample_json(&json, "end", &watch->last);
		json_object_end(&json);
		return;
	}
	if (options->csv) {
		print_csv(out, watch);
		return;
	}
	if (!watch->peak.taken)
		fputs("The command ended before its memory could be read.\n", out);
	else
		print_sample(out, "Highest PSS, after", &watch->peak);
	if (watch->last.taken && watch->last.at != watch->peak.at)
		print_sample(out, "Last reading before the end, after", &watch->last);
	fprintf(out, "# %.3f s, largest RSS of one process %s (by the kernel), watching took %.2f %%\n", elapsed,
	        tool_human((uint64_t)usage->ru_maxrss * 1024, rss),
	        elapsed > 0 ? 100 * (double)watch->spent / 1e9 / elapsed : 0);
}

static void wait_and_watch(struct watch *watch, int pidfd, unsigned interval_ms)
{
	struct pollfd poll_fd = { .fd = pidfd, .events = POLLIN };

	for (;;) {
		int ended = poll(&poll_fd, 1, (int)interval_ms);

		if (forwarded) {
			kill(watch->pid, forwarded);
			forwarded = 0;
		}
		if (ended > 0)
			return;
		if (ended == 0)
			look(watch);
		else if (errno != EINTR)
			return;
	}
}

/* As time(1): the terminal's signals are for the command, which has them as they were. */
struct terminal_signals {
	struct sigaction interrupt, quit;
};

static void signals_ignore(struct terminal_signals *old)
{
	struct sigaction ignore = { .sa_handler = SIG_IGN };

	sigaction(SIGINT, &ignore, &old->interrupt);
	sigaction(SIGQUIT, &ignore, &old->quit);
}

static void signals_restore(void *context)
{
	const struct terminal_signals *old = context;

	sigaction(SIGINT, &old->interrupt, NULL);
	sigaction(SIGQUIT, &old->quit, NULL);
}

int peak_run(char **argv, const struct peak_options *options)
{
	struct sigaction pass = { .sa_handler = forward };
	struct terminal_signals old;
	struct watch watch = { 0 };
	struct rusage usage = { 0 };
	FILE *out = stderr;
	int status = 0, why, pidfd;

	if (!tool_own_proc(&watch.proc))
		return 125;
	if (options->output && !(out = tool_create(options->output)))
		return 125;
	signals_ignore(&old);
	watch.began = clock_ns();
	watch.pid = preload_start(argv, signals_restore, &old, &why);
	if (watch.pid < 0)
		return 125;
	sigaction(SIGTERM, &pass, NULL);
	sigaction(SIGHUP, &pass, NULL);
	if (!why) {
		pidfd = (int)syscall(SYS_pidfd_open, watch.pid, 0);
		if (pidfd >= 0) {
			wait_and_watch(&watch, pidfd, options->interval_ms);
			close(pidfd);
		}
	}
	while (wait4(watch.pid, &status, 0, &usage) < 0 && errno == EINTR)
		;
	status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
	if (why) {
		tool_error("%s cannot be run: %s", argv[0], strerror(why));
		status = why == ENOENT ? 127 : 126;
	} else {
		print(out, &watch, options, &usage, status);
	}
	if (out != stderr && fclose(out)) {
		tool_error("%s: %s", options->output, strerror(errno));
		status = status ? status : 125;
	}
	if (watch.last.taken && watch.last.at != watch.peak.at)
		sample_free(&watch.last);
	sample_free(&watch.peak);
	free(watch.pids);
	proc_close(&watch.proc);
	return status;
}
