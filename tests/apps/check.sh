# What the checks share; each begins with `. /apps/check.sh` and ends with `finish`.
#
#   check NAME COMMAND...   runs the command: it must end with status 0. What it has printed is told only where it does not
#   refuse NAME COMMAND...  the same for a command that must fail
#   finish                  ends with status 1 if something has failed

failed=0
cd /data

check() {
    name=$1
    shift
    echo "check $name"
    if "$@" >/tmp/told 2>&1; then
        echo "check $name ... ok"
    else
        echo "check $name ... FAILED (status $?)"
        tail -n 20 /tmp/told
        failed=1
    fi
}

refuse() {
    name=$1
    shift
    check "$name" not "$@"
}

not() {
    if "$@"; then return 1; fi
}

# same WANTED COMMAND...: the command prints this and nothing else.
same() {
    wanted=$1
    shift
    got=$("$@" 2>&1) || { echo "status $?: $got"; return 1; }
    [ "$got" = "$wanted" ] || { echo "not '$wanted' but '$got'"; return 1; }
}

finish() {
    exit $failed
}
