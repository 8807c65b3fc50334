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

for command in run maps report top snapshot diff check; do
	offers anonname "" $command
	offers "anonname $command" --h --help
	for option in $(anonname $command --help | grep -oE '^  +(-[A-Za-z], )?--[a-z-]+' | grep -oE -- '--[a-z-]+'); do
		offers "anonname $command" "${option%?}" "$option"
		grep -q -e "${option#--}" "$abs_top_srcdir/completions/_anonname" ||
			{ echo "NOT OK  zsh does not know $option of $command"; failed=1; }
	done
done
offers "anonname report --by" "" owner
offers "anonname report -o" "name,sw" name,swap
offers "anonname report --sort" "" swap_pss
offers "anonname run -a" j jemalloc
offers "anonname maps" "" $$
if command -v zsh >/dev/null; then
	zsh -n "$abs_top_srcdir/completions/_anonname" && echo "ok      zsh parses its completion" || failed=1
else
	echo "SKIPPED zsh is not installed: its completion is not parsed"
fi
exit $failed
