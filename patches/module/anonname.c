// SPDX-License-Identifier: GPL-2.0-only
/*
 * Names for anonymous memory on a 6.1 kernel that was built without them:
 * prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME, start, length, name) as CONFIG_ANON_VMA_NAME=y has it,
 * without building the kernel anew.
 *
 * Such a kernel is complete but for a few lines.  Its struct vm_area_struct declares the place for a
 * name whatever the option says, and vma_merge() has the argument.  The lines that are missing are put
 * in front of the functions that lack them, as a live patch does it:
 *
 *     caller ---> function:  call __fentry__ ---> ftrace ---> redirect()   the address to go on at
 *                            push %rbp   <-----------+            |
 *                            ...                     |            v
 *                                                    +--- this file's function
 *
 * The function of this file calls the kernel's own behind its first instruction, so tracers see one call
 * where there was one.  What each does:
 *
 *     vm_area_dup       the copy holds the name, too (split, fork, mremap)
 *     vm_area_free      lets go of it (munmap, merge, exec, exit)
 *     vma_merge         neighbours with another name are barred
 *     copy_vma          the same where mremap moves
 *     mmap_region       what is new has no name, so named neighbours are barred
 *     do_brk_flags      the same for the heap
 *     show_map_vma      maps and smaps show the name
 *     *_sys_prctl       the call itself, for programs of 64 and of 32 bits
 *
 * To bar is to set a bit of vm_flags that means nothing in 6.1 while the kernel's function compares:
 * VMAs with different flags do not merge.  All this happens under the write lock of the address space,
 * and before it is let go the bit is gone.
 *
 * Certain or not at all: load() refuses, and says why, unless all is as it was when this was written;
 * then it tries each function on memory of the process that loads it, and takes all back if one is not
 * reached.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/cpumask.h>
#include <linux/delay.h>
#include <linux/ftrace.h>
#include <linux/kallsyms.h>
#include <linux/kprobes.h>
#include <linux/mempolicy.h>
#include <linux/mm.h>
#include <linux/mman.h>
#include <linux/module.h>
#include <linux/percpu.h>
#include <linux/prctl.h>
#include <linux/rcupdate.h>
#include <linux/security.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/utsname.h>
#include <linux/version.h>
#include <generated/utsrelease.h>

#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 1, 0) || LINUX_VERSION_CODE >= KERNEL_VERSION(6, 2, 0)
#error "this module is for Linux 6.1 and no other"
#endif
#ifdef CONFIG_ANON_VMA_NAME
#error "this kernel names anonymous memory itself (CONFIG_ANON_VMA_NAME=y): the module is not needed"
#endif
#if !defined(CONFIG_X86_64) || defined(CONFIG_X86_KERNEL_IBT) || !defined(CONFIG_HAVE_DYNAMIC_FTRACE_WITH_ARGS)
#error "this module is for x86-64 without CONFIG_X86_KERNEL_IBT"
#endif
#if !defined(CONFIG_DYNAMIC_FTRACE) || !defined(CONFIG_TASKS_RCU) || !defined(CONFIG_TASKS_RUDE_RCU) || \
	!defined(CONFIG_KPROBES) || !defined(CONFIG_KALLSYMS_ALL)
#error "this kernel lacks one of CONFIG_DYNAMIC_FTRACE, TASKS_RCU, TASKS_RUDE_RCU, KPROBES, KALLSYMS_ALL"
#endif
/* The versions of symbols hold the layout of the structures: a kernel with another one refuses the module. */
#if !defined(CONFIG_MODVERSIONS) || !defined(CONFIG_RANDSTRUCT_NONE)
#error "this module needs CONFIG_MODVERSIONS and CONFIG_RANDSTRUCT_NONE: nothing else tells that structures are as they were"
#endif

/* VM_DENYWRITE until 5.14; no flag of 6.1. */
#define BARRED 0x00000800UL

#define NAME_MAX_LENGTH 80
#define NAME_INVALID_CHARACTERS "\\`$[]"

static_assert(offsetof(struct vm_area_struct, anon_name) == offsetof(struct vm_area_struct, shared));
static_assert(sizeof_field(struct vm_area_struct, anon_name) <= sizeof_field(struct vm_area_struct, shared));

typedef long (*syscall_fn)(const struct pt_regs *regs);

