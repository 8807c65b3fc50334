// SPDX-License-Identifier: MIT
// Malloc by library in C++: each operator new, what the runtime allocates, what there is no memory for.
#include <cstdint>
#include <map>
#include <new>
#include <string>
#include <vector>

extern "C" {
#include "live.h"
}

static const char ours[] = "mimalloc:lib:by_library-cxx";
static bool handler_called;

static void handler()
{
	handler_called = true;
	std::set_new_handler(nullptr);
}

struct alignas(256) wide {
	char byte[300];
};

template <typename T> static void one(T *p)
{
	check_name(p, ours);
	delete p;
}

int main()
{
	volatile size_t huge = SIZE_MAX / 4;
	bool thrown = false;

	one(new int);
	one(new (std::nothrow) int);
	one(new wide);
	one(new (std::nothrow) wide);
	char *array = new char[100];
	check_name(array, ours);
	delete[] array;
	wide *wides = new wide[3];
	check(((uintptr_t)wides & 255) == 0);
	check_name(wides, ours);
	delete[] wides;
	/* These are allocated by libstdc++'s code, or by ours where it is inlined. */
	std::string text("a string that is longer than what a string holds itself");
	text += text;
	check_name(text.data(), ours);
	std::map<int, std::string> map;
	for (int i = 0; i < 1000; i++)
		map[i] = std::to_string(i) + " is a number, and this is a longer text about it";
	for (auto &entry : map)
		check_name(entry.second.data(), ours);
	check(new (std::nothrow) char[huge] == nullptr);
	std::set_new_handler(handler);
	try {
		char *volatile p = new char[huge];
		check(p == nullptr);
	} catch (const std::bad_alloc &) {
		thrown = true;
	}
	check(thrown && handler_called);
	return live_status();
}
