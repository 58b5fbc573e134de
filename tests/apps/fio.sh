# does: random writes in each way, read back with a check sum for each block
# packages: fio
# variants: psync pvsync2 libaio jobs
# limit: 240
# memory: 512
. /apps/check.sh

# job NAME OPTIONS...: writes and verifies 1 MiB.
job() {
    name=$1
    shift
    check "$name" fio --name=job --directory=/data --size=1m --bs=4k --rw=randwrite --verify=crc32c --do_verify=1 \
        --verify_fatal=1 --fallocate=none --randseed=1 --group_reporting "$@"
    rm -f /data/job* /data/file*
}

check "the CPUs are told" grep -q '^0' /sys/devices/system/cpu/online
case $1 in
psync | pvsync2)
    for kind in --thread=1 --thread=0; do
        job "$1 $kind buffered" --ioengine=$1 $kind
        job "$1 $kind buffered, fsync every 16" --ioengine=$1 $kind --fsync=16
        job "$1 $kind buffered, O_DSYNC" --ioengine=$1 $kind --sync=dsync
        job "$1 $kind direct" --ioengine=$1 $kind --direct=1
        job "$1 $kind direct, O_DSYNC" --ioengine=$1 $kind --direct=1 --sync=dsync
    done
    job "$1 odd lengths" --ioengine=$1 --thread=1 --bsrange=1k-16k --bs_unaligned=1
    ;;
libaio)
    for kind in --thread=1 --thread=0; do
        job "libaio $kind buffered" --ioengine=libaio $kind --iodepth=8
        job "libaio $kind direct" --ioengine=libaio $kind --direct=1 --iodepth=8
        job "libaio $kind direct, O_DSYNC" --ioengine=libaio $kind --direct=1 --iodepth=8 --sync=dsync
        job "libaio $kind direct, batches of 4" --ioengine=libaio $kind --direct=1 --iodepth=16 \
            --iodepth_batch=4 --iodepth_batch_complete_min=4
    done
    ;;
jobs)
    for engine in psync libaio; do
        for kind in --thread=1 --thread=0; do
            job "$engine $kind, two jobs, one file" --ioengine=$engine $kind --direct=1 --iodepth=4 --numjobs=2 \
                --filename=file --offset_increment=1m
            job "$engine $kind, two jobs, two files" --ioengine=$engine $kind --iodepth=4 --numjobs=2
        done
    done
    job "a job that reads while one writes" --ioengine=psync --thread=1 --filename=file --name=reader --rw=randread \
        --verify=0 --size=1m --directory=/data
    ;;
esac
finish