/* The kernel's own functions: these are put before, and so entered behind their first instruction. */
static typeof(vm_area_dup) *kernel_dup;
static typeof(vm_area_free) *kernel_free;
static typeof(vma_merge) *kernel_merge;
static typeof(copy_vma) *kernel_copy;
static typeof(mmap_region) *kernel_region;
static int (*kernel_brk_flags)(struct ma_state *mas, struct vm_area_struct *vma, unsigned long addr, unsigned long len,
			       unsigned long flags);
static void (*kernel_show)(struct seq_file *m, struct vm_area_struct *vma);
static syscall_fn kernel_prctl, kernel_prctl_ia32;

/* These are called only. */
static typeof(__split_vma) *kernel_split;
static typeof(find_vma_prev) *kernel_find_prev;
static typeof(security_task_prctl) *kernel_security_prctl;
static syscall_fn kernel_mprotect, kernel_mremap, kernel_brk;
static int *kernel_max_map_count;
static struct kmem_cache **kernel_vma_cache;

/* How many tasks are in a function of this file: it cannot go before they have left. */
static DEFINE_PER_CPU(long, inside);

static void enter(void)
{
	this_cpu_inc(inside);
}

static void leave(void)
{
	this_cpu_dec(inside);
}

/* ---- names ---------------------------------------------------------------------------------------------- */

/* How many there are: while there is none, the kernel's functions run as they are, but for the call itself. */
static atomic_t names = ATOMIC_INIT(0);

/* Each name holds the module: while one lives, rmmod says that it is in use. */
static struct anon_vma_name *name_alloc(const char *text)
{
	size_t size = strlen(text) + 1;
	struct anon_vma_name *name = kmalloc(struct_size(name, name, size), GFP_KERNEL_ACCOUNT);

	if (!name)
		return NULL;
	__module_get(THIS_MODULE);
	atomic_inc(&names);
	kref_init(&name->kref);
	memcpy(name->name, text, size);
	return name;
}

static void name_release(struct kref *kref)
{
	kfree(container_of(kref, struct anon_vma_name, kref));
	atomic_dec(&names);
	module_put(THIS_MODULE);
}

static void name_put(struct anon_vma_name *name)
{
	if (name)
		kref_put(&name->kref, name_release);
}

/* False: the count is at its end. */
static __always_inline bool name_hold(struct anon_vma_name *name)
{
	if (unlikely(kref_read(&name->kref) >= REFCOUNT_MAX))
		return false;
	kref_get(&name->kref);
	return true;
}

/* One more reference, or a copy. NULL where there is no memory for it. */
static struct anon_vma_name *name_reuse(struct anon_vma_name *name)
{
	return name_hold(name) ? name : name_alloc(name->name);
}

static bool name_equal(const struct anon_vma_name *a, const struct anon_vma_name *b)
{
	return a == b || (a && b && !strcmp(a->name, b->name));
}

/* The place of the name belongs to the file's tree where there is a file. */
static struct anon_vma_name *name_of(const struct vm_area_struct *vma)
{
	return vma->vm_file ? NULL : vma->anon_name;
}

/* No name is given before all is tried out. */
static bool ready;

static bool any_names(void)
{
	return atomic_read(&names) != 0;
}

/* ---- what must not merge -------------------------------------------------------------------------------- */

/* True: it was not barred before, so it is the caller's to end it. */
static bool bar(struct vm_area_struct *vma)
{
	if (vma->vm_flags & BARRED)
		return false;
	vma->vm_flags |= BARRED;
	return true;
}

static void unbar(struct vm_area_struct *vma)
{
	vma->vm_flags &= ~BARRED;
}

static struct vm_area_struct *vma_at(struct mm_struct *mm, unsigned long addr)
{
	struct vm_area_struct *vma = find_vma(mm, addr);

	return vma && vma->vm_start <= addr ? vma : NULL;
}

/* What vma_merge() with the option would do for an area that has, or will have, this name. */
static struct vm_area_struct *merge_named(struct mm_struct *mm, struct vm_area_struct *prev, unsigned long addr,
					  unsigned long end, unsigned long vm_flags, struct anon_vma *anon_vma, pgoff_t pgoff,
					  struct mempolicy *policy, struct vm_userfaultfd_ctx uffd, struct anon_vma_name *name)
{
	struct vm_area_struct *before = NULL, *behind = NULL, *next, *merged;

