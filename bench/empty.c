/* SPDX-License-Identifier: MIT */
/* A preloaded library that does nothing: what the dynamic linker alone costs. */
void bench_empty(void);
void bench_empty(void) {}
