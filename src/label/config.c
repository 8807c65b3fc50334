/* SPDX-License-Identifier: MIT */
/* Templates and choices from the environment. See config.h. */
#include "label/config.h"

#include <sys/auxv.h>
#include <unistd.h>

#include "base/text.h"

#define MAX_PIECES 12
#define MAX_TEMPLATE 120

struct template {
	const char *source;
	uint8_t count;
	struct piece {
		char field;             /* 0: literal text, */
		uint8_t at, len;        /* which stands here in the source */
	} piece[MAX_PIECES];
};

/* Templates from the environment are copied: programs overwrite theirs (setproctitle). */
static char copies[1024] COLD_BSS;
static struct text_buffer copied;

static struct template of_kinds[KIND_COUNT], of_rules[RULES_MAX] COLD_BSS;
uint32_t config_fields[KIND_COUNT + RULES_MAX];
uint8_t config_choice[CHOICE_COUNT];

static const struct kind_entry {
	const char *variable;
	const char *style[3];
} kinds[KIND_COUNT] = {
#define TEMPLATE(id, variable, standard, glibc, android, help) [KIND_##id] = { variable, { standard, glibc, android } },
#define CHOICE(id, variable, standard, choices, help)
#include "format/options.def"
#undef TEMPLATE
#undef CHOICE
};

static const struct choice_entry {
	const char *variable, *choices;
} choices_table[CHOICE_COUNT] = {
#define TEMPLATE(id, variable, standard, glibc, android, help)
#define CHOICE(id, variable, standard, choices, help) [CHOICE_##id] = { variable, choices },
#include "format/options.def"
#undef TEMPLATE
#undef CHOICE
};

/* %k: the word that tools know the kind by. */
static const char *const kind_words[KIND_COUNT] = {
	[KIND_ARENA] = "arena", [KIND_LARGE] = "large", [KIND_EXTENT] = "extent", [KIND_THREAD_ARENA] = "extent",
	[KIND_NAMED_HEAP] = "heap", [KIND_HEAP] = "heap", [KIND_BY_LIBRARY] = "lib", [KIND_THREAD_LIBRARY] = "lib",
	[KIND_STACK] = "stack", [KIND_STACK_UNUSED] = "stack", [KIND_SIGSTACK] = "sigstack",
	[KIND_BSS] = "bss", [KIND_JIT] = "jit", [KIND_RESERVE] = "reserve", [KIND_MMAP] = "mmap",
	[KIND_MMAP_BIG] = "mmap", [KIND_SHM] = "shm", [KIND_TLS] = "tls", [KIND_GETRANDOM] = "getrandom", [KIND_EARLY] = "early", [KIND_OWN] = "own",
};

static struct template *template(enum kind kind)
{
	return likely(kind < KIND_COUNT) ? &of_kinds[kind] : &of_rules[kind - KIND_COUNT];
}

/* --- compiling --------------------------------------------------------------- */

static bool field_known(char c)
{
	for (const char *p = "ailtnrpekzc"; *p; p++)
		if (*p == c)
			return true;
	return false;
}

/* Returns NULL, or what is wrong. */
static const char *compile(enum kind kind, const char *source)
{
	struct template *t = template(kind);
	size_t len = text_length(source);

	if (len >= MAX_TEMPLATE)
		return "it is longer than 119 bytes";
	t->source = source;
	config_fields[kind] = 0;
	t->count = 0;
	for (const char *p = t->source; *p;) {
		struct piece *piece = &t->piece[t->count];

		if (t->count++ == MAX_PIECES)
			return "it has more than 12 pieces";
		if (*p == '%' && p[1] == '%') {
			*piece = (struct piece){ .at = (uint8_t)(p - t->source), .len = 1 };
			p += 2;
		} else if (*p == '%') {
			if (!field_known(p[1]))
				return "it has a field that does not exist; the fields are %a %i %l %t %n %r %p %e %k %z %c %%";
			*piece = (struct piece){ .field = p[1] };
			config_fields[kind] |= CONFIG_FIELD(p[1]);
			p += 2;
		} else {
			const char *start = p;

			for (; *p && *p != '%'; p++)
				if (!name_kernel_takes((unsigned char)*p))
					return "it has a byte that a name cannot hold: only printable ASCII without \\ ` $ [ ] can";
			*piece = (struct piece){ .at = (uint8_t)(start - t->source), .len = (uint8_t)(p - start) };
		}
	}
	return NULL;
}