	/* As vma_merge() finds them. */
	next = find_vma(mm, prev ? prev->vm_end : 0);
	if (next && next->vm_end == end)
		next = find_vma(mm, next->vm_end);
	if (prev && prev->vm_end == addr && !name_equal(name_of(prev), name) && bar(prev))
		before = prev;
	if (next && next->vm_start == end && !name_equal(name_of(next), name) && bar(next))
		behind = next;
	/* What is barred does not merge, so it is there afterwards. */
	merged = kernel_merge(mm, prev, addr, end, vm_flags, anon_vma, NULL, pgoff, policy, uffd, NULL);
	if (before)
		unbar(before);
	if (behind)
		unbar(behind);
	return merged;
}

/*
 * The kernel calls it without a name, so it is looked for:
 *
 *     a VMA is at addr             a part of it changes (mprotect, madvise, mlock, mbind, userfaultfd)
 *     prev ends there, not barred  it grows in place (mremap), or is what our_copy() found equal
 *     else                         our_copy() has barred what is to be barred
 */
static struct vm_area_struct *our_merge(struct mm_struct *mm, struct vm_area_struct *prev, unsigned long addr,
					unsigned long end, unsigned long vm_flags, struct anon_vma *anon_vma, struct file *file,
					pgoff_t pgoff, struct mempolicy *policy, struct vm_userfaultfd_ctx uffd,
					struct anon_vma_name *unused)
{
	struct vm_area_struct *changes, *merged;

	enter();
	changes = file ? NULL : vma_at(mm, addr);
	if (!changes && !file && prev && prev->vm_end == addr && !(prev->vm_flags & BARRED))
		changes = prev;
	if (changes)
		merged = merge_named(mm, prev, addr, end, vm_flags, anon_vma, pgoff, policy, uffd, name_of(changes));
	else
		merged = kernel_merge(mm, prev, addr, end, vm_flags, anon_vma, file, pgoff, policy, uffd, unused);
	leave();
	return merged;
}

/* Bars what touches start to end, which nothing lies in, and has another name; unbar_range() ends it. */
static void bar_touching(struct mm_struct *mm, unsigned long start, unsigned long end, struct anon_vma_name *name)
{
	struct vm_area_struct *before = start ? vma_at(mm, start - 1) : NULL, *behind = vma_at(mm, end);

	if (before && !before->vm_file && !name_equal(name_of(before), name))
		bar(before);
	if (behind && !behind->vm_file && !name_equal(name_of(behind), name))
		bar(behind);
}

/* All that touches it, since a barred VMA may have been split meanwhile. */
static void unbar_range(struct mm_struct *mm, unsigned long start, unsigned long end)
{
	struct vm_area_struct *vma;

	for (vma = find_vma(mm, start ? start - 1 : 0); vma && vma->vm_start <= end; vma = find_vma(mm, vma->vm_end))
		if (vma->vm_flags & BARRED)
			unbar(vma);
}

static struct vm_area_struct *our_copy(struct vm_area_struct **vma, unsigned long addr, unsigned long len, pgoff_t pgoff,
				       bool *need_rmap_locks, bool keep_source)
{
	struct mm_struct *mm = (*vma)->vm_mm;
	bool look = !(*vma)->vm_file;
	struct vm_area_struct *copy;

	enter();
	if (look)
		bar_touching(mm, addr, addr + len, name_of(*vma));
	copy = kernel_copy(vma, addr, len, pgoff, need_rmap_locks, keep_source);
	if (look)
		unbar_range(mm, addr, addr + len);
	leave();
	return copy;
}

/* A new mapping does not come through vma_merge(), it grows its neighbours itself. */
static unsigned long our_region(struct file *file, unsigned long addr, unsigned long len, vm_flags_t vm_flags,
				unsigned long pgoff, struct list_head *uf)
{
	struct mm_struct *mm = current->mm;
	bool look = !file;
	unsigned long mapped;

	enter();
	if (look)
		bar_touching(mm, addr, addr + len, NULL);
	mapped = kernel_region(file, addr, len, vm_flags, pgoff, uf);
	if (look)
		unbar_range(mm, addr, addr + len);
	leave();
	return mapped;
}

