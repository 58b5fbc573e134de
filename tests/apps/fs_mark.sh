# does: makes, writes and syncs 100 files each way, with one thread and with two
# packages: fsmark
# limit: 120
. /apps/check.sh

mark() {
    mkdir /data/mark && fs_mark -d /data/mark -n 100 -s 10240 "$@" && rm -r /data/mark
}

check "no sync" mark -S 0
check "fsync of each file" mark -S 1
check "sync of the file system, then fsync of one" mark -S 2
check "fsync of all in reverse" mark -S 3
check "two threads in their own folders" mark -S 1 -t 2 -D 2
keep() {
    mkdir /data/mark && fs_mark -k -d /data/mark -n 20 -s 5000 -S 1 || return 1
    same 20 sh -c 'ls /data/mark | wc -l' && same 5000 sh -c 'wc -c < /data/mark/$(ls /data/mark | head -n 1)'
}
check "files that are kept have their length" keep
finish