static const char *keep_source(struct template *t)
{
	size_t at = copied.used;

	if (!copied.at)
		text_init(&copied, copies, sizeof(copies));
	if (at + text_length(t->source) + 1 >= sizeof(copies))
		return "there is no room for so many templates";
	text_add(&copied, t->source);
	copied.used++;          /* past the NUL */
	t->source = copies + at;
	return NULL;
}

const char *config_rule(unsigned rule, const char *source)
{
	return compile((enum kind)(KIND_COUNT + rule), source);
}

const char *config_word(enum kind kind)
{
	return kind < KIND_COUNT ? kind_words[kind] : "mmap";
}

/* From the first of our variables on; NULL: there is none, as in most programs, or none is honoured. */
static char **settings;

static void find_settings(void)
{
	settings = NULL;
	/* As secure_getenv: a set-user-ID program is not told by whoever starts it. */
	if (getauxval(AT_SECURE))
		return;
	for (char **e = environ; e && *e && !settings; e++)
		if (text_begins(*e, "ANONNAME_"))
			settings = e;
}

const char *config_setting(const char *variable)
{
	size_t len = text_length(variable);

	for (char **e = settings; e && *e; e++)
		if (text_begins(*e, variable) && (*e)[len] == '=')
			return *e + len + 1;
	return NULL;
}

bool config_libc_names(void)
{
	static const char variable[] = "GLIBC_TUNABLES=", tunable[] = "glibc.mem.decorate_maps=";

	for (char **e = getauxval(AT_SECURE) ? NULL : environ; e && *e; e++)
		for (const char *at = text_begins(*e, variable) ? *e + sizeof(variable) - 1 : ""; *at; at++)
			if (text_begins(at, tunable) && at[sizeof(tunable) - 1] != '0')
				return true;
	return false;
}

static void read_choice(enum choice c)
{
	const char *value = config_setting(choices_table[c].variable);
	const char *word = choices_table[c].choices;

	if (!value || !*value)
		return;
	for (uint8_t index = 0; *word; index++) {
		size_t len = 0;

		while (word[len] && word[len] != ' ')
			len++;
		if (text_length(value) == len && text_begins(word, value)) {
			config_choice[c] = index;
			return;
		}
		word += len + (word[len] == ' ');
	}
	complain(choices_table[c].variable, "=", value, " is not one of: ", choices_table[c].choices, ". Using the default, the first.");
}

void config_read(void)
{
	find_settings();
	for (int c = 0; c < CHOICE_COUNT; c++)
		read_choice((enum choice)c);
	for (int k = 0; k < KIND_COUNT; k++) {
		const char *standard = kinds[k].style[config_choice[CHOICE_STYLE]];
		const char *value = config_setting(kinds[k].variable);
		const char *wrong = value ? compile((enum kind)k, value) : NULL;

		if (value && !wrong)
			wrong = keep_source(&of_kinds[k]);
		if (wrong)
			complain(kinds[k].variable, "=", value, ": ", wrong, ". Using the default, ", standard, ".");
		if (!value || wrong)
			compile((enum kind)k, standard);
	}
}

/* --- formatting --------------------------------------------------------------- */

/* The size rounded up to a power of two: few names, whatever sizes a program asks for. */
static size_t size_class(char *out, size_t size)
{
	static const char unit[] = { 'K', 'M', 'G', 'T', 'P' };
	unsigned shift = size > 1024 ? 64 - (unsigned)__builtin_clzl(size - 1) : 10;
	unsigned u = (shift - 10) / 10;
	size_t len = text_number(out, 1UL << ((shift - 10) % 10));

	out[len] = unit[MIN(u, 4U)];
	return len + 1;
}

static size_t field_text(const struct piece *piece, enum kind kind, const struct fields *f, char digits[24], const char **text)
{
	const char *s = NULL;

	*text = digits;
	switch (piece->field) {
	case 'a': s = f->allocator; break;
	case 'l': s = f->library; break;
	case 'n': s = f->thread; break;
	case 'r': s = f->routine; break;
	case 'e': s = f->program; break;
	case 'c': s = f->label; break;
	case 'k': s = f->thing ? f->thing : config_word(kind); break;
	/* Not known is nothing, never 0. */
	case 'i': return f->has_index ? text_number(digits, f->index) : 0;
	case 't': return f->tid && f->tid != TID_UNKNOWN ? text_number(digits, f->tid) : 0;
	case 'p': return f->pid ? text_number(digits, f->pid) : 0;
	case 'z': return f->size ? size_class(digits, f->size) : 0;
	default: break;
	}
	*text = s ? s : "";
	return text_length(*text);
}