/* vma ends where the heap grows, or is something else. */
static int our_brk_flags(struct ma_state *mas, struct vm_area_struct *vma, unsigned long addr, unsigned long len,
			 unsigned long flags)
{
	bool barred;
	int error;

	enter();
	barred = vma && name_of(vma) && bar(vma);
	error = kernel_brk_flags(mas, vma, addr, len, flags);
	if (barred)
		unbar(vma);
	leave();
	return error;
}

/* ---- a VMA's life --------------------------------------------------------------------------------------- */

static struct vm_area_struct *our_dup(struct vm_area_struct *from)
{
	struct vm_area_struct *vma;

	enter();
	vma = kernel_dup(from);
	/* The name first: most have none. */
	if (vma && vma->anon_name && name_of(vma) && !name_hold(vma->anon_name))
		vma->anon_name = name_alloc(vma->anon_name->name);
	leave();
	return vma;
}

static void our_free(struct vm_area_struct *vma)
{
	enter();
	name_put(name_of(vma));
	kernel_free(vma);
	leave();
}

/* ---- maps and smaps ------------------------------------------------------------------------------------- */

/*
 * The name comes last in the kernel's order, so it is shown only where nothing else was: then the line
 * has ended before the column that names begin in.
 */
static void our_show(struct seq_file *m, struct vm_area_struct *vma)
{
	struct anon_vma_name *name;

	enter();
	kernel_show(m, vma);
	name = vma->vm_mm ? name_of(vma) : NULL;
	if (name && !seq_has_overflowed(m) && m->count <= m->pad_until && m->count && m->buf[m->count - 1] == '\n') {
		m->count--;
		seq_pad(m, ' ');
		seq_printf(m, "[anon:%s]\n", name->name);
	}
	leave();
}

/* ---- the call ------------------------------------------------------------------------------------------- */

/* Names start to end, a part of vma; *prev is then the VMA that it lies in. */
static int name_part(struct mm_struct *mm, struct vm_area_struct *vma, struct vm_area_struct **prev, unsigned long start,
		     unsigned long end, struct anon_vma_name *name)
{
	pgoff_t pgoff = vma->vm_pgoff + ((start - vma->vm_start) >> PAGE_SHIFT);
	struct anon_vma_name *old = name_of(vma);
	struct vm_area_struct *merged = NULL;
	int error = 0;

	if (!name_equal(old, name))
		merged = merge_named(mm, *prev, start, end, vma->vm_flags, vma->anon_vma, pgoff, vma_policy(vma),
				     vma->vm_userfaultfd_ctx, name);
	*prev = merged ?: vma;
	if (merged || name_equal(old, name))
		return 0;

	if (start != vma->vm_start)
		error = mm->map_count >= *kernel_max_map_count ? -ENOMEM : kernel_split(mm, vma, start, 1);
	if (!error && end != vma->vm_end)
		error = mm->map_count >= *kernel_max_map_count ? -ENOMEM : kernel_split(mm, vma, end, 0);
	if (error)
		return error;
	vma->anon_name = name ? name_reuse(name) : NULL;
	name_put(old);
	return 0;
}

/* start < end. The walk goes on over holes, and ends at the first thing that has no name to give. */
static int name_range(struct mm_struct *mm, unsigned long start, unsigned long end, struct anon_vma_name *name)
{
	struct vm_area_struct *prev, *vma = kernel_find_prev(mm, start, &prev);
	int hole = 0, error;

	if (vma && start > vma->vm_start)
		prev = vma;
	for (; vma; vma = find_vma(mm, prev->vm_end)) {
		if (start < vma->vm_start) {
			hole = -ENOMEM;
			start = vma->vm_start;
			if (start >= end)
				return hole;
		}
		if (vma->vm_file)
			return -EBADF;
		error = name_part(mm, vma, &prev, start, min(end, vma->vm_end), name);
		if (error)
			return error == -ENOMEM ? -EAGAIN : error;
		start = prev->vm_end;
		if (start >= end)
			return hole;
	}
	return -ENOMEM;
}

/* NULL: no name is asked for. */
static struct anon_vma_name *name_from_user(const char __user *user)
{
	struct anon_vma_name *name;
	char *text, *c;

