# SPDX-License-Identifier: MIT
"""gdb: who owns an address of anonymous memory, in live processes and core files.

    (gdb) source /usr/share/doc/anonname/examples/gdb/anonname.py
    (gdb) info anonname $rsp        # the region that holds an address, and its name
    (gdb) info anonname             # all that have one
    (gdb) info proc mappings        # has the names of anonymous memory below it

Names come from libanonname's registry inside the process, read as gdb reads any
memory, and for a process that runs here from the kernel (/proc/PID/maps). A core
file has the registry's alone: the library keeps one where the kernel has no
names, and everywhere with ANONNAME_SINK=both.

The format is that of src/format/registry_format.h. What is read may be damaged:
each number is checked, and the work has an end.
"""
import os
import re
import struct

import gdb

MAGIC = b"ANONREG1"
VERSION = 1
ROOT = struct.Struct("<8sIIQ")                  # magic, version, size, its own address
SEGMENTS_AT = 32 + 8 + 2 * 16 + 24 * 8          # sink, error, sandbox, parts and counters lie between
SEGMENTS = 20
SEGMENT0 = 16384
BLOCK = 1024
LEAF = struct.Struct("<IIQ")                    # generation, count, reserved
LEAF_RANGES = 42
RANGE = struct.Struct("<QQII")                  # start, end, name, stamp
NAME_GRANULE = 16
NAME = struct.Struct("<IIIB")                   # next, refs, hash, length
NAME_MAX = 79
LEAVES_MAX = 1 << 16
MAPPING_MAX = 64 << 20                          # of the library's own file: what is larger is not it


class Damaged(Exception):
    """It is no registry, or one that was being changed as the process stopped."""


def read(address, size):
    return gdb.selected_inferior().read_memory(address, size).tobytes()


# --- the registry ------------------------------------------------------------------

def mappings():
    """(start, end, file) of the inferior's mappings, from a process or a core."""
    try:
        text = gdb.execute("info proc mappings", to_string=True)
    except gdb.error:
        return
    for line in text.splitlines():
        found = re.match(r"\s*(0x[0-9a-f]+)\s+(0x[0-9a-f]+)\s+0x[0-9a-f]+\s+0x[0-9a-f]+\s+(?:[-rwxps]{4}\s+)?(\S.*)?$", line)
        if found:
            yield int(found.group(1), 16), int(found.group(2), 16), (found.group(3) or "").strip()


def root_in(start, end):
    """The address of the root in a mapping of the library's file; it says itself where it is."""
    try:
        memory = read(start, min(end - start, MAPPING_MAX))
    except gdb.MemoryError:
        return None
    at = memory.find(MAGIC)
    while at >= 0:
        if at % 8 == 0 and at + ROOT.size <= len(memory):
            _, version, _, own = ROOT.unpack_from(memory, at)
            if own == start + at and version == VERSION:
                return own
        at = memory.find(MAGIC, at + 1)
    return None


def find_root():
    for start, end, file in mappings():
        if os.path.basename(file.replace(" (deleted)", "")).startswith("libanonname.so"):
            found = root_in(start, end)
            if found:
                return found
    return None


def in_segments(segments, offset, size):
    """The address of bytes that lie in segments of 16 KiB, 16, 32, 64, ..."""
    start, length = 0, SEGMENT0
    for k, base in enumerate(segments):
        if start <= offset < start + length:
            if not base or offset + size > start + length:
                break
            return base + offset - start
        start += length
        length = start
    raise Damaged(f"offset {offset:#x} is outside")


class Registry:
    def __init__(self, root):
        words = struct.unpack(f"<{1 + 2 * SEGMENTS}Q", read(root + SEGMENTS_AT, 8 * (1 + 2 * SEGMENTS)))
        self.top, self.blocks, self.names = words[0], words[1:1 + SEGMENTS], words[1 + SEGMENTS:]
        self.texts = {}

    def name(self, granule):
        if granule not in self.texts:
            at = in_segments(self.names, granule * NAME_GRANULE, NAME.size)
            length = NAME.unpack(read(at, NAME.size))[3]
            if length > NAME_MAX:
                raise Damaged(f"a name of {length} bytes")
            # Bytes that the kernel would not take in a name are not shown.
            self.texts[granule] = re.sub(r"[^ -~]|[\[\]\\$`]", "_", read(at + NAME.size, length).decode("latin-1"))
        return self.texts[granule]

    def leaf(self, ref):
        block, generation = ref >> 32, ref & 0xffffffff
        data = read(in_segments(self.blocks, block * BLOCK, BLOCK), BLOCK)
        own, count, _ = LEAF.unpack_from(data)
        if own != generation or not own or count > LEAF_RANGES:
            raise Damaged(f"block {block}")
        for i in range(count):
            start, end, name, _ = RANGE.unpack_from(data, LEAF.size + i * RANGE.size)
            if start >= end:
                raise Damaged(f"a range in block {block}")
            yield start, end, self.name(name)

    def ranges(self):
        if not self.top:
            return
        generation, count, _ = struct.unpack("<QII", read(self.top, 16))
        if not generation or count > LEAVES_MAX:
            raise Damaged("it was being changed as the process stopped, so let it run a moment")
        slots = struct.unpack(f"<{2 * count}Q", read(self.top + 16, 16 * count))
        for ref in slots[1::2]:
            yield from self.leaf(ref)


