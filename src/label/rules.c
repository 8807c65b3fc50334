/* SPDX-License-Identifier: MIT */
/* Reads rules and matches them. See rules.h. */
#include "label/rules.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "base/elf.h"
#include "base/sandbox.h"
#include "base/sys.h"
#include "base/text.h"

#define ANY_PROT (-1)

struct rule {
	const char *lib, *sym;          /* globs; NULL: any */
	size_t size;
	int prot;
};

static struct rule rules[RULES_MAX] COLD_BSS;
static unsigned rule_count;

/* What rules point to: their globs and templates. */
static char kept[6144] COLD_BSS;
static size_t kept_used;

static const char standard[] =
#include "label/runtimes.inc"
;

/* --- reading ------------------------------------------------------------------------ */

static const char *keep(const char *s, size_t len)
{
	char *at = kept + kept_used;

	if (len + 1 > sizeof(kept) - kept_used)
		return NULL;
	__builtin_memcpy(at, s, len);
	at[len] = '\0';
	kept_used += len + 1;
	return at;
}

struct word {
	const char *start, *value, *end;
};

static bool key_is(const struct word *w, const char *key)
{
	return (size_t)(w->value - w->start) == text_length(key) && text_starts(w->start, key);
}

/* NULL, or what is wrong. */
static const char *read_glob(const struct word *w, const char **to)
{
	if (w->value == w->end)
		return "it needs a pattern, such as libfoo*";
	*to = keep(w->value, (size_t)(w->end - w->value));
	return *to ? NULL : "there is no room for so many rules";
}

static const char *read_size(const struct word *w, size_t *size)
{
	static const char units[] = "KMGT";
	const char *p = w->value;
	uint64_t n;

	if (!text_read_number(&p, w->end, 10, &n))
		return "it needs a number of bytes, such as 256K";
	for (unsigned u = 0; p < w->end && units[u]; u++)
		if (*p == units[u] && n < 1UL << 22) {
			n <<= 10 * (u + 1);
			p++;
			break;
		}
	*size = n;
	return p == w->end ? NULL : "its number may end with one of K M G T, and nothing else";
}

static const char *read_prot(const struct word *w, int *prot)
{
	static const char letters[] = "rwx";

	*prot = 0;
	if (w->end - w->value == 4 && text_starts(w->value, "none"))
		return NULL;
	for (const char *p = w->value; p < w->end; p++) {
		int bit = 0;

		while (letters[bit] && letters[bit] != *p)
			bit++;
		if (!letters[bit])
			return "it needs some of r, w and x, or none";
		*prot |= 1 << bit;
	}
	return w->value < w->end ? NULL : "it needs some of r, w and x, or none";
}

static void tell(const char *from, unsigned line, size_t column, const char *what, const char *why)
{
	char numbers[2][24];

	numbers[0][text_number(numbers[0], line)] = '\0';
	numbers[1][text_number(numbers[1], column)] = '\0';
	complain(from, ":", numbers[0], ":", numbers[1], ": ", what, why, ". The rule is skipped.");
}