	if (!user)
		return NULL;
	text = strndup_user(user, NAME_MAX_LENGTH);
	if (IS_ERR(text))
		return ERR_CAST(text);
	for (c = text; *c > 0x1f && *c < 0x7f && !strchr(NAME_INVALID_CHARACTERS, *c); c++)
		;
	name = *c ? ERR_PTR(-EINVAL) : name_alloc(text) ?: ERR_PTR(-ENOMEM);
	kfree(text);
	return name;
}

static int name_checked_range(unsigned long start, unsigned long size, struct anon_vma_name *name)
{
	unsigned long len = PAGE_ALIGN(size), end = start + len;
	int error;

	if ((start & ~PAGE_MASK) || (size && !len) || end < start)
		return -EINVAL;
	if (end == start)
		return 0;
	mmap_write_lock(current->mm);
	error = name_range(current->mm, start, end, name);
	mmap_write_unlock(current->mm);
	return error;
}

static long set_vma(unsigned long what, unsigned long start, unsigned long size, unsigned long text)
{
	struct anon_vma_name *name;
	long error = kernel_security_prctl(PR_SET_VMA, what, start, size, text);

	if (error != -ENOSYS)
		return error;
	/* On its way in or out the module does as the kernel without it. */
	if (what != PR_SET_VMA_ANON_NAME || !READ_ONCE(ready) || !try_module_get(THIS_MODULE))
		return -EINVAL;
	name = name_from_user((const char __user *)text);
	error = PTR_ERR_OR_ZERO(name);
	if (!error) {
		error = name_checked_range(start, size, name);
		name_put(name);
	}
	module_put(THIS_MODULE);
	return error;
}

static long our_prctl(const struct pt_regs *regs)
{
	long r;

	enter();
	if ((int)regs->di == PR_SET_VMA)
		r = set_vma(regs->si, regs->dx, regs->r10, regs->r8);
	else
		r = kernel_prctl(regs);
	leave();
	return r;
}

static long our_prctl_ia32(const struct pt_regs *regs)
{
	long r;

	enter();
	if ((int)regs->bx == PR_SET_VMA)
		r = set_vma((u32)regs->cx, (u32)regs->dx, (u32)regs->si, (u32)regs->di);
	else
		r = kernel_prctl_ia32(regs);
	leave();
	return r;
}

/* ---- hooks ---------------------------------------------------------------------------------------------- */

/* A function of the kernel; one that has `ours` is replaced by it. */
struct function {
	const char *symbol;
	void *pointer;		/* the variable above that gets its address */
	void *ours;
	unsigned long at;
	unsigned int found;
};

#define HOOKED(name, variable, function) { .symbol = name, .pointer = &(variable), .ours = function }
#define CALLED(name, variable) { .symbol = name, .pointer = &(variable) }

/* redirect() reads from the first one on: what is called most comes first, and what has no `ours` last. */
static struct function functions[] = {
	HOOKED("vm_area_dup", kernel_dup, our_dup),
	HOOKED("vm_area_free", kernel_free, our_free),
	HOOKED("vma_merge", kernel_merge, our_merge),
	HOOKED("mmap_region", kernel_region, our_region),
	HOOKED("copy_vma", kernel_copy, our_copy),
	HOOKED("do_brk_flags", kernel_brk_flags, our_brk_flags),
	HOOKED("show_map_vma", kernel_show, our_show),
	HOOKED("__x64_sys_prctl", kernel_prctl, our_prctl),
	HOOKED("__ia32_sys_prctl", kernel_prctl_ia32, our_prctl_ia32),
	CALLED("__split_vma", kernel_split),
	CALLED("find_vma_prev", kernel_find_prev),
	CALLED("security_task_prctl", kernel_security_prctl),
	CALLED("__x64_sys_mprotect", kernel_mprotect),
	CALLED("__x64_sys_mremap", kernel_mremap),
	CALLED("__x64_sys_brk", kernel_brk),
	CALLED("sysctl_max_map_count", kernel_max_map_count),
	CALLED("vm_area_cachep", kernel_vma_cache),
};

#define FUNCTIONS_END (functions + ARRAY_SIZE(functions))

