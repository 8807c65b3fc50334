/* SPDX-License-Identifier: MIT */
/*
 * What the environment says, read once at start: a template for each kind of
 * region, and a few choices. The list is format/options.def.
 */
#ifndef ANONNAME_LABEL_CONFIG_H
#define ANONNAME_LABEL_CONFIG_H

#include "format/registry_format.h"
#include "base/compiler.h"

enum kind {
#define TEMPLATE(id, variable, standard, glibc, android, help) KIND_##id,
#define CHOICE(id, variable, standard, choices, help)
#include "format/options.def"
#undef TEMPLATE
#undef CHOICE
	KIND_COUNT
};

enum choice {
#define TEMPLATE(id, variable, standard, glibc, android, help)
#define CHOICE(id, variable, standard, choices, help) CHOICE_##id,
#include "format/options.def"
#undef TEMPLATE
#undef CHOICE
	CHOICE_COUNT
};

/* The words of some choices, in the order that options.def gives them. */
enum jemalloc_choice { JEMALLOC_AUTO, JEMALLOC_HOOKS, JEMALLOC_MMAP, JEMALLOC_OFF };
enum jemalloc_arenas_choice { JEMALLOC_ARENAS_SHARED, JEMALLOC_ARENAS_THREAD };
enum malloc_choice { MALLOC_DEFAULT, MALLOC_LIBRARY, MALLOC_THREAD_LIBRARY };
enum style { STYLE_DEFAULT, STYLE_GLIBC, STYLE_ANDROID };

/* The index of the chosen word. "on off" and "off on" differ: see options.def. */
extern uint8_t config_choice[CHOICE_COUNT];

static inline bool config_walk(void) { return config_choice[CHOICE_WALK] == 0; }
static inline bool config_detour(void) { return config_choice[CHOICE_DETOUR] == 0; }
static inline bool config_jit_in_kernel(void) { return config_choice[CHOICE_JIT_SINK] == 1; }
static inline bool config_debug(void) { return config_choice[CHOICE_DEBUG] == 1; }

/* Reads the environment. A bad value is told once on standard error; its default is used. */
void config_read(void);

/* The value of a variable ANONNAME_..., at start; NULL where it is not set, or the program is set-user-ID. */
const char *config_setting(const char *variable);

/* Was libc told to name its memory itself (the tunable glibc.mem.decorate_maps)? */
bool config_libc_names(void);

/* Rules have templates, too; their kinds follow KIND_COUNT. Returns NULL, or what is wrong with it. It is not copied. */
#define RULES_MAX 64
const char *config_rule(unsigned rule, const char *source);

/* The word for %k. */
const char *config_word(enum kind kind);

/* A thread id that is not known, and not the caller's either. */
#define TID_UNKNOWN UINT32_MAX

/* What is known of the memory that is named; as for code, see sink/code.h. */
enum memory {
	MEMORY_OLD,             /* some of it may be code */
	MEMORY_NEW,             /* it was just mapped, and not executable */
	MEMORY_CODE,            /* all of it is executable */
};

/* What a template can say. What is not known (NULL, "", 0) is left out, with the colon before it. */
struct fields {
	const char *allocator;  /* %a */
	const char *library;    /* %l */
	const char *thread;     /* %n */
	const char *routine;    /* %r: what a thread without a name of its own runs */
	const char *program;    /* %e */
	const char *label;      /* %c */
	const char *thing;      /* %k where it is not the kind's own word */
	size_t size;            /* %z */
	uint32_t index;         /* %i, where it has one: 0 is the first arena */
	uint32_t tid;           /* %t; 0: not known */
	uint32_t pid;           /* %p */
	bool has_index;
	uint8_t memory;         /* enum memory */
};

/*
 * The name of a region of that kind: at most ANONNAME_NAME_MAX bytes that the
 * kernel takes. coarse: leave out what differs between regions of one owner,
 * so that neighbours merge. Returns its length; 0 where the template is empty
 * and the kind is not to be named.
 */
size_t config_format(enum kind kind, const struct fields *f, bool coarse, char name[ANONNAME_NAME_MAX + 1]);

/* The fields that a kind's template uses: a bit (letter - 'a'). */
extern uint32_t config_fields[KIND_COUNT + RULES_MAX] OURS;
#define CONFIG_FIELD(letter) (1U << ((letter) - 'a'))

static inline bool config_uses(enum kind kind, char field) { return config_fields[kind] & CONFIG_FIELD(field); }

/* It uses %a, %l, %k, %e and %c alone: one owner, one name, while no label is pushed. */
static inline bool config_is_fixed(enum kind kind)
{
	return !(config_fields[kind] & ~(CONFIG_FIELD('a') | CONFIG_FIELD('l') | CONFIG_FIELD('k') | CONFIG_FIELD('e') |
					 CONFIG_FIELD('c')));
}

#endif