def registry_ranges():
    root = find_root()
    if not root:
        return []
    try:
        return list(Registry(root).ranges())
    except (Damaged, gdb.MemoryError) as error:
        raise gdb.GdbError(f"The registry of libanonname cannot be read: {error}.")


# --- the kernel's names ----------------------------------------------------------------

def is_live():
    """A process of this machine, whose /proc is ours."""
    inferior = gdb.selected_inferior()
    connection = getattr(inferior, "connection", None)
    return inferior.pid > 0 and connection is not None and connection.type == "native"


def kernel_ranges():
    if not is_live():
        return []
    found = []
    try:
        with open(f"/proc/{gdb.selected_inferior().pid}/maps", errors="replace") as maps:
            for line in maps:
                named = re.match(r"([0-9a-f]+)-([0-9a-f]+) .*?\[(anon|anon_shmem):(.*)\]$", line)
                if named:
                    found.append((int(named.group(1), 16), int(named.group(2), 16), named.group(4)))
    except OSError:
        pass
    return found


def merged(ranges):
    """Neighbours with one name are one region, as the kernel would have it."""
    found = []
    for start, end, *rest in sorted(ranges):
        if found and found[-1][1] == start and found[-1][2:] == rest:
            found[-1][1] = end
        else:
            found.append([start, end, *rest])
    return found


def named_ranges():
    """In order; the kernel's name of a region wins, as in anonname maps."""
    kernel = kernel_ranges()
    registry = [one for one in registry_ranges() if not any(start <= one[0] < end for start, end, _ in kernel)]
    return merged([(*one, "kernel") for one in kernel] + [(*one, "registry") for one in registry])


def show(ranges):
    for start, end, name, source in ranges:
        gdb.write(f"{start:#18x} {end:#18x} {end - start:#10x}  {name} ({source})\n")


# --- commands ----------------------------------------------------------------------------

class InfoAnonname(gdb.Command):
    """Who owns anonymous memory: info anonname [ADDRESS].

With an address: the region that holds it, and its name.
Without: all regions that have a name."""

    def __init__(self):
        super().__init__("info anonname", gdb.COMMAND_STATUS, gdb.COMPLETE_EXPRESSION)

    def invoke(self, argument, from_tty):
        if gdb.selected_inferior().pid == 0 and not list(mappings()):
            raise gdb.GdbError("There is no process and no core file.")
        ranges = named_ranges()
        if not argument:
            show(ranges)
            return
        address = int(gdb.parse_and_eval(argument).cast(gdb.lookup_type("unsigned long")))
        inside = [one for one in ranges if one[0] <= address < one[1]]
        if inside:
            show(inside)
            return
        for start, end, file in mappings():
            if start <= address < end:
                gdb.write(f"{start:#18x} {end:#18x} {end - start:#10x}  {file or 'no name'}\n")
                return
        gdb.write(f"{address:#x}: no region with a name holds it\n")


class AnonnameMappings(gdb.Command):
    """What comes below "info proc mappings": the named regions."""

    def __init__(self):
        super().__init__("anonname-mappings", gdb.COMMAND_STATUS)
        self.busy = False

    def invoke(self, argument, from_tty):
        # To find the library's file we ask for the mappings ourselves.
        if self.busy:
            return
        self.busy = True
        try:
            ranges = named_ranges()
            if ranges:
                gdb.write("\nNames of anonymous memory:\n\n")
                show(ranges)
        finally:
            self.busy = False


InfoAnonname()
AnonnameMappings()
gdb.execute("define info proc hookpost-mappings\nanonname-mappings\nend")
