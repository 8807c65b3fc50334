/* SPDX-License-Identifier: MIT */
/* called ... NAME: is a mapping of this program called NAME:mmap? For program.sh. */
#include "live.h"

int main(int argc, char **argv)
{
	char wanted[100];

	if (argc < 2)
		return 2;
	snprintf(wanted, sizeof(wanted), "%s:mmap", argv[argc - 1]);
	check_name(map(64 * KIB), wanted);
	return live_status();
}
