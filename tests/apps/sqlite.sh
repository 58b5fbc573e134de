# does: 100,000 inserts, an index, a rollback, integrity_check; a writer that is killed
# packages: sqlite3
# variants: rollback wal kill
# limit: 180
# memory: 512
. /apps/check.sh

sql() {
    sqlite3 -batch -bail /data/t.db "$@"
}

insert() {
    sql "CREATE TABLE t(i INTEGER PRIMARY KEY, v TEXT);
        BEGIN;
        WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < $1)
            INSERT INTO t SELECT i, 'value ' || (i * 7919 % 100003) FROM n;
        COMMIT;"
}

whole() {
    same ok sql "PRAGMA integrity_check;" && same "$1" sql "SELECT count(*) FROM t;"
}

# transactions FIRST LAST: one insert, one commit, one line for each.
transactions() {
    i=$1
    while [ $i -le $2 ]; do
        echo "INSERT INTO t VALUES($i, 'value ' || ($i * 7919 % 100003));"
        i=$((i + 1))
    done | sql
}

both() {
    check "100,000 inserts" insert 100000
    check "all are there" whole 100000
    check "an index" sql "CREATE INDEX tv ON t(v);"
    check "found by the index" same 1 sql "SELECT count(*) FROM t WHERE v = 'value ' || (5 * 7919 % 100003);"
    check "20 transactions" transactions 100001 100020
    check "a rollback" sql "BEGIN; DELETE FROM t; ROLLBACK;"
    check "nothing is lost" whole 100020
    check "a delete, and VACUUM" sql "DELETE FROM t WHERE i % 2 = 0; VACUUM;"
    check "half are there" whole 50010
}

# Kills a writer while it writes; what it had committed is there, and the file is whole.
kill_writer() {
    rm -f /data/t.db* && sql "PRAGMA journal_mode=$1; CREATE TABLE t(i INTEGER PRIMARY KEY, v TEXT);" || return 1
    sqlite3 /data/t.db "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)
        INSERT INTO t SELECT i, hex(randomblob(200)) FROM n;" &
    writer=$!
    # When pages go to the disk before the end, it is in the middle.
    while [ "$(stat -c %s /data/t.db)" -lt 1000000 ] && [ "$(stat -c %s /data/t.db-wal || echo 0)" -lt 1000000 ]; do
        kill -0 $writer || return 1
    done
    kill -9 $writer
    wait $writer
    [ $? = 137 ] && whole 0
}

case $1 in
rollback) both ;;
wal)
    check "write-ahead log" same wal sql "PRAGMA journal_mode=WAL;"
    both
    check "a checkpoint" sql "PRAGMA wal_checkpoint(TRUNCATE);"
    ;;
kill)
    check "kill -9 in a transaction, rollback journal" kill_writer DELETE
    check "kill -9 in a transaction, write-ahead log" kill_writer WAL
    ;;
esac
finish
