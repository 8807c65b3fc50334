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
#include "base/table.h"
#include "base/text.h"
#include "label/functions.h"
#include "label/hotspot.h"

#define ANY_PROT (-1)

struct rule {
	const char *lib, *sym;          /* globs; NULL: any */
	size_t at_least, at_most;       /* bytes */
	uintptr_t from, upto;           /* the addresses that it may begin at */
	int prot;
	int flags;                      /* all of these */
	bool pieces;                    /* also what is mapped into it later */
	bool hotspot;                   /* %k is what HotSpot uses it for */
};

static struct rule rules[RULES_MAX] COLD_BSS;
static unsigned rule_count;

/* Of malloc by library: what an object's memory is called, or that it allocates for its callers. */
static struct malloc_rule {
	const char *lib, *sym;          /* as above */
	const char *name;               /* NULL: */
	bool to_caller;
} malloc_rules[64] COLD_BSS;
static unsigned malloc_rule_count;

/* What rules point to: their globs and templates. */
static char kept[8192] COLD_BSS;
static size_t kept_used;

static const char standard[] =
#include "label/runtimes.inc"
;
static const char standard_malloc[] =
#include "label/malloc.inc"
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
	return (size_t)(w->value - w->start) == text_length(key) && text_begins(w->start, key);
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

static const char *read_exact_size(const struct word *w, struct rule *r)
{
	const char *wrong = read_size(w, &r->at_least);

	r->at_most = r->at_least;
	return wrong;
}

