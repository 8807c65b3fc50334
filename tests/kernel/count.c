// SPDX-License-Identifier: MIT
/*
 * The end of a name's count, which no test can reach in a kernel: 2^31 VMAs.
 * The series' own include/linux/vma_name.h is compiled here, with a count of
 * 8 bits.  run-stress.sh takes the header out of the patches.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- what the header has from the kernel; its includes are empty files ---- */

typedef struct { _Atomic signed char counter; } refcount_t;

#define CONFIG_ANON_VMA_NAME 1
#define ENOMEM 12
#define REFCOUNT_MAX 127
#define unlikely(x) (x)
#define NULL_VMA_NAME ((struct vma_name) {})
#define mmap_assert_locked(mm) ((void)(mm))

struct vma_name { struct anon_vma_name *obj; };
struct vm_area_struct { void *vm_mm, *vm_file; struct vma_name anon_name; };

static void need(bool ok, const char *what)
{
	if (ok)
		return;
	printf("count: %s\n", what);
	exit(1);
}

static int refcount_read(const refcount_t *r)
{
	return r->counter;
}

/* The kernel's warns there, and never frees what it counts. */
static void refcount_inc(refcount_t *r)
{
	need(atomic_fetch_add(&r->counter, 1) < REFCOUNT_MAX, "the count is saturated");
}

static bool refcount_dec_and_test(refcount_t *r)
{
	return atomic_fetch_sub(&r->counter, 1) == 1;
}

static void kfree(const void *object);

#include "linux/vma_name.h"

/* ---- names: freed ones are kept, so that each later use of one is seen ------ */

enum { MOST = REFCOUNT_MAX / 2, THREADS = 4, KEPT = 100, ROUNDS = 200000 };

static const char text[] = "owner:thing";
static atomic_int living, copies;
static bool out_of_memory;
static struct vm_area_struct first;	/* of all tasks */

struct vma_name vma_name_alloc(const char *from)
{
	struct anon_vma_name *obj = out_of_memory ? NULL : malloc(sizeof *obj + strlen(from) + 1);

	if (obj) {
		atomic_store(&obj->refs.counter, 1);
		strcpy(obj->text, from);
		atomic_fetch_add(&living, 1);
		atomic_fetch_add(&copies, 1);
	}
	return (struct vma_name) { obj };
}

static void kfree(const void *object)
{
	struct anon_vma_name *obj = (struct anon_vma_name *)object;

	need(!strcmp(obj->text, text), "a name was freed twice");
	obj->text[0] = '\0';
	atomic_fetch_sub(&living, 1);
}

static void is_alive(struct vma_name name)
{
	need(name.obj && !strcmp(name.obj->text, text), "a name was freed while a VMA had it");
}

/* A VMA that comes from @from by a split. */
static void split(struct vm_area_struct *vma, const struct vm_area_struct *from)
{
	is_alive(from->anon_name);
	*vma = *from;
	vma_name_dup(vma);
	is_alive(vma->anon_name);
}

/* Splits and unmaps; four of these want more of one name than can be counted. */
static void *task(void *arg)
{
	struct vm_area_struct vmas[KEPT];
	unsigned random = (unsigned)(size_t)arg;
	int n = 0;

	for (int i = 0; i < ROUNDS; i++) {
		random = random * 1664525 + 1013904223;
		if (n < KEPT && (!n || random >> 31 || i < ROUNDS / 2)) {
			split(&vmas[n], random >> 30 & 1 || !n ? &first : &vmas[(random >> 8) % n]);
			n++;
		} else {
			vma_name_free(&vmas[--n]);
		}
		/* madvise, for a moment. */
		vma_name_get(first.anon_name);
		vma_name_put(first.anon_name);
	}
	while (n)
		vma_name_free(&vmas[--n]);
	return NULL;
}

/* As many share as is safe, then copies. */
static void one_by_one(void)
{
	struct vm_area_struct vmas[MOST + 2] = { 0 }, other = { 0 };
	struct vma_name name = vma_name_alloc(text);

	need(!vma_name_set(&vmas[0], name), "the name is not set");
	vma_name_put(name);
	for (int i = 1; i < MOST; i++) {
		split(&vmas[i], &vmas[0]);
		need(vmas[i].anon_name.obj == name.obj, "a copy where the name could be shared");
	}
	split(&vmas[MOST], &vmas[0]);
	need(vmas[MOST].anon_name.obj != name.obj, "shared by too many");
	need(vma_name_equal(vmas[MOST].anon_name, name), "the copy is another name");

	out_of_memory = true;
	vmas[MOST + 1] = vmas[0];
	vma_name_dup(&vmas[MOST + 1]);
	need(!vmas[MOST + 1].anon_name.obj, "a name without memory for it");
	need(vma_name_set(&other, name) == -ENOMEM, "no ENOMEM");
	out_of_memory = false;

	vma_name_free(&vmas[1]);
	split(&vmas[1], &vmas[0]);
	need(vmas[1].anon_name.obj == name.obj, "not shared again");
	for (int i = 0; i < MOST + 2; i++)
		vma_name_free(&vmas[i]);
	need(!living, "a name is left, one by one");
}

int main(void)
{
	pthread_t threads[THREADS];

	one_by_one();
	copies = 0;
	first.anon_name = vma_name_alloc(text);
	for (int i = 0; i < THREADS; i++)
		need(!pthread_create(&threads[i], NULL, task, (void *)(size_t)i), "no thread");
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	vma_name_free(&first);
	need(copies > 1, "the end of the count was not met");
	need(!living, "a name is left");
	printf("count: at its end names are copied (%d times), none is lost or freed early\n", copies - 1);
	return 0;
}
