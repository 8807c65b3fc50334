/* SPDX-License-Identifier: MIT */
/* Products of 128 bits, also where the compiler has no type for them (32-bit processors). */
#ifndef ANONNAME_READ_WIDE_H
#define ANONNAME_READ_WIDE_H

#include <stdint.h>

#ifdef __SIZEOF_INT128__

static inline uint64_t wide_product(uint64_t a, uint64_t b, uint64_t *high)
{
	unsigned __int128 product = (unsigned __int128)a * b;

	*high = (uint64_t)(product >> 64);
	return (uint64_t)product;
}

/* whole * part / of, of which the result has 64 bits. of is not 0. */
static inline uint64_t wide_share(uint64_t whole, uint64_t part, uint64_t of)
{
	return (uint64_t)((unsigned __int128)whole * part / of);
}

#else

/* By halves, as on paper. */
static inline uint64_t wide_product(uint64_t a, uint64_t b, uint64_t *high)
{
	uint64_t a0 = (uint32_t)a, a1 = a >> 32, b0 = (uint32_t)b, b1 = b >> 32;
	uint64_t middle = a1 * b0 + (a0 * b0 >> 32), other = a0 * b1 + (uint32_t)middle;

	*high = a1 * b1 + (middle >> 32) + (other >> 32);
	return a * b;
}

/* A bit at a time. What is left over may have 65 bits for a moment. */
static inline uint64_t wide_share(uint64_t whole, uint64_t part, uint64_t of)
{
	uint64_t high, low = wide_product(whole, part, &high), quotient = 0, rest = high % of;

	for (int bit = 0; bit < 64; bit++, low <<= 1) {
		uint64_t carry = rest >> 63;

		rest = rest << 1 | low >> 63;
		quotient <<= 1;
		if (carry || rest >= of) {
			rest -= of;
			quotient |= 1;
		}
	}
	return quotient;
}

#endif

#endif
