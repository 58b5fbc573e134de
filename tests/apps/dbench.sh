# does: plays the calls of a file server's clients, one and then two
# packages: dbench
# limit: 180
# memory: 512
. /apps/check.sh

# The whole of the load is read before the first call is played: 26 MB, of which the start is enough.
head -n 20000 /usr/share/dbench/client.txt > /data/load

check "one client" dbench -c /data/load -D /data -t 8 1
check "two clients" dbench -c /data/load -D /data -t 8 2
check "one client that syncs each write" dbench -c /data/load -D /data -t 8 -s 1
finish