static const char *read_prot(const struct word *w, int *prot)
{
	static const char letters[] = "rwx";

	*prot = 0;
	if (w->end - w->value == 4 && text_begins(w->value, "none"))
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

static const char *read_flags(const struct word *w, int *flags)
{
	static const char wanted[] = "it needs some of fixed, noreserve and stack, with commas between them";
	static const struct {
		const char *name;
		int flag;
	} known[] = {
		{ "fixed", MAP_FIXED }, { "noreserve", MAP_NORESERVE }, { "stack", MAP_STACK },
	};

	for (const char *p = w->value; p < w->end;) {
		const char *comma = p;
		size_t k = 0;

		while (comma < w->end && *comma != ',')
			comma++;
		while (k < ARRAY_SIZE(known) &&
		       !((size_t)(comma - p) == text_length(known[k].name) && text_begins(p, known[k].name)))
			k++;
		if (k == ARRAY_SIZE(known))
			return wanted;
		*flags |= known[k].flag;
		p = comma + 1;
	}
	return *flags ? NULL : wanted;
}

/* FROM, or FROM-UPTO. */
static const char *read_addresses(const struct word *w, struct rule *r)
{
	static const char wanted[] = "it needs an address such as 0x1000, or two with a - between them";
	const char *p = w->value;
	uint64_t from, upto;

	if (w->end - p < 3 || !text_begins(p, "0x"))
		return wanted;
	p += 2;
	if (!text_read_number(&p, w->end, 16, &from))
		return wanted;
	upto = from;
	if (w->end - p > 3 && text_begins(p, "-0x")) {
		p += 3;
		if (!text_read_number(&p, w->end, 16, &upto))
			return wanted;
	}
	r->from = from;
	r->upto = upto;
	return p == w->end ? NULL : wanted;
}

/* The only value of a word that says yes. */
static const char *read_yes(const struct word *w, const char *only, const char *wrong, bool *to)
{
	*to = (size_t)(w->end - w->value) == text_length(only) && text_begins(w->value, only);
	return *to ? NULL : wrong;
}

static const char *read_word(const struct word *w, struct rule *r)
{
	return key_is(w, "lib=") ? read_glob(w, &r->lib) :
	       key_is(w, "sym=") ? read_glob(w, &r->sym) :
	       key_is(w, "size=") ? read_exact_size(w, r) :
	       key_is(w, "size>=") ? read_size(w, &r->at_least) :
	       key_is(w, "prot=") ? read_prot(w, &r->prot) :
	       key_is(w, "flags=") ? read_flags(w, &r->flags) :
	       key_is(w, "at=") ? read_addresses(w, r) :
	       key_is(w, "pieces=") ? read_yes(w, "same", "it can only be same", &r->pieces) :
	       key_is(w, "part=") ? read_yes(w, "hotspot", "it can only be hotspot", &r->hotspot) :
	       "it is none of lib= sym= size= size>= prot= flags= at= pieces= part= name=";
}

static void tell(const char *from, unsigned line, size_t column, const char *what, const char *why)
{
	char numbers[2][24];

	numbers[0][text_number(numbers[0], line)] = '\0';
	numbers[1][text_number(numbers[1], column)] = '\0';
	complain(from, ":", numbers[0], ":", numbers[1], ": ", what, why, ". The rule is skipped.");
}

/* The next word; false: there is none. A name may hold blanks: it goes to the end of the line. */
static bool next_word(const char **at, const char *end, struct word *w)
{
	static const char name_key[] = "name=";
	const char *p = *at;

	while (p < end && (*p == ' ' || *p == '\t' || *p == '\r'))
		p++;
	if (p == end || *p == '#')
		return false;
	w->start = p;
	if ((size_t)(end - p) >= sizeof(name_key) - 1 && text_begins(p, name_key)) {
		w->value = p + sizeof(name_key) - 1;
		w->end = end;
		while (w->end > w->value && (w->end[-1] == ' ' || w->end[-1] == '\t' || w->end[-1] == '\r'))
			w->end--;
		*at = end;
		return true;
	}
	while (p < end && *p != '=' && *p != ' ' && *p != '\t')
		p++;
	w->value = p < end && *p == '=' ? p + 1 : p;
	while (p < end && *p != ' ' && *p != '\t' && *p != '\r')
		p++;
	w->end = p;
	*at = p;
	return true;
}

/* A bad word, and what is wrong with it. */
static void tell_word(const char *from, unsigned line, const char *start, const struct word *w, const char *wrong)
{
	char word[40];
	struct text_buffer t;

	text_init(&t, word, sizeof(word));
	text_add_bytes(&t, w->start, (size_t)(w->end - w->start));
	text_add(&t, ": ");
	tell(from, line, (size_t)(w->start - start) + 1, key_is(w, "name=") ? "name: " : word, wrong);
}

static const char *read_name(const struct word *w, const char **name)
{
	*name = keep(w->value, (size_t)(w->end - w->value));
	return !*name ? "there is no room for so many rules" : !**name ? "it is empty" : NULL;
}

static const char *read_template(const struct word *w, const char **template)
{
	const char *wrong = read_name(w, template);

	return wrong ? wrong : rule_count < RULES_MAX ? config_rule(rule_count, *template) : "there are 64 rules already";
}

/* --- rules for malloc by library --- */

static const char *read_malloc_word(const struct word *w, struct malloc_rule *r)
{
	return key_is(w, "lib=") ? read_glob(w, &r->lib) :
	       key_is(w, "sym=") ? read_glob(w, &r->sym) :
	       key_is(w, "charge=") ? read_yes(w, "caller", "it can only be caller", &r->to_caller) :
	       key_is(w, "name=") ? read_name(w, &r->name) :
	       "it is none of lib= sym= charge= name=";
}

static void read_malloc_rule(const char *p, const char *start, const char *end, const char *from, unsigned line)
{
	struct malloc_rule r = { .lib = NULL };
	const char *wrong = NULL;
	size_t before = kept_used;
	struct word w;

	while (!wrong && next_word(&p, end, &w)) {
		wrong = read_malloc_word(&w, &r);
		if (wrong)
			tell_word(from, line, start, &w, wrong);
	}
	if (!wrong) {
		wrong = !r.lib ? "lib=PATTERN is missing" :
			!r.name == !r.to_caller ? "it needs either name=NAME or charge=caller" :
			malloc_rule_count == ARRAY_SIZE(malloc_rules) ? "there are 64 rules for malloc already" : NULL;
		if (wrong)
			tell(from, line, (size_t)(end - start) + 1, "", wrong);
	}
	if (wrong)
		kept_used = before;
	else
		malloc_rules[malloc_rule_count++] = r;
}

static void read_rule(const char *start, const char *end, const char *from, unsigned line)
{
	struct rule r = { .prot = ANY_PROT, .at_most = SIZE_MAX, .upto = UINTPTR_MAX };
	const char *template = NULL, *wrong = NULL, *p = start;
	size_t before = kept_used;
	struct word w;
	bool any = false;

	while (next_word(&p, end, &w)) {
		if (!any && w.value == w.end && key_is(&w, "malloc")) {
			read_malloc_rule(p, start, end, from, line);
			return;
		}
		any = true;
		wrong = key_is(&w, "name=") ? read_template(&w, &template) : read_word(&w, &r);
		if (wrong) {
			tell_word(from, line, start, &w, wrong);
			kept_used = before;
			return;
		}
	}
	if (!any)
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
static uint32_t standard_state;         /* 0 not read, 1 in the middle of it, 2 read */

static __attribute__((noinline)) bool read_standard(void)
{
	uint32_t no = 0;

	if (!__atomic_compare_exchange_n(&standard_state, &no, 1, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
		return false;
	read_text(standard, standard + sizeof(standard) - 1, "runtimes.rules", '\0');
	store_release(&standard_state, 2U);
	return true;
}

static inline bool standard_are_read(void)
{
	return likely(load_acquire(&standard_state) == 2) || read_standard();
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

/* --- malloc by library: each answer is kept by who asks --- */

void rules_read_malloc(void)
{
	read_text(standard_malloc, standard_malloc + sizeof(standard_malloc) - 1, "malloc.rules", '\0');
}

const char *rules_malloc_name(const char *library)
{
	for (unsigned i = 0; i < malloc_rule_count; i++)
		if (malloc_rules[i].name && glob(malloc_rules[i].lib, library))
			return malloc_rules[i].name;
	return library;
}

/* A function by its whole name is looked for: few objects have an xmalloc. */
static bool may_have(const struct object *o, const char *sym)
{
	struct elf_symbols symbols;

	for (const char *p = sym; p && *p; p++)
		if (*p == '*' || *p == '?')
			return true;
	return !sym || (object_symbols(o, &symbols) && elf_find(&symbols, sym));
}

bool rules_malloc_charges(const struct object *o)
{
	for (unsigned i = 0; i < malloc_rule_count; i++) {
		const struct malloc_rule *r = &malloc_rules[i];

		if (r->to_caller && glob(r->lib, o->name) && may_have(o, r->sym))
			return true;
	}
	return false;
}

enum malloc_charge rules_malloc_charge(const struct object *o, uintptr_t code)
{
	const char *symbol = NULL;

	for (unsigned i = 0; i < malloc_rule_count; i++) {
		const struct malloc_rule *r = &malloc_rules[i];

		if (!r->to_caller || !glob(r->lib, o->name) || !may_have(o, r->sym))
			continue;
		if (!symbol)
			symbol = function_name_at(o, code);
		if (!r->sym || glob(r->sym, symbol))
			return CHARGE_CALLER;
	}
	return symbol && !*symbol ? CHARGE_UNKNOWN : CHARGE_ITSELF;
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

static __attribute__((noinline)) uint64_t match_site(const struct object *asker, uintptr_t caller)
{
	const char *lib = asker ? asker->name : objects_program(), *symbol = NULL;
	/* Whatever link it was started by, it is the runtime that a rule speaks of. */
	const char *file = text_equal(lib, objects_program()) ? objects_program_file() : lib;
	uint64_t fits = 0;

	for (unsigned i = 0; i < rule_count; i++) {
		if (!glob(rules[i].lib, lib) && !glob(rules[i].lib, file))
			continue;
		if (rules[i].sym && !symbol)
			symbol = function_name_once(asker, caller);
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

static bool fits_mapping(const struct rule *r, const struct mapping *m)
{
	return m->len >= r->at_least && m->len <= r->at_most && m->start >= r->from && m->start <= r->upto &&
	       (m->flags & r->flags) == r->flags && (r->prot == ANY_PROT || (m->prot & 7) == r->prot);
}

/*
 * --- pieces
 *
 * A runtime that reserves addresses first maps its memory into them later, by
 * calls that say nothing more. So what a rule with pieces=same has named is
 * kept here, by its start, until it is unmapped. Only who mapped it is asked
 * for it, and only when a mapping is told where to lie.
 */
static struct table reserved COLD_BSS;
static bool any_reserved;

struct search {
	uintptr_t start;
	uint64_t fits;
	struct place *found;
};

static bool holds(struct place *p, void *context)
{
	struct search *s = context;

	if (place_holds(p, s->start) && s->fits >> p->rule & 1)
		s->found = p;
	return !s->found;
}

static __attribute__((noinline)) struct place *reservation_of(uintptr_t start, uint64_t fits)
{
	struct search s = { .start = start, .fits = fits };

	table_each(&reserved, holds, &s);
	return s.found;
}

static __attribute__((noinline)) void reserve(const struct mapping *m, unsigned rule)
{
	struct place *p = table_add(&reserved, m->start);

	if (!p)
		return;
	p->rule = rule;
	place_cover(p, m->start, m->start + m->len);
	store_relaxed(&any_reserved, true);
}

void rules_unmapped(uintptr_t start)
{
	struct place *p = unlikely(load_relaxed(&any_reserved)) ? table_find(&reserved, start) : NULL;

	if (p)
		table_remove(p);
}

/* The first rule of these that the mapping fits, or that named the memory into which it goes; RULES_MAX: none. */
static unsigned rule_of(const struct mapping *m, uint64_t fits)
{
	struct place *into = NULL;

	if (unlikely(m->flags & MAP_FIXED && fits && load_relaxed(&any_reserved)))
		into = reservation_of(m->start, fits);
	if (into)
		return into->rule;
	for (; fits; fits &= fits - 1) {
		unsigned i = (unsigned)__builtin_ctzll(fits);

		if (!fits_mapping(&rules[i], m))
			continue;
		if (rules[i].pieces)
			reserve(m, i);
		return i;
	}
	return RULES_MAX;
}

enum kind rules_apply(const struct mapping *m, const struct object *asker, enum kind kind, struct fields *f)
{
	unsigned i;

	/* What a program maps itself, and privately; not what malloc maps for it. */
	if (kind != KIND_JIT && kind != KIND_RESERVE && kind != KIND_MMAP && kind != KIND_MMAP_BIG)
		return kind;
	if (unlikely(!standard_are_read()))
		return kind;
	i = rule_of(m, rules_for(asker, m->caller));
	if (i == RULES_MAX)
		return kind;
	/* Else the name is the same for every mapping, and label_range keeps it. */
	if (config_uses((enum kind)(KIND_COUNT + i), 'k'))
		f->thing = rules[i].hotspot ? hotspot_part(asker, m) : config_word(kind);
	return (enum kind)(KIND_COUNT + i);
}

_Static_assert(PROT_READ == 1 && PROT_WRITE == 2 && PROT_EXEC == 4, "the order of the letters in read_prot");
