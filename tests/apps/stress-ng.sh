# does: one stressor, which checks what it reads
# packages: stress-ng
# variants: hdd aiol iomix seek sync-file mmap fallocate
# limit: 120
# memory: 512
. /apps/check.sh

stress() {
    stress-ng --temp-path /data --verify --metrics --timeout 60 --oom-avoid "$@" >/tmp/stress 2>&1
    status=$?
    cat /tmp/stress
    # One that was killed has counted nothing, and stress-ng still calls that a success.
    [ $status = 0 ] && ! grep -q 'fail:' /tmp/stress && grep -q "metrc: .* $kind  *[1-9]" /tmp/stress
}

kind=$1
case $kind in
hdd)
    check "hdd" stress --hdd 1 --hdd-bytes 1m --hdd-ops 300
    check "hdd, O_DIRECT" stress --hdd 1 --hdd-bytes 1m --hdd-ops 100 --hdd-opts direct
    check "hdd, O_DSYNC and fsync" stress --hdd 1 --hdd-bytes 1m --hdd-ops 100 --hdd-opts dsync,fsync
    check "hdd, vectors, random places" stress --hdd 1 --hdd-bytes 1m --hdd-ops 100 --hdd-opts iovec,wr-rnd,rd-rnd
    check "hdd, two of them" stress --hdd 2 --hdd-bytes 1m --hdd-ops 100
    ;;
aiol) check "aiol" stress --aiol 1 --aiol-ops 100 --aiol-requests 8 ;;
iomix) check "iomix" stress --iomix 1 --iomix-bytes 2m --iomix-ops 200 ;;
seek) check "seek" stress --seek 1 --seek-size 1m --seek-ops 300 ;;
sync-file) check "sync-file" stress --sync-file 1 --sync-file-bytes 1m --sync-file-ops 20 ;;
mmap)
    check "mmap" stress --mmap 1 --mmap-bytes 1m --mmap-ops 20
    check "mmap of a file" stress --mmap 1 --mmap-bytes 1m --mmap-ops 20 --mmap-file
    ;;
fallocate) check "fallocate" stress --fallocate 1 --fallocate-bytes 2m --fallocate-ops 20 ;;
esac
finish
