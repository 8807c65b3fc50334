/* SPDX-License-Identifier: MIT */
/* Looks at a program before it is started: will the dynamic linker load libanonname.so into it? */
#ifndef ANONNAME_TOOLS_PROGRAM_H
#define ANONNAME_TOOLS_PROGRAM_H

/*
 * argv is a command as for execvp(). Where its program will not load the
 * library, or not start with it, one line on standard error says so and what to
 * do instead. Follows a script to its interpreter, and env(1) and a dynamic
 * linker to the program that they start.
 */
void program_warn(char *const *argv);

#endif