static void read_rule(const char *start, const char *end, const char *from, unsigned line)
{
	static const char name_key[] = "name=";
	struct rule r = { .prot = ANY_PROT };
	const char *template = NULL, *wrong = NULL;
	size_t before = kept_used;

	for (const char *p = start; p < end;) {
		struct word w = { .start = p };

		if (*p == ' ' || *p == '\t') {
			p++;
			continue;
		}
		if (*p == '#')
			break;
		/* A name may hold blanks: it goes to the end of the line. */
		if ((size_t)(end - p) >= 5 && text_starts(p, name_key)) {
			w.value = p + 5;
			w.end = end;
			while (w.end > w.value && (w.end[-1] == ' ' || w.end[-1] == '\t' || w.end[-1] == '\r'))
				w.end--;
			p = end;
			template = keep(w.value, (size_t)(w.end - w.value));
			if (!template)
				wrong = "there is no room for so many rules";
			else if (!*template)
				wrong = "it is empty";
			else if (rule_count < RULES_MAX)
				wrong = config_rule(rule_count, template);
			else
				wrong = "there are 64 rules already";
			if (wrong) {
				tell(from, line, (size_t)(w.start - start) + 1, "name: ", wrong);
				kept_used = before;
				return;
			}
			continue;
		}
		while (p < end && *p != '=' && *p != ' ' && *p != '\t')
			p++;
		w.value = p < end && *p == '=' ? p + 1 : p;
		while (p < end && *p != ' ' && *p != '\t' && *p != '\r')
			p++;
		w.end = p;
		wrong = key_is(&w, "lib=") ? read_glob(&w, &r.lib) :
			key_is(&w, "sym=") ? read_glob(&w, &r.sym) :
			key_is(&w, "size>=") ? read_size(&w, &r.size) :
			key_is(&w, "prot=") ? read_prot(&w, &r.prot) :
			"it is none of lib= sym= size>= prot= name=";
		if (wrong) {
			char word[40];
			struct text t;

			text_init(&t, word, sizeof(word));
			text_add_bytes(&t, w.start, (size_t)(w.end - w.start));
			text_add(&t, ": ");
			tell(from, line, (size_t)(w.start - start) + 1, word, wrong);
			kept_used = before;
			return;
		}
	}
	if (!template && !r.lib && !r.sym && !r.size && r.prot == ANY_PROT)
		return;         /* an empty line */
	if (!template || !r.lib) {
		tell(from, line, (size_t)(end - start) + 1, "", template ? "lib=PATTERN is missing" : "name=TEMPLATE is missing");
		kept_used = before;
		return;
	}
	rules[rule_count++] = r;
}

/* One rule a line; in the environment a ; ends one, too. */
static void read_text(const char *text, const char *end, const char *from, char also)
{
	unsigned line = 1;

	while (text < end) {
		const char *stop = text;

		while (stop < end && *stop != '\n' && (!also || *stop != also))
			stop++;
		read_rule(text, stop, from, line++);
		text = stop + 1;
	}
}

/*
 * A device must not even be opened, and a FIFO waits for a writer. Where a
 * sandbox does not let us look, O_NONBLOCK keeps us from waiting, too.
 */
static bool is_file(const char *path)
{
	struct stat st;

	return !sandbox_allows(MAY_PATCH) ||
	       (sys_call6(SYS_newfstatat, AT_FDCWD, SYS_ARG(path), SYS_ARG(&st), 0, 0, 0) == 0 && S_ISREG(st.st_mode));
}

static void read_file(const char *path)
{
	static char text[8192] COLD_BSS;
	long fd = is_file(path) ? sys_open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY) : -EINVAL, n;
	size_t used = 0;

	if (sys_failed(fd)) {
		complain("ANONNAME_RULES=", path, ": it is neither a file that can be read nor a rule. Its rules are left out.");
		return;
	}
	while (used < sizeof(text) && (n = sys_read((int)fd, text + used, sizeof(text) - used)) > 0)
		used += (size_t)n;
	sys_close((int)fd);
	if (used == sizeof(text))
		complain("ANONNAME_RULES=", path, ": what lies behind its first 8 KiB is left out.");
	read_text(text, text + used, path, '\0');
}

void rules_read(void)
{
	const char *value = config_setting("ANONNAME_RULES");
	bool inside = false;

	/* A rule has a = in it, and paths seldom do. */
	for (const char *p = value ? value : ""; *p; p++)
		inside = inside || *p == '=';
	if (inside)
		read_text(value, value + text_length(value), "ANONNAME_RULES", ';');
	else if (value && *value)
		read_file(value);
}

/*
 * Ours are read when the first mapping asks for them: that is soon enough, and
 * a process that maps nothing itself does not pay for them. Another thread that
 * asks meanwhile goes without.
 */
