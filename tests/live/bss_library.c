/* SPDX-License-Identifier: MIT */
/* A library with .bss, asked for by name alone through its user's RUNPATH. */
char bss_of_library[4 << 20];

int bss_touch(void);
int bss_touch(void)
{
	bss_of_library[1 << 20] = 1;
	return 4711;
}
