/* SPDX-License-Identifier: MIT */
/* Its TLS must stand at a fixed distance from the thread pointer, where little room is left after the start. */
static __thread long room[8] __attribute__((tls_model("initial-exec")));
long *tls_room(void);
long *tls_room(void) { return room; }
