/* SPDX-License-Identifier: MIT */
/* Reads a core file's headers and notes, and memory out of it. See core.h. */
#include "core.h"

#include "core_parts.h"
#include "files.h"
#include "list.h"
#include "text.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define HEADERS_MAX (1U << 18)      /* a process has 65,530 mappings, unless it is allowed more */
#define NOTES_MAX   (64ULL << 20)
#define THREADS_MAX (1U << 20)

/* Of struct elf_prstatus and elf_prpsinfo, which are alike on all 64-bit machines. */
#define STATUS_PID  32
#define INFO_PID    24
#define INFO_NAME   40

static bool read_all(int fd, uint64_t offset, void *buffer, size_t size)
{
	for (size_t done = 0; done < size;) {
		ssize_t got = offset + done > INT64_MAX ? 0 : pread(fd, (char *)buffer + done, size - done, (off_t)(offset + done));

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return false;
		done += (size_t)got;
	}
	return true;
}

/* --- program headers -------------------------------------------------------------- */

/* Where there are too many for the field, section 0 has the number. */
static bool header_count(const struct core *core, const Elf64_Ehdr *head, size_t *count)
{
	Elf64_Shdr section;

	*count = head->e_phnum;
	if (head->e_phnum != PN_XNUM)
		return true;
	if (!read_all(core->fd, head->e_shoff, &section, sizeof(section)))
		return false;
	*count = section.sh_info;
	return *count <= HEADERS_MAX;
}

static int add_segment(struct core *core, const Elf64_Phdr *ph)
{
	struct core_segment *grown, *last = core->segments ? &core->segment[core->segments - 1] : NULL;
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE), end = ph->p_vaddr + ph->p_memsz;

	/* What is out of order, or no memory, is left out. */
	if (!ph->p_memsz || ph->p_vaddr % page || ph->p_memsz % page || end < ph->p_vaddr || end > INT64_MAX ||
	    ph->p_offset > INT64_MAX || (last && ph->p_vaddr < last->end))
		return 0;
	grown = list_grown(core->segment, core->segments, &core->room, sizeof(*grown), 256, HEADERS_MAX);
	if (!grown)
		return -ENOMEM;
	core->segment = grown;
	core->segment[core->segments++] = (struct core_segment){
		.start = ph->p_vaddr, .end = end, .offset = ph->p_offset,
		.bytes = ph->p_filesz < ph->p_memsz ? ph->p_filesz : ph->p_memsz, .flags = ph->p_flags,
	};
	return 0;
}

/* What the file ends before is not there. */
static void cut_segments(struct core *core)
{
	for (size_t i = 0; i < core->segments; i++) {
		struct core_segment *segment = &core->segment[i];
		uint64_t left = segment->offset < core->size ? core->size - segment->offset : 0;

		if (segment->bytes > left) {
			core->missing += segment->bytes - left;
			segment->bytes = left;
		}
	}
}

/* --- notes -------------------------------------------------------------------------- */

static uint64_t word_at(const char *at)
{
	uint64_t word;

	memcpy(&word, at, sizeof(word));
	return word;
}

static uint32_t u32_at(const char *at)
{
	uint32_t word;

	memcpy(&word, at, sizeof(word));
	return word;
}

static int add_thread(struct core *core, const char *status, size_t size)
{
	pid_t *grown, tid = size >= STATUS_PID + sizeof(tid) ? (pid_t)u32_at(status + STATUS_PID) : 0;

	if (tid <= 0)
		return 0;
	grown = list_grown(core->tid, core->tids, &core->tids_room, sizeof(*grown), 64, THREADS_MAX);
	if (!grown)
		return -ENOMEM;
	core->tid = grown;
	core->tid[core->tids++] = tid;
	return 0;
}

static void take_info(struct core *core, const char *info, size_t size)
{
	if (size < INFO_NAME + sizeof(core->comm) - 1)
		return;
	core->pid = (pid_t)u32_at(info + INFO_PID);
	memcpy(core->comm, info + INFO_NAME, sizeof(core->comm) - 1);
}

static void take_vector(struct core *core, const char *vector, size_t size)
{
	core->vector = vector;
	core->vector_size = size;
	for (size_t at = 0; at + 2 * sizeof(uint64_t) <= size; at += 2 * sizeof(uint64_t)) {
		uint64_t key = word_at(vector + at), value = word_at(vector + at + sizeof(key));

		if (key == AT_EXECFN)
			core->stack = value;
		if (key == AT_SYSINFO_EHDR)
			core->vdso = value;
	}
}

