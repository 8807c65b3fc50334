#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Manuals, completions, --help and the README name the options, detours and variables that the tables have, and all.

The tables: tools/options.def, seen through the --help that is made from it;
src/format/options.def, the variables; src/format/parts.def, the detours.
usage: words.py   (in the build directory; srcdir: the source tree)
"""
import json
import os
import re
import subprocess
import sys

SOURCE = os.environ.get("srcdir", ".")
TOOL = os.path.join("tools", "anonname")
failed = False


def complain(text):
    global failed
    failed = True
    print("words: " + text)


def read(*path):
    with open(os.path.join(SOURCE, *path)) as file:
        return file.read()


def help_of(*words):
    return subprocess.run([TOOL, *words, "--help"], capture_output=True, text=True, check=True).stdout


def compare(where, found, wanted):
    """Two sets of words that must be one."""
    for word in sorted(found - wanted):
        complain(f"{where} has '{word}', which the table lacks")
    for word in sorted(wanted - found):
        complain(f"{where} lacks '{word}'")


def plain_line(line):
    """A macro that alternates fonts puts its arguments together without blanks; .B and .I keep them."""
    macro, _, rest = line.partition(" ")
    if macro not in (".B", ".I", ".BR", ".IR", ".RB", ".RI", ".BI"):
        return line
    return (" " if macro in (".B", ".I") else "").join(a or b for a, b in re.findall(r'"([^"]*)"|(\S+)', rest))


def plain(manual):
    """A manual's text without roff: fonts, quotes and what is escaped."""
    text = re.sub(r"\\f[BIRP]", "", manual.replace("\\-", "-").replace("\\&", ""))
    return "\n".join(plain_line(line) for line in text.split("\n"))


# --- options: "-t, --tree PID" --------------------------------------------------

HEAD = r"^ *(?:(-\w), )?(--[a-z-]+)(?: ([A-Z]+))?"


def head(match):
    letter, word, value = match.groups()
    return (letter + ", " if letter else "") + word + (" " + value if value else "")


def options_of_help(text):
    return {head(match) for match in re.finditer(HEAD + r"  ", text, re.M)}


def options_of_manual(text):
    section = plain(text).split("\n.SH OPTIONS\n")[1].split("\n.SH ")[0]
    heads = re.findall(r"^\.TP\n(.*)$", section, re.M)
    return {head(match) for match in (re.match(HEAD + "$", line) for line in heads) if match}


def words(options):
    return {re.search(r"--[a-z-]+", option).group() for option in options}


def letters(options):
    return {option[:2] for option in options if not option.startswith("--")}


def valued(options):
    """-o and --output of "-o, --output FILE"."""
    some = {option for option in options if re.search(r" [A-Z]+$", option)}
    return words(some) | letters(some)


def commands_of_help(text):
    return re.findall(r"^  ([a-z]+) ", text.split("Commands:\n")[1], re.M)


COMMANDS = commands_of_help(help_of())
OPTIONS = {command: options_of_help(help_of(command)) for command in COMMANDS}
ALL_WORDS = set().union(*(words(options) for options in OPTIONS.values()))


def check_manuals():
    front = plain(read("doc", "anonname.1"))
    compare("doc/anonname.1, DESCRIPTION", set(re.findall(r"^\.TP\n([a-z]+)$", front.split("\n.SH OPTIONS\n")[0].split("\n.SH COMMON OPTIONS\n")[0], re.M)),
            set(COMMANDS))
    compare("doc/anonname.1, SEE ALSO", set(re.findall(r"^anonname-([a-z]+)\(1\)", front.split(".SH SEE ALSO")[1], re.M)), set(COMMANDS))
    for command in COMMANDS:
        compare(f"doc/anonname-{command}.1", options_of_manual(read("doc", f"anonname-{command}.1")), OPTIONS[command])


def check_prose():
    """Each --word after "anonname COMMAND" is that command's, any other in our own texts some command's."""
    texts = {name: plain(read(name)) for name in ["README.md"] + sorted(
        "doc/" + name for name in os.listdir(os.path.join(SOURCE, "doc")) if re.match(r"(lib)?anonname.*\.[17](\.in)?$", name))}
    texts.update({f"anonname {command} --help": help_of(command) for command in COMMANDS})
    for where, text in texts.items():
        for command, rest in re.findall(r"\banonname ([a-z]+)\b([^\n`|;]*)", text):
            if command not in COMMANDS:
                continue
            # Behind a lone -- and behind the program that run starts stand others' options, behind # is prose.
            given = re.split(r" -- | #", rest)[0]
            given = re.match(r"(?: -\S+(?: [^- ]\S*)?)*", given).group() if command == "run" else given
            for word in re.findall(r"(?<=[\s])--[a-z][a-z-]*", given):
                if word not in words(OPTIONS[command]):
                    complain(f"{where} says 'anonname {command} {word}', which is no option")
        if where == "README.md" or not where.startswith("anonname "):
            continue
        for word in re.findall(r"(?<=[\s(])--[a-z][a-z-]*", text):
            if word not in ALL_WORDS:
                complain(f"{where} names {word}, which is no option")
    for word in sorted(set(re.findall(r"`anonname ([a-z]+)", texts["README.md"])) - set(COMMANDS)):
        complain(f"README.md names the command '{word}', which there is not")


