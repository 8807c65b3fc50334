/* SPDX-License-Identifier: MIT */
/* A library whose constructor, which runs before ours, calls a function of the program. */
void called_early(void) __attribute__((weak));

__attribute__((constructor)) static void call(void)
{
	if (called_early)
		called_early();
}