/* Count, size of a page; start, end and offset of each; their paths. */
static int take_files(struct core *core, const char *files, size_t size)
{
	enum { HEAD = 16, EACH = 24 };
	uint64_t count = size >= HEAD ? word_at(files) : 0, page = size >= HEAD ? word_at(files + 8) : 0;
	const char *path, *end = files + size;

	if (!count || core->file || count > HEADERS_MAX || count > (size - HEAD) / EACH || page > 1U << 16)
		return 0;
	core->file = calloc(count, sizeof(*core->file));
	if (!core->file)
		return -ENOMEM;
	path = files + HEAD + count * EACH;
	for (uint64_t i = 0; i < count; i++) {
		const char *range = files + HEAD + i * EACH, *zero = memchr(path, '\0', (size_t)(end - path));

		/* Sorted, for who looks one up. */
		if (!zero || word_at(range) >= word_at(range + 8) || (core->files && word_at(range) < core->file[core->files - 1].end))
			break;
		core->file[core->files++] = (struct core_mapped){ word_at(range), word_at(range + 8), word_at(range + 16) * page, path };
		path = zero + 1;
	}
	return 0;
}

static int take_note(struct core *core, uint32_t type, const char *name, size_t name_size, const char *body, size_t size)
{
	if (name_size != sizeof("CORE") || memcmp(name, "CORE", sizeof("CORE")))
		return 0;
	switch (type) {
	case NT_PRSTATUS: return add_thread(core, body, size);
	case NT_PRPSINFO: take_info(core, body, size); return 0;
	case NT_AUXV: take_vector(core, body, size); return 0;
	case NT_FILE: return take_files(core, body, size);
	default: return 0;
	}
}

static size_t padded(uint64_t size)
{
	return (size_t)((size + 3) & ~3ULL);
}

static int take_notes(struct core *core)
{
	const char *at = core->notes, *end;
	int error = 0;

	if (!at)
		return 0;
	end = at + core->notes_size;
	while (!error && (size_t)(end - at) >= sizeof(Elf64_Nhdr)) {
		Elf64_Nhdr head;
		size_t left = (size_t)(end - at) - sizeof(head);

		memcpy(&head, at, sizeof(head));
		at += sizeof(head);
		if (padded(head.n_namesz) > left || padded(head.n_descsz) > left - padded(head.n_namesz))
			break;
		error = take_note(core, head.n_type, at, head.n_namesz, at + padded(head.n_namesz), head.n_descsz);
		at += padded(head.n_namesz) + padded(head.n_descsz);
	}
	return error;
}

/* The first such segment; of what is cut off, as much as is there. */
static int read_notes(struct core *core, const Elf64_Phdr *ph)
{
	uint64_t size = ph->p_filesz, left = ph->p_offset < core->size ? core->size - ph->p_offset : 0;

	if (core->notes)
		return 0;
	core->missing += size > left ? size - left : 0;
	size = size < left ? size : left;
	size = size < NOTES_MAX ? size : NOTES_MAX;
	core->notes = malloc(size + 1);
	if (!core->notes)
		return -ENOMEM;
	if (read_all(core->fd, ph->p_offset, core->notes, size))
		core->notes_size = size;
	return 0;
}

/* --- opening ------------------------------------------------------------------------ */

static bool is_core(const Elf64_Ehdr *head)
{
	return !memcmp(head->e_ident, ELFMAG, SELFMAG) && head->e_ident[EI_CLASS] == ELFCLASS64 &&
	       head->e_ident[EI_DATA] == ELFDATA2LSB &&
	       head->e_type == ET_CORE && (head->e_machine == EM_X86_64 || head->e_machine == EM_AARCH64) &&
	       head->e_phentsize == sizeof(Elf64_Phdr);
}

static int read_headers(struct core *core)
{
	Elf64_Ehdr head;
	Elf64_Phdr *ph;
	size_t count;
	int error = 0;

	if (!read_all(core->fd, 0, &head, sizeof(head)) || !is_core(&head))
		return CORE_NONE;
	if (!header_count(core, &head, &count))
		return -ENODATA;
	ph = calloc(count + 1, sizeof(*ph));
	if (!ph)
		return -ENOMEM;
	if (!read_all(core->fd, head.e_phoff, ph, count * sizeof(*ph)))
		error = -ENODATA;
	for (size_t i = 0; i < count && !error; i++)
		error = ph[i].p_type == PT_LOAD ? add_segment(core, &ph[i]) : ph[i].p_type == PT_NOTE ? read_notes(core, &ph[i]) : 0;
	free(ph);
	return error ? error : core->segments ? 0 : -ENODATA;
}

static int fill(struct core *core)
{
	struct stat st;
	int error;

	if (file_stat_of(core->fd, &st))
		return -errno;
	if (!S_ISREG(st.st_mode))
		return CORE_NONE;
	core->size = (uint64_t)st.st_size;
	error = read_headers(core);
	if (!error)
		error = take_notes(core);
	if (error)
		return error;
	cut_segments(core);
	if (core->tids)
		qsort(core->tid, core->tids, sizeof(*core->tid), list_pid_order);
	/* The kernel's number of the process is its first thread's; what has neither is still to be called something. */
	if (core->pid <= 0)
		core->pid = core->tids ? core->tid[0] : 1;
	core_find_heap(core);
	return 0;
}

int core_open_file(int fd, struct core **out)
{
	struct core *core = calloc(1, sizeof(*core));
	int error;

	if (!core) {
		close(fd);
		return -ENOMEM;
	}
	core->fd = fd;
	error = fill(core);
	if (error)
		core_close(core);
	else
		*out = core;
	return error;
}