/* The call, which makes names where there are none.  kernel_prctl is behind the call to ftrace. */
static __always_inline bool is_prctl(unsigned long ip)
{
	return ip + MCOUNT_INSN_SIZE == (unsigned long)kernel_prctl || ip + MCOUNT_INSN_SIZE == (unsigned long)kernel_prctl_ia32;
}

static noinline notrace void redirect_by_table(unsigned long ip, struct ftrace_regs *fregs)
{
	const struct function *f;

	for (f = functions + 1; f->at != ip; f++)
		if (!f->ours)
			return;
	ftrace_instruction_pointer_set(fregs, (unsigned long)f->ours);
}

/*
 * Memory that a function here works on gets no first name meanwhile: who calls it holds the lock of the
 * address space, as who names must.  The first is the copy of a VMA: a fork has thousands.
 */
static void notrace redirect(unsigned long ip, unsigned long parent_ip, struct ftrace_ops *ops, struct ftrace_regs *fregs)
{
	if (!any_names() && !is_prctl(ip))
		return;
	if (likely(functions->at == ip))
		ftrace_instruction_pointer_set(fregs, (unsigned long)functions->ours);
	else
		redirect_by_table(ip, fregs);
}

/*
 * One for all functions: to take one away, ftrace waits for every task of the machine.
 * Not to be switched off (kernel.ftrace_enabled) while it is in use: names would be lost or freed twice.
 */
static struct ftrace_ops hooks = { .func = redirect, .flags = FTRACE_OPS_FL_IPMODIFY | FTRACE_OPS_FL_PERMANENT };

/* "vma_merge.constprop.0" beside "vma_merge": a copy made by the compiler, which no hook would see. */
static bool is_copy(const char *name, const char *symbol)
{
	size_t length = strlen(symbol);

	return !strncmp(name, symbol, length) && name[length] == '.' && strcmp(name + length, ".cold");
}

static int note_symbol(void *refusal, const char *name, struct module *module, unsigned long at)
{
	struct function *f;

	if (module)
		return 0;
	for (f = functions; f < FUNCTIONS_END; f++) {
		if (!strcmp(name, f->symbol)) {
			f->at = at;
			f->found++;
		} else if (f->ours && is_copy(name, f->symbol)) {
			f->found = 2;
		}
	}
	return 0;
}

static int refuse(int error, const char *why)
{
	pr_err("not loaded: %s\n", why);
	return error;
}

static int refuse_for(int error, const char *symbol, const char *why)
{
	pr_err("not loaded: %s: %s (%d)\n", symbol, why, error);
	return error;
}

/* The table of symbols is not for modules; a kprobe says where its function is. */
static int find_symbols(void)
{
	struct kprobe probe = { .symbol_name = "kallsyms_on_each_symbol" };
	typeof(kallsyms_on_each_symbol) *on_each_symbol;
	struct function *f;
	int error = register_kprobe(&probe);

	if (error)
		return refuse_for(error, probe.symbol_name, "no kprobe can be set to find the kernel's symbols");
	on_each_symbol = (void *)probe.addr;
	unregister_kprobe(&probe);
	on_each_symbol(note_symbol, NULL);
	for (f = functions; f < FUNCTIONS_END; f++) {
		if (f->found != 1)
			return refuse_for(-ENOENT, f->symbol, f->found ? "the kernel has more than one" : "the kernel has none");
		/* Behind the call to ftrace. */
		*(unsigned long *)f->pointer = f->at + (f->ours ? MCOUNT_INSN_SIZE : 0);
	}
	return 0;
}

/* Until nobody is in a function of this file, or on the way in or out. */
static void wait_until_left(void)
{
	long tasks;
	int cpu;

	/* Who was sent here has come in: it goes on, or sleeps in the kernel's function. */
	synchronize_rcu_tasks();
	do {
		tasks = 0;
		for_each_possible_cpu(cpu)
			tasks += READ_ONCE(per_cpu(inside, cpu));
		if (tasks)
			msleep(10);
	} while (tasks);
	/* Who has said that it leaves has left. */
	synchronize_rcu_tasks();
}

static int set_filter(void)
{
	struct function *f;
	int error;

	for (f = functions; f->ours; f++) {
		error = ftrace_set_filter_ip(&hooks, f->at, 0, 0);
		if (error)
			return refuse_for(error, f->symbol, "ftrace does not know it");
	}
	return 0;
}

