# SPDX-License-Identifier: MIT
"""The panel's Python: threads with memory of their own, numpy, large buffers, a direct mapping."""
import mmap, sys, threading

import numpy

done = threading.Event()
ready = threading.Barrier(5)
keep = []


def work(seed):
    words = [f'{seed}-{i}' * 3 for i in range(20000)]
    matrix = numpy.random.default_rng(seed).random((300, 300))
    for _ in range(3):
        matrix = matrix @ matrix / 100
    keep.append((words, matrix))
    ready.wait()
    done.wait()


for i in range(4):
    threading.Thread(target=work, args=(i,), daemon=True).start()
ready.wait()
keep.append(numpy.ones(1 << 20))
keep.append(bytearray(b'x' * (3 << 20)))
direct = mmap.mmap(-1, 2 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
direct.write(b'x' * (2 << 20))
print('ready', flush=True)
sys.stdin.read()