def check_zsh():
    text = read("completions", "_anonname")
    groups = {name: re.search(rf"^  {name}=\((.*)\)$", text, re.M).group(1) for name in ("common", "chosen")}
    blocks = re.findall(r"^  ([a-z|]+)\)\n(.*?) ;;$", text.split("case $command in")[1], re.M | re.S)
    offered = {}
    for names, block in blocks:
        for name, group in groups.items():
            block = block.replace("$" + name, group)
        block = re.sub(r"'\(-\w --[a-z-]+\)'", "", block)
        for command in names.split("|"):
            offered[command] = set(re.findall(r"['*{,](--?[a-z-]+|-[A-Z])(?=[\[,}])", block))
    compare("completions/_anonname", set(offered), set(COMMANDS))
    for command in set(offered) & set(COMMANDS):
        compare(f"completions/_anonname, {command},", offered[command], words(OPTIONS[command]) | letters(OPTIONS[command]))


def check_bash():
    text = read("completions", "anonname.bash")
    named = set(re.findall(r"(?<=[\s|])--[a-z-]+(?=[|)])", text))
    # What --tree takes is completed as the arguments are: process ids.
    wanted = {word for options in OPTIONS.values() for word in valued(options) if word.startswith("--")} - {"--tree"}
    compare("completions/anonname.bash", named, wanted)
    ends = re.search(r"^\t\t\t(-a\|.*)\) \(\( i\+\+ \)\)", text, re.M).group(1)
    compare("completions/anonname.bash, run's options with a value,", set(ends.split("|")), valued(OPTIONS["run"]))


# --- columns --------------------------------------------------------------------

def check_columns():
    """The manual of report has each; a row of JSON has each but those of arenas, in the manual and in the schema."""
    listed = help_of("report").split("\nColumns:\n")[1]
    wanted = set(re.findall(r"^  (\w+) ", listed, re.M))
    of_arenas = set(re.findall(r"^  (\w+) +of arenas: ", listed, re.M))
    section = read("doc", "anonname-report.1").split(".SH COLUMNS\n")[1].split("\n.SH ")[0]
    heads = " ".join(re.findall(r"^\.TP\n\.B (.*)$", section, re.M))
    compare("doc/anonname-report.1, COLUMNS,", set(re.findall(r"\w+", re.sub(r"\\f[BIRP]", "", heads))), wanted)
    figures = wanted - of_arenas - {"owner", "kind", "name"}
    listed = re.search(r"\.BR (vmas .*?page_tables) \.", read("doc", "anonname-json.7"), re.S)
    compare("doc/anonname-json.7, its list of figures,", set(re.findall(r"\w+", listed.group(1))) - {"and", "BR"} if listed else set(), figures)
    definitions = json.loads(read("doc", "anonname.schema.json"))["definitions"]
    for name, definition in definitions.items():
        if "page_tables" in definition.get("required", []):
            compare(f"doc/anonname.schema.json, {name},", set(definition["required"]), figures)


# --- detours and variables ------------------------------------------------------

def check_detours():
    detours = {name.lower() for name in re.findall(r"^PART\(DETOUR_(\w+),", read("src", "format", "parts.def"), re.M)}
    texts = {name: plain(read(*name.split("/"))) for name in
             ("doc/libanonname.7.in", "doc/anonname-check.1", "doc/INTERNALS.md", "src/format/options.def")}
    sentences = {
        "doc/libanonname.7.in": r"puts a jump to its own functions behind the first instruction of libc's ([^.]*)\.",
        "doc/anonname-check.1": r"((?:^  detour_\w+ .*\n|^  \w+ .*\n)+)",
        "doc/INTERNALS.md": r"libc has one body each of ([^.,]*(?:, [^.,]*)*),",
        "src/format/options.def": r'"ANONNAME_DETOUR", .*catch the ([^"]*?) calls',
    }
    for where, pattern in sentences.items():
        sentence = re.search(pattern, texts[where], re.M)
        if not sentence:
            complain(f"{where} no longer has the sentence about the detours that is looked for")
            continue
        compare(f"{where}, its sentence about the detours,", set(re.findall(r"\b(?:detour_)?(\w*map|\w*protect|\w*advise)\b", sentence.group(1))), detours)
    code = set(re.findall(r"\bdetoured_(\w+)\(", read("src", "hook", "hook.h")))
    compare("src/hook/hook.h", code, detours)


def check_variables():
    library = set(re.findall(r'^(?:TEMPLATE|CHOICE|TEXT)\(\w+, "(ANONNAME_\w+)"', read("src", "format", "options.def"), re.M))
    tools = set()
    for name in os.listdir(os.path.join(SOURCE, "tools")):
        if name.endswith(".c"):
            tools |= set(re.findall(r'getenv\("(ANONNAME_\w+)"\)', read("tools", name)))
    macros = set(re.findall(r"\bANONNAME_\w+", read("include", "anonname.h"))) - library
    for where in ["README.md"] + ["doc/" + name for name in os.listdir(os.path.join(SOURCE, "doc")) if re.search(r"\.([1-7]|in|md)$", name)]:
        for variable in set(re.findall(r"\bANONNAME_[A-Z_]+\b", re.sub(r"^\.TH .*$", "", plain(read(where)), flags=re.M))):
            if variable not in library | tools | macros:
                complain(f"{where} names {variable}, which nothing reads")
    listed = help_of("run")
    compare("anonname run --help", set(re.findall(r"^  (ANONNAME_\w+)=", listed, re.M)), library)
    for where in ("doc/anonname.1", "doc/anonname-run.1"):
        for variable in tools - set(re.findall(r"ANONNAME_\w+", read(where))):
            complain(f"{where} lacks {variable}")
    if "@STYLES@" not in read("doc", "libanonname.7.in"):
        complain("doc/libanonname.7.in does not take the variables from the table")


if not os.access(TOOL, os.X_OK):
    print("SKIP: the tools are not built (jansson)")
    sys.exit(77)
check_manuals()
check_prose()
check_zsh()
check_bash()
check_columns()
check_detours()
check_variables()
sys.exit(failed)
