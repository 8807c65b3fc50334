#!/bin/bash
# SPDX-License-Identifier: MIT
# The completions offer what the command's own help lists.
: "${abs_top_builddir:=$PWD}" "${abs_top_srcdir:=$PWD}"
PATH=$abs_top_builddir/tools:$PATH
source "$abs_top_srcdir/completions/anonname.bash"
failed=0

# offers "words before" "current" "expected, one of those offered"
offers()
{
	COMP_WORDS=($1 "$2")
	COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
	_anonname
	if printf '%s\n' "${COMPREPLY[@]}" | grep -qxF -e "$3"; then
		echo "ok      $1 $2: $3"
	else
		echo "NOT OK  $1 $2: no $3 in: ${COMPREPLY[*]}"
		failed=1
	fi
}

for command in run maps report top heap snapshot diff check; do
	offers anonname "" $command
	offers "anonname $command" --h --help
	for option in $(anonname $command --help | grep -oE '^  +(-[A-Za-z], )?--[a-z-]+' | grep -oE -- '--[a-z-]+'); do
		offers "anonname $command" "${option%?}" "$option"
	done
done
offers "anonname report --by" "" owner
offers "anonname report -o" "name,sw" name,swap
offers "anonname report --sort" "" swap_pss
offers "anonname top --sort" g growth
offers "anonname run -a" j jemalloc
offers "anonname maps" "" $$
if command -v zsh >/dev/null; then
	for command in run maps report top heap snapshot diff check; do
		printf 'anonname \t%s\n' $command
		for option in $(anonname $command --help | grep -oE '^  +(-[A-Za-z], )?--[a-z-]+' | grep -oE -- '--[a-z-]+'); do
			printf 'anonname %s --\t%s\n' $command "$option"
		done
	done >lines.$$
	printf '%s\t%s\n' 'anonname report --by ' owner 'anonname report -o name,sw' swap 'anonname report -o ' name \
		'anonname report --sort ' swap_pss 'anonname diff --sort ' pss 'anonname top --by ' library 'anonname run -a ' jemalloc \
		'anonname run -- anonn' anonname 'anonname run --peak slee' sleep \
		'anonname run anonname repo' report 'anonname diff /etc/hostnam' hostname 'anonname report --smaps /etc/hostnam' hostname >>lines.$$
	zsh -f "$abs_top_srcdir/tests/replay/completion.zsh" "$abs_top_srcdir/completions" <lines.$$ || failed=1
	rm -f lines.$$
else
	echo "SKIPPED zsh is not installed: its completion is not tried"
fi
exit $failed