static bool standard_are_read(void)
{
	static uint32_t state;          /* 0 no, 1 in the middle of it, 2 yes */
	uint32_t no = 0;

	if (likely(load_acquire(&state) == 2))
		return true;
	if (!__atomic_compare_exchange_n(&state, &no, 1, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
		return false;
	read_text(standard, standard + sizeof(standard) - 1, "runtimes.rules", '\0');
	store_release(&state, 2U);
	return true;
}

/* --- matching -------------------------------------------------------------------------- */

static bool glob(const char *pattern, const char *s)
{
	const char *star = NULL, *retry = NULL;

	while (*s) {
		if (*pattern == '*') {
			star = pattern++;
			retry = s;
		} else if (*pattern == '?' || *pattern == *s) {
			pattern++;
			s++;
		} else if (star) {
			pattern = star + 1;
			s = ++retry;
		} else {
			return false;
		}
	}
	while (*pattern == '*')
		pattern++;
	return !*pattern;
}

/* The exported function that holds the call, "" where the object does not tell. */
static const char *symbol_of(const struct object *o, uintptr_t caller)
{
	struct elf_symbols symbols;
	const ElfW(Sym) *s;

	if (!o || !o->dynamic || !elf_symbols(o->base, (const ElfW(Dyn) *)o->dynamic, &symbols))
		return "";
	s = elf_symbol_at(&symbols, caller);
	return s ? symbols.strings + s->st_name : "";
}

/*
 * Which rules a caller's library and symbol fit: asked once a call site, so
 * that a mapping costs no matching of patterns. Two threads may write one place
 * at once: the key is made of both the answer and the question, so a mixture
 * answers nobody.
 */
static struct site {
	uint64_t fits;          /* a bit a rule */
	uint64_t key;
} sites[64] COLD_BSS;

/* The generation of the table of objects stands above the 48 bits of a caller's address. */
static uint64_t site_key(uint64_t fits, uintptr_t caller, uint32_t generation)
{
	return fits * 0x9e3779b97f4a7c15ULL ^ caller ^ (uint64_t)generation << 48;
}

static uint64_t match_site(const struct object *asker, uintptr_t caller)
{
	const char *lib = asker ? asker->name : objects_program(), *symbol = NULL;
	uint64_t fits = 0;

	for (unsigned i = 0; i < rule_count; i++) {
		if (!glob(rules[i].lib, lib))
			continue;
		if (rules[i].sym && !symbol)
			symbol = symbol_of(asker, caller);
		if (!rules[i].sym || glob(rules[i].sym, symbol))
			fits |= 1ULL << i;
	}
	return fits;
}

static uint64_t rules_for(const struct object *asker, uintptr_t caller)
{
	struct site *site = &sites[(caller ^ caller >> 7) % ARRAY_SIZE(sites)];
	uint32_t generation = objects_generation();
	uint64_t fits = load_relaxed(&site->fits);

	if (likely(load_relaxed(&site->key) == site_key(fits, caller, generation)))
		return fits;
	fits = match_site(asker, caller);
	store_relaxed(&site->fits, fits);
	store_relaxed(&site->key, site_key(fits, caller, generation));
	return fits;
}

enum kind rules_apply(const struct mapping *m, const struct object *asker, enum kind kind)
{
	/* What a program maps itself, and privately; not what malloc maps for it. */
	if (kind != KIND_JIT && kind != KIND_RESERVE && kind != KIND_MMAP && kind != KIND_MMAP_BIG)
		return kind;
	if (unlikely(!standard_are_read()))
		return kind;
	for (uint64_t fits = rules_for(asker, m->caller); fits; fits &= fits - 1) {
		unsigned i = (unsigned)__builtin_ctzll(fits);

		if (m->len >= rules[i].size && (rules[i].prot == ANY_PROT || (m->prot & 7) == rules[i].prot))
			return (enum kind)(KIND_COUNT + i);
	}
	return kind;
}

_Static_assert(PROT_READ == 1 && PROT_WRITE == 2 && PROT_EXEC == 4, "the order of the letters in read_prot");
