#!/bin/sh
# Stands in for semanage(8) where tests need one: the real one needs a policy to build, which most machines lack.
# It has the same words and the same refusals, and keeps its rules in the file `rules` beside itself.
set -euf
here=$(dirname "$0")
rules=$here/rules
[ -e "$rules" ] || : >"$rules"
echo "$*" >>"$here/calls"

refuse() {
    echo "ValueError: $*" >&2
    exit 1
}

# change VERB LABEL PATHS
change() {
    found=$(while read -r paths label; do [ "$paths" != "$3" ] || echo yes; done <"$new")
    case "$1$found" in
    -ayes) refuse "File context for $3 already defined" ;;
    -m | -d) refuse "File context for $3 is not defined" ;;
    esac
    while read -r paths label; do [ "$paths" = "$3" ] || printf '%s %s\n' "$paths" "$label"; done <"$new" >"$new.next"
    [ "$1" = -d ] || printf '%s %s\n' "$3" "$2" >>"$new.next"
    mv "$new.next" "$new"
}

case "$*" in
"fcontext -l -C -n")
    [ ! -e "$here/unreadable" ] || refuse "SELinux policy is not managed or store cannot be accessed."
    while read -r paths label; do
        printf '%-50s %-18s %s \n' "$paths" "all files" "$label"
    done <"$rules"
    ;;
import)
    new=$rules.$$
    cp "$rules" "$new"
    while read -r line; do
        # shellcheck disable=SC2086 # words of the command; nothing in them is quoted
        set -- $line
        [ "$1" = fcontext ] || refuse "unknown command $1"
        verb=$2 user=system_u kind='' range=s0
        shift 2
        while [ $# -gt 1 ]; do
            case "$1" in
            -s) user=$2 ;;
            -t) kind=$2 ;;
            -r) range=$2 ;;
            *) refuse "unknown option $1" ;;
            esac
            shift 2
        done
        [ "$kind" != no_such_t ] || refuse "Type $kind is invalid, must be a file or device type"
        change "$verb" "$user:object_r:$kind:$range" "$1"
        # Ended in the middle, as by a crash that leaves what was done so far.
        if [ -e "$here/dies" ]; then
            mv "$new" "$rules"
            kill -9 $$
        fi
    done
    mv "$new" "$rules"
    ;;
*)
    refuse "unknown arguments $*"
    ;;
esac
