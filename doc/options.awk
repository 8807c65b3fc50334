# SPDX-License-Identifier: MIT
# Writes the list of variables in libanonname(7) from src/format/options.def, so
# that the page cannot say anything else than the library does.
# usage: awk -f options.awk options.def libanonname.7.in
function unquote(s) {
	sub(/^[ \t]*"/, "", s)
	sub(/"[ \t]*\)?$/, "", s)
	return s
}

function roff(s) {
	gsub(/\\/, "\\e", s)
	gsub(/-/, "\\-", s)
	return s
}

# An entry: everything between its parentheses, cut at commas that follow a quote.
function entry(line, parts,    n, i) {
	sub(/^[A-Z]+\(/, "", line)
	n = split(line, parts, /", *"|, *"/)
	for (i = 1; i <= n; i++)
		parts[i] = unquote(parts[i])
	return n
}

FILENAME ~ /options\.def$/ && /^TEMPLATE\(/ {
	entry($0, p)
	templates = templates sprintf(".TP\n.B %s\nNames %s.\nDefault\n.BR \"%s\" .\n", p[2], roff(p[6]), roff(p[3]))
	styles = styles sprintf("%s\t%s\t%s\n", substr(p[2], length("ANONNAME_") + 1), roff(p[4]), roff(p[5]))
	next
}

FILENAME ~ /options\.def$/ && /^CHOICE\(/ {
	entry($0, p)
	gsub(/ /, ", ", p[4])
	choices = choices sprintf(".TP\n.B %s\nOne of %s.\n%s.\nDefault\n.BR %s .\n", p[2], roff(p[4]), roff(toupper(substr(p[5], 1, 1)) substr(p[5], 2)), p[3])
	next
}

FILENAME ~ /options\.def$/ && /^TEXT\(/ {
	split($0, p, "\"")
	choices = choices sprintf(".TP\n.B %s\n%s.\n", p[2], roff(toupper(substr(p[4], 1, 1)) substr(p[4], 2)))
	next
}

FILENAME ~ /options\.def$/ { next }

/^@TEMPLATES@$/ { printf "%s", templates; next }
/^@CHOICES@$/ { printf "%s", choices; next }
/^@STYLES@$/ { printf "%s", styles; next }
{ print }