/*
 * A field that says nothing takes along what stands before it to set it off; at
 * the start of a name nothing does, and the next literal has it in front.
 */
static size_t without_separator(const char *name, size_t used)
{
	while (used && used <= ANONNAME_NAME_MAX && (name[used - 1] == ':' || name[used - 1] == ' '))
		used--;
	return used;
}

static void skip_separator(size_t used, const char **text, size_t *len)
{
	while (!used && *len && **text == ':') {
		++*text;
		--*len;
	}
}

/* What may be cut when a name is too long, the least telling first. Numbers and literals never are. */
static const char cut_order[] = "enrlca";

/* Cuts the middle out of one field, so that its start and its end still tell. */
static size_t cut_name(const struct template *t, enum kind kind, const struct fields *f, char name[], size_t total)
{
	char longer[MAX_TEMPLATE + 16 * 64], digits[24];
	size_t over = total - ANONNAME_NAME_MAX;
	struct text_buffer out;
	char cut = 0;

	/* The first field in the order that is long enough to lose that much and keep its ends. */
	for (const char *c = cut_order; *c && !cut; c++)
		for (int i = 0; i < t->count; i++) {
			const char *text;

			if (t->piece[i].field == *c && field_text(&t->piece[i], kind, f, digits, &text) >= over + 6)
				cut = *c;
		}
	text_init(&out, longer, sizeof(longer));
	for (int i = 0; i < t->count; i++) {
		const struct piece *piece = &t->piece[i];
		const char *text = t->source + piece->at;
		size_t len = piece->field ? field_text(piece, kind, f, digits, &text) : piece->len;

		if (!piece->field)
			skip_separator(out.used, &text, &len);
		else if (!len)
			out.used = without_separator(longer, out.used);
		if (cut && piece->field == cut && over) {
			size_t keep = len - over - 2;

			text_add_bytes(&out, text, (keep + 1) / 2);
			text_add(&out, "..");
			text_add_bytes(&out, text + len - keep / 2, keep / 2);
			over = 0;
		} else {
			text_add_bytes(&out, text, len);
		}
	}
	/* Templates with nothing to cut: the middle of the whole. */
	if (out.used > ANONNAME_NAME_MAX) {
		size_t head = (ANONNAME_NAME_MAX - 2) / 2, tail = ANONNAME_NAME_MAX - 2 - head;

		__builtin_memmove(longer + head + 2, longer + out.used - tail, tail);
		longer[head] = longer[head + 1] = '.';
		out.used = ANONNAME_NAME_MAX;
	}
	for (size_t i = 0; i < out.used; i++)
		name[i] = name_clean_char(longer[i]);
	name[out.used] = '\0';
	return out.used;
}

/* Of coarse names: what differs between regions of one owner. */
static bool is_left_out(char field)
{
	return field == 'i' || field == 't' || field == 'n' || field == 'r' || field == 'z';
}

size_t config_format(enum kind kind, const struct fields *f, bool coarse, char name[ANONNAME_NAME_MAX + 1])
{
	const struct template *t = template(kind);
	char digits[24];
	size_t used = 0;

	for (int i = 0; i < t->count; i++) {
		const struct piece *piece = &t->piece[i];
		const char *text = t->source + piece->at;
		size_t len = piece->len;

		if (piece->field) {
			len = coarse && is_left_out(piece->field) ? 0 : field_text(piece, kind, f, digits, &text);
			if (!len)
				used = without_separator(name, used);
			for (size_t k = 0; k < len && used + k < ANONNAME_NAME_MAX; k++)
				name[used + k] = name_clean_char(text[k]);
		} else {
			skip_separator(used, &text, &len);
			for (size_t k = 0; k < len && used + k < ANONNAME_NAME_MAX; k++)
				name[used + k] = text[k];
		}
		used += len;
	}
	if (unlikely(used > ANONNAME_NAME_MAX))
		return cut_name(t, kind, f, name, used);
	name[used] = '\0';
	return used;
}
