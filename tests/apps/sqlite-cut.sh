# does: the machine goes in the middle of transactions; what was committed is there after the next boot
# packages: sqlite3
# variants: DELETE WAL
# limit: 120
# cut: committed 15
. /apps/check.sh

sql() {
    sqlite3 -batch -bail /data/t.db "$@"
}

# The second boot: $2 is the last line that the first one told.
if [ -n "$2" ]; then
    last=${2#committed }
    recovered() {
        same ok sql "PRAGMA integrity_check;" || return 1
        count=$(sql "SELECT count(*) FROM t;") && echo "$count of $last" && [ "$count" -ge "$last" ] && [ "$count" -le $((last + 1)) ]
    }
    check "what was committed is there, $2" recovered
    check "and it goes on" sql "INSERT INTO t VALUES(1000, 'x');"
    finish
fi

check "a table" sql "PRAGMA journal_mode=$1; CREATE TABLE t(i INTEGER PRIMARY KEY, v TEXT);"
# FULL, the usual, does not sync the folder when the journal is removed: the last transaction may be rolled back.
i=1
while [ $i -le 500 ]; do
    sql "PRAGMA synchronous=EXTRA; INSERT INTO t VALUES($i, hex(randomblob(3000)));" || finish
    echo "committed $i"
    i=$((i + 1))
done
