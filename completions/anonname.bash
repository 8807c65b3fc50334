# SPDX-License-Identifier: MIT
# Completion of anonname for bash. Columns and groups are asked of the command
# itself, so that they cannot differ from it.
_anonname_list()
{
	"${COMP_WORDS[0]}" report --help 2>/dev/null |
		awk -v title="$1" '$0 ~ title { on = 1; next } on && /^  / { print $1; next } { on = 0 }'
}

_anonname()
{
	local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD-1]}
	local command=${COMP_WORDS[1]} i
	COMPREPLY=()

	if (( COMP_CWORD == 1 )); then
		COMPREPLY=($(compgen -W "$("${COMP_WORDS[0]}" --help 2>/dev/null |
			awk '/^Commands:/ { on = 1; next } on && /^  / { print $1; next } { on = 0 }') --help --version" -- "$current"))
		return
	fi
	if [[ $command == run ]]; then
		# Behind the options stands another command with its own completion.
		for (( i = 2; i < COMP_CWORD; i++ )); do
			case ${COMP_WORDS[i]} in
			--) (( i++ )); break ;;
			-a|-l|-i|-o|--allocator|--library|--interval|--output) (( i++ )) ;;
			-*) ;;
			*) break ;;
			esac
		done
		if (( i < COMP_CWORD )); then
			if declare -F _command_offset >/dev/null; then
				_command_offset "$i"
			else
				COMPREPLY=($(compgen -f -- "$current"))
			fi
			return
		fi
	fi
	case $previous in
	-a|--allocator)
		[[ $command == run ]] && COMPREPLY=($(compgen -W "jemalloc tcmalloc mimalloc libc" -- "$current")) && return ;;
	-l|--library) [[ $command == run ]] && COMPREPLY=($(compgen -f -- "$current")) && return ;;
	-o|--output)
		if [[ $command == report || $command == export ]]; then
			local before=
			[[ $current == *,* ]] && before=${current%,*},
			COMPREPLY=($(compgen -P "$before" -W "$(_anonname_list '^Columns:')" -- "${current##*,}"))
		elif [[ $command == watch ]]; then
			COMPREPLY=($(compgen -d -- "$current"))
		else
			COMPREPLY=($(compgen -f -- "$current"))
		fi
		return ;;
	--sort)
		if [[ $command == top ]]; then
			COMPREPLY=($(compgen -W "pss rss uss swap growth rate name" -- "$current"))
		else
			COMPREPLY=($(compgen -W "$(_anonname_list '^Columns:')" -- "$current"))
		fi
		return ;;
	--by) COMPREPLY=($(compgen -W "$(_anonname_list '^What --by')" -- "$current")); return ;;
	-s|--smaps|--core) COMPREPLY=($(compgen -f -- "$current")); return ;;
	--name) COMPREPLY=($(compgen -W "$(sort -u /proc/[0-9]*/comm 2>/dev/null)" -- "$current")); return ;;
	--user) COMPREPLY=($(compgen -u -- "$current")); return ;;
	--cgroup) return ;;
	--names) COMPREPLY=($(compgen -W "kernel registry outside" -- "$current")); return ;;
	--root|--textfile) COMPREPLY=($(compgen -d -- "$current")); return ;;
	--at) COMPREPLY=($(compgen -W "start end peak" -- "$current")); return ;;
	-d|--delay|--duration|--keep|-n|--lines|--iterations|-i|--interval|-w|--wait|--fail-above|--filter|--near|--pressure|--above|--grows|--cool-down) return ;;
	esac
	if [[ $current == -* ]]; then
		COMPREPLY=($(compgen -W "$("${COMP_WORDS[0]}" "$command" --help 2>/dev/null |
			grep -oE '^  +(-[A-Za-z], )?--[a-z-]+' | grep -oE -- '--[a-z-]+')" -- "$current"))
	elif [[ $command == run ]]; then
		COMPREPLY=($(compgen -c -- "$current"))
	else
		COMPREPLY=($(compgen -W "$(cd /proc && printf '%s\n' [0-9]*)" -- "$current"))
		[[ $command == view ]] && COMPREPLY=($(compgen -f -- "$current"))
		[[ $command == diff ]] && COMPREPLY+=($(compgen -f -- "$current"))
	fi
}
complete -F _anonname anonname
