# SPDX-License-Identifier: MIT
# What zsh offers, asked of a shell in a terminal of its own, as a user would.
# usage: zsh -f completion.zsh DIR-OF-COMPLETIONS <"LINE<tab>EXPECTED" lines
zmodload zsh/zpty || exit 77
zpty shell zsh -f -i
# Each match on a line of its own, between two marks.
zpty -w shell "unsetopt prompt_cr prompt_sp; PS1= PS2= RPS1=
fpath=($1 \$fpath); autoload -Uz compinit && compinit -D -u
compadd() {
  local -a hits
  case \"\${(j: :)@}\" in -[OAD]\\ *|*\\ -[OAD]\\ *) builtin compadd \"\$@\"; return ;; esac
  builtin compadd -A hits \"\$@\"
  for hit in \$hits; do print -r -- \"offered=\$hit=\"; done
  builtin compadd \"\$@\"
}
offer() { _main_complete; print -r -- end-of-\"offers\"; compstate[insert]= compstate[list]= }
zle -C offer list-choices offer; bindkey '^I' offer
print -r -- shell-is-\"ready\""
wait_for() {
  local piece
  seen=
  repeat 600; do
    while zpty -rt shell piece; do seen+=$piece; done
    [[ $seen == *$1* ]] && return
    sleep 0.05
  done
  return 1
}
wait_for shell-is-ready || { print "NOT OK  zsh does not start: $seen"; exit 1 }
failed=0
while IFS=$'\t' read -r line expected; do
  zpty -wn shell "$line"$'\t'
  if wait_for end-of-offers && [[ $seen == *offered=$expected=* ]]; then
    print -r -- "ok      zsh: $line: $expected"
  else
    print -r -- "NOT OK  zsh: $line: no $expected in: ${(qqqq)seen}"
    failed=1
  fi
  zpty -wn shell $'\x15'        # away with the line
done
zpty -d shell
exit $failed