int core_open(const char *path, struct core **core)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

	return fd < 0 ? -errno : core_open_file(fd, core);
}

void core_close(struct core *core)
{
	if (!core)
		return;
	close(core->fd);
	free(core->segment);
	free(core->notes);
	free(core->tid);
	free(core->file);
	free(core);
}

pid_t core_pid(const struct core *core)
{
	return core->pid;
}

uint64_t core_missing(const struct core *core)
{
	return core->missing;
}

int core_threads(const struct core *core, pid_t **tids, size_t *count)
{
	*tids = malloc((core->tids + 1) * sizeof(**tids));
	if (!*tids)
		return -ENOMEM;
	if (core->tids)
		memcpy(*tids, core->tid, core->tids * sizeof(**tids));
	*count = core->tids;
	return 0;
}

/* --- memory ------------------------------------------------------------------------- */

/* The segment that has bytes of the file for the address; NULL: none. */
static const struct core_segment *segment_at(const struct core *core, uint64_t address)
{
	size_t i = list_seek(core->segment, core->segments, sizeof(*core->segment), address);
	const struct core_segment *segment = i < core->segments ? &core->segment[i] : NULL;

	return segment && segment->start <= address && address - segment->start < segment->bytes ? segment : NULL;
}

/* Where from an offset on the next data, or hole, of the file is; its end where there is none. */
static uint64_t seek(const struct core *core, uint64_t offset, int what)
{
	off_t at = lseek(core->fd, (off_t)offset, what);

	if (at >= 0)
		return (uint64_t)at;
	/* A file system without holes has data everywhere. */
	return errno == ENXIO || what == SEEK_HOLE ? core->size : offset;
}

static bool file_has(const struct core *core, uint64_t offset, uint64_t size)
{
	return seek(core, offset, SEEK_DATA) == offset && seek(core, offset, SEEK_HOLE) >= offset + size;
}

int core_read(const struct core *core, uint64_t address, void *buffer, size_t size)
{
	for (size_t done = 0; done < size;) {
		const struct core_segment *segment = segment_at(core, address + done);
		uint64_t into = segment ? address + done - segment->start : 0, part;

		if (!segment)
			return -EFAULT;
		part = segment->bytes - into < size - done ? segment->bytes - into : size - done;
		if (!file_has(core, segment->offset + into, part) ||
		    !read_all(core->fd, segment->offset + into, (char *)buffer + done, (size_t)part))
			return -EFAULT;
		done += (size_t)part;
	}
	return 0;
}

uint64_t core_next(const struct core *core, uint64_t from, uint64_t to)
{
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);

	from &= ~(page - 1);
	for (size_t i = list_seek(core->segment, core->segments, sizeof(*core->segment), from); i < core->segments; i++) {
		const struct core_segment *segment = &core->segment[i];
		uint64_t at = from > segment->start ? from : segment->start, data;

		if (at >= to)
			break;
		if (at - segment->start >= segment->bytes)
			continue;
		data = seek(core, segment->offset + (at - segment->start), SEEK_DATA);
		data = data - segment->offset;
		/* The beginning of a page may be a hole. */
		at = segment->start + (data & ~(page - 1));
		if (data < segment->bytes)
			return at < to ? at : to;
	}
	return to;
}

uint64_t core_there_to(const struct core *core, uint64_t from, uint64_t to)
{
	const struct core_segment *segment = segment_at(core, from);
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE), offset, hole;

	if (!segment)
		return from;
	offset = segment->offset + (from - segment->start);
	hole = seek(core, offset, SEEK_HOLE) - segment->offset;
	hole = hole < segment->bytes ? hole : segment->bytes;
	from = segment->start + ((hole + page - 1) & ~(page - 1));
	return from < to ? from : to;
}

#define COUNT_BYTES (64U << 10)

/* Of a piece of the file that is there. */
static uint64_t count_piece(const struct core *core, uint64_t from, size_t size, uint64_t page)
{
	static char bytes[COUNT_BYTES];
	uint64_t count = 0;

	if (core_read(core, from, bytes, size))
		return 0;
	for (size_t at = 0; at < size; at += page) {
		size_t part = size - at < page ? size - at : page;

		/* All bytes are as the one in front of them, and the first is 0. */
		count += bytes[at] || memcmp(bytes + at, bytes + at + 1, part - 1) ? page : 0;
	}
	return count;
}

bool core_count(const struct core *core, uint64_t from, uint64_t to, uint64_t deadline, uint64_t *bytes)
{
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE), there;

	*bytes = 0;
	for (uint64_t at = core_next(core, from, to); at < to; at = core_next(core, there, to)) {
		there = core_there_to(core, at, to);
		if (there <= at)
			break;
		for (uint64_t size; at < there; at += size) {
			if (clock_ns() > deadline)
				return false;
			size = there - at < COUNT_BYTES ? there - at : COUNT_BYTES;
			*bytes += count_piece(core, at, (size_t)size, page);
		}
	}
	return true;
}
