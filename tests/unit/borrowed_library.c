/* SPDX-License-Identifier: MIT */
/* What test_borrow.c has loaded: every kind of reference that borrow.c binds. */
#include <stddef.h>

int wanted(int x);
int unknown(void);
int maybe(void) __attribute__((weak));

int borrowed_wanted(int x);
int borrowed_unknown(void);
int borrowed_maybe(void);
char *borrowed_bss(size_t *size);
const char *borrowed_word(unsigned i);
int borrowed_own(void);
int *borrowed_tls(void);

static char bss[5 * 4096 + 100];
static int first = 41, *pointer = &first;
static __thread int tls;

/* Read-only once it is relocated. */
static const char *const words[] = { "none", "one", "two" };

int borrowed_wanted(int x) { return wanted(x); }
int borrowed_unknown(void) { return unknown(); }
int borrowed_maybe(void) { return maybe ? maybe() : -1; }

char *borrowed_bss(size_t *size)
{
	*size = sizeof(bss);
	return bss;
}

const char *borrowed_word(unsigned i) { return words[i]; }
int borrowed_own(void) { return ++*pointer; }
int *borrowed_tls(void) { return &tls; }
