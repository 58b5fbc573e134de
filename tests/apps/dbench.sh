# does: plays the calls of a file server's clients, one and then two
# packages: dbench
# limit: 180
# memory: 512
. /apps/check.sh

check "one client" dbench -c /usr/share/dbench/client.txt -D /data -t 8 1
check "two clients" dbench -c /usr/share/dbench/client.txt -D /data -t 8 2
check "one client that syncs each write" dbench -c /usr/share/dbench/client.txt -D /data -t 8 -s 1
finish