/* A bug that the kernel's log has: its functions may lead here for ever, so this file's must not go. */
static void ftrace_has_broken_down(void)
{
	pr_err("ftrace has broken down; this stays until the next boot\n");
	for (;;)
		ssleep(60);
}

/*
 * While ftrace finds out that it cannot have them all, who traces one of the functions may be sent here, and
 * reads the filter.  ftrace does not wait for those.
 */
static int hook(void)
{
	int error = set_filter();

	if (!error) {
		error = register_ftrace_function(&hooks);
		if (!error)
			return 0;
		if (error == -ENODEV)
			ftrace_has_broken_down();
		synchronize_rcu_tasks_rude();
		wait_until_left();
		refuse_for(error, "ftrace", error == -EBUSY ?
			   "a function is hooked by somebody else (a live patch?), or kernel.ftrace_enabled is 0" :
			   "it does not hook the functions");
	}
	ftrace_free_filter(&hooks);
	return error;
}

static void unhook(void)
{
	if (unregister_ftrace_function(&hooks))
		ftrace_has_broken_down();
	wait_until_left();
	ftrace_free_filter(&hooks);
}

/* ---- the trial ------------------------------------------------------------------------------------------ */

static long call(syscall_fn fn, unsigned long a, unsigned long b, unsigned long c, unsigned long d, unsigned long e)
{
	struct pt_regs regs = { .di = a, .si = b, .dx = c, .r10 = d, .r8 = e };

	return fn(&regs);
}

/* Names pages [from, to) of the trial's memory as the call does it; no text: takes the name away. */
static int trial_name(unsigned long base, int from, int to, const char *text)
{
	struct anon_vma_name *name = text ? name_alloc(text) : NULL;
	int error;

	if (text && !name)
		return -ENOMEM;
	error = name_checked_range(base + from * PAGE_SIZE, (to - from) * PAGE_SIZE, name);
	name_put(name);
	return error;
}

/* Is page `from` the first and `to` the one behind the last of a VMA, with this name? */
static bool trial_shows(unsigned long base, int from, int to, const char *text)
{
	struct mm_struct *mm = current->mm;
	struct vm_area_struct *vma;
	bool same;

	mmap_read_lock(mm);
	vma = find_vma(mm, base + from * PAGE_SIZE);
	same = vma && vma->vm_start == base + from * PAGE_SIZE && vma->vm_end == base + to * PAGE_SIZE &&
	       !(vma->vm_flags & BARRED) &&
	       (text ? name_of(vma) && !strcmp(name_of(vma)->name, text) : !name_of(vma));
	mmap_read_unlock(mm);
	return same;
}

static bool trial_map(unsigned long base, int from, int to)
{
	unsigned long at = base + from * PAGE_SIZE;

	return vm_mmap(NULL, at, (to - from) * PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, 0) == at;
}

static bool trial_protect(unsigned long base, int from, int to, unsigned long protection)
{
	return !call(kernel_mprotect, base + from * PAGE_SIZE, (to - from) * PAGE_SIZE, protection, 0, 0);
}

/* Pages 2 to 14 are writable, pages 0 to 2 and from 14 on not: what is beside them merges with nothing. */
static const char *trial_of_mappings(unsigned long base)
{
	if (!trial_map(base, 2, 14) || trial_name(base, 4, 6, "a") || !trial_shows(base, 2, 4, NULL) ||
	    !trial_shows(base, 4, 6, "a") || !trial_shows(base, 6, 14, NULL))
		return "a part of a mapping is not named";
	if (!trial_map(base, 6, 8) || !trial_map(base, 3, 4) || !trial_shows(base, 2, 4, NULL) || !trial_shows(base, 4, 6, "a") ||
	    !trial_shows(base, 6, 14, NULL))
		return "a new mapping beside a named one";
	if (!trial_protect(base, 4, 8, PROT_READ) || !trial_shows(base, 4, 6, "a") || !trial_shows(base, 6, 8, NULL) ||
	    !trial_protect(base, 5, 8, PROT_READ | PROT_WRITE) || !trial_shows(base, 5, 6, "a") ||
	    !trial_protect(base, 4, 5, PROT_READ | PROT_WRITE) || !trial_shows(base, 4, 6, "a") || !trial_shows(base, 6, 14, NULL))
		return "a changed protection";
	if (call(kernel_mremap, base + 4 * PAGE_SIZE, 2 * PAGE_SIZE, 2 * PAGE_SIZE, MREMAP_MAYMOVE | MREMAP_FIXED,
		 base + 10 * PAGE_SIZE) != base + 10 * PAGE_SIZE ||
	    !trial_shows(base, 6, 10, NULL) || !trial_shows(base, 10, 12, "a") || !trial_shows(base, 12, 14, NULL))
		return "a moved mapping";
	if (trial_name(base, 12, 13, "a") || !trial_shows(base, 10, 13, "a") || trial_name(base, 10, 13, NULL) ||
	    !trial_shows(base, 6, 14, NULL))
		return "a name taken away";
	return trial_name(base, 8, 9, "b") ? "a part of a mapping is not named" : NULL;
}

