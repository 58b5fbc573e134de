# does: reads and writes of the disk one by one, cached, direct and synchronous
# packages: ioping
# limit: 60
. /apps/check.sh

check "reads" ioping -q -c 5 -i 0 -S 1m /data
check "direct reads" ioping -q -D -c 5 -i 0 -S 1m /data
check "cached reads" ioping -q -C -c 5 -i 0 -S 1m /data
check "sequential reads of 64 KiB" ioping -q -L -s 64k -c 5 -i 0 -S 1m /data
check "direct writes" ioping -q -W -W -W -D -c 5 -i 0 -S 1m /data
check "synchronous writes" ioping -q -W -W -W -y -c 5 -i 0 -S 1m /data
check "asynchronous reads" ioping -q -A -D -c 5 -i 0 -S 1m /data
refuse "a folder that is not there" ioping -q -c 1 /nothing
finish
