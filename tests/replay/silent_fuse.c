/* SPDX-License-Identifier: MIT */
/* A FUSE server with one file, "silent", whose reads are never answered: silent_fuse DIRECTORY. */
#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_NODE 2
#define FILE_SIZE 65536

static struct {
	struct fuse_out_header head;
	union {
		struct fuse_init_out init;
		struct fuse_entry_out entry;
		struct fuse_attr_out attr;
		struct fuse_open_out open;
	} body;
} reply;

static struct fuse_attr attributes(uint64_t node)
{
	return (struct fuse_attr){
		.ino = node, .mode = node == FILE_NODE ? S_IFREG | 0644 : S_IFDIR | 0755, .nlink = 1,
		.size = FILE_SIZE, .blksize = 4096,
	};
}

/* Fills in the answer; its size, or a negative errno. */
static int answer(const struct fuse_in_header *request)
{
	switch (request->opcode) {
	case FUSE_INIT:
		reply.body.init = (struct fuse_init_out){ .major = 7, .minor = 31, .max_write = 4096 };
		return sizeof(reply.body.init);
	case FUSE_LOOKUP:
		reply.body.entry = (struct fuse_entry_out){
			.nodeid = FILE_NODE, .attr = attributes(FILE_NODE), .attr_valid = 1000, .entry_valid = 1000,
		};
		return sizeof(reply.body.entry);
	case FUSE_GETATTR:
		reply.body.attr = (struct fuse_attr_out){ .attr_valid = 1000, .attr = attributes(request->nodeid) };
		return sizeof(reply.body.attr);
	case FUSE_OPEN:
		return sizeof(reply.body.open);
	case FUSE_FLUSH:
	case FUSE_RELEASE:
		return 0;
	default:
		return -ENOSYS;
	}
}

int main(int argc, char **argv)
{
	static _Alignas(struct fuse_in_header) char request[1 << 18];
	const struct fuse_in_header *head = (const void *)request;
	int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	char options[64];

	snprintf(options, sizeof(options), "fd=%d,rootmode=40000,user_id=0,group_id=0", fd);
	if (argc != 2 || fd < 0 || mount("fuse", argv[1], "fuse", MS_NOSUID | MS_NODEV, options))
		return 77;
	puts("ready");
	fflush(stdout);
	for (;;) {
		ssize_t got = read(fd, request, sizeof(request));
		int size;

		if (got < 0 && errno == ENODEV)
			return 0;
		if (got < 0 || head->opcode == FUSE_READ || head->opcode == FUSE_FORGET || head->opcode == FUSE_INTERRUPT)
			continue;
		memset(&reply, 0, sizeof(reply));
		size = answer(head);
		reply.head = (struct fuse_out_header){
			.len = (uint32_t)(sizeof(reply.head) + (size > 0 ? (size_t)size : 0)), .error = size < 0 ? size : 0,
			.unique = head->unique,
		};
		if (write(fd, &reply, reply.head.len) < 0 && errno == ENODEV)
			return 0;
	}
}