/* The heap of the process that loads the module grows by three pages, the last beside a name. */
static const char *trial_of_heap(void)
{
	unsigned long end = current->mm->brk, base = PAGE_ALIGN(end);
	const char *wrong = NULL;

	if (call(kernel_brk, base + 2 * PAGE_SIZE, 0, 0, 0, 0) != base + 2 * PAGE_SIZE)
		return "the heap does not grow";
	if (trial_name(base, 0, 2, "heap") || call(kernel_brk, base + 3 * PAGE_SIZE, 0, 0, 0, 0) != base + 3 * PAGE_SIZE ||
	    !trial_shows(base, 0, 2, "heap") || !trial_shows(base, 2, 3, NULL))
		wrong = "a heap that grows beside a name";
	call(kernel_brk, end, 0, 0, 0, 0);
	return wrong;
}

/* Each function is reached: the compiler may have put a copy of one where it is called. */
static int try_out(void)
{
	unsigned long base = vm_mmap(NULL, 0, 16 * PAGE_SIZE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, 0);
	const char *wrong;

	if (IS_ERR_VALUE(base))
		return refuse_for(base, "the trial", "there is no memory for it");
	wrong = trial_of_mappings(base);
	if (!wrong)
		wrong = trial_of_heap();
	vm_munmap(base, 16 * PAGE_SIZE);
	return wrong ? refuse_for(-ENODEV, "the trial", wrong) : 0;
}

/* ---- load and unload ------------------------------------------------------------------------------------ */

static int check_kernel(void)
{
	if (strcmp(utsname()->release, UTS_RELEASE))
		return refuse(-ENODEV, "it was built for Linux " UTS_RELEASE ", which is not the one that runs");
	if (test_bit(TAINT_FORCED_MODULE, &THIS_MODULE->taints))
		return refuse(-ENODEV, "it was forced: versions that do not fit are a reason not to load");
	if (security_locked_down(LOCKDOWN_KPROBES))
		return refuse(-EPERM, "the kernel is locked down");
	if (!current->mm)
		return refuse(-ENODEV, "it is loaded by a kernel thread, which has no memory to try names on");
	return 0;
}

static int __init load(void)
{
	int error = check_kernel() ?: find_symbols();

	if (error)
		return error;
	if (kmem_cache_size(*kernel_vma_cache) != sizeof(struct vm_area_struct))
		return refuse(-ENODEV, "struct vm_area_struct has another size");
	error = hook();
	if (error)
		return error;
	error = try_out();
	if (!error && any_names())
		error = refuse(-ENODEV, "a name was not freed");
	if (error) {
		unhook();
		return error;
	}
	WRITE_ONCE(ready, true);
	pr_info("anonymous memory can be named\n");
	return 0;
}

static void __exit unload(void)
{
	unhook();
	pr_info("anonymous memory can no longer be named\n");
}

static int names_get(char *buffer, const struct kernel_param *unused)
{
	return sysfs_emit(buffer, "%d\n", atomic_read(&names));
}

static const struct kernel_param_ops names_ops = { .get = names_get };

module_param_cb(names, &names_ops, NULL, 0444);
MODULE_PARM_DESC(names, "how many names there are now (read only)");
module_init(load);
module_exit(unload);
MODULE_DESCRIPTION("Names for anonymous memory (PR_SET_VMA_ANON_NAME) on a kernel built without them");
MODULE_LICENSE("GPL");
