# does: over 120 applets; their output must be that of the same busybox under Linux
# packages: busybox-static
# compare: yes
# limit: 120
#
# No check here: everything printed is compared, so that it must not tell times, sizes of folders or numbers of processes.

export LC_ALL=C
mkdir -p "$1" && cd "$1" && rm -rf ./* || exit 1
umask 022
say() { echo "== $*"; }
# show COMMAND...: the heading, the output of both streams, and the status.
show() {
    say "$*"
    "$@" 2>&1
    echo "status $?"
}
# The same for a line of the shell.
line() {
    say "$1"
    eval "$1" 2>&1
    echo "status $?"
}

say "files to work with"
line 'printf "pear 3\napple 10\nfig 2\napple 1\n" > fruit'
line 'seq 1 40 > numbers'
line 'mkdir -p dir/sub && echo one > dir/one && echo two > dir/sub/two'

# Text.
show cat fruit
show cat -A fruit
show tac fruit
show rev fruit
show head -n 2 fruit
show tail -n 2 fruit
show tail -c 5 fruit
show sort fruit
show sort -k 2 -n -r fruit
line 'cut -d " " -f 1 fruit | sort | uniq -c'
show cut -c 1-3 fruit
show tr a-z A-Z < fruit
line 'tr -d aeiou < fruit'
show wc fruit
show nl fruit
show fold -w 4 fruit
line 'paste fruit fruit'
line 'expand -t 4 < fruit | unexpand -t 4'
show grep -n apple fruit
show grep -c pear fruit
show grep -v apple fruit
show egrep '^(fig|pear)' fruit
show fgrep 1 fruit
show grep nothing fruit
show sed -e 's/apple/quince/' -e 2d fruit
line 'cp fruit edited && sed -i "s/fig/date/" edited && cat edited'
show awk '{ n[$1] += $2 } END { for (k in n) print k, n[k] | "sort" }' fruit
show awk 'BEGIN { printf "%5.2f %s\n", 22 / 7, substr("abcdef", 2, 3) }'
show diff fruit edited
line 'diff -u fruit edited | tail -n +3'
line 'diff -u fruit edited > patch.diff; patch -R edited < patch.diff && cmp fruit edited'
show cmp fruit numbers
line 'printf "a\tb\n" | cat -t'
line 'strings "$(which busybox)" | grep -c "BusyBox v" | tr 0-9 N'
line 'yes no | head -n 3'
line 'seq 10 -3 1'
line 'shuf numbers | sort -n | head -n 3'
line 'echo a b c | xargs -n 1 echo item'
line 'printf "x\r\ny\r\n" > dos && dos2unix dos && od -c dos && unix2dos dos && wc -c dos'
line 'printf "1i\nfirst\n.\n,p\nw\nq\n" | ed fruit'

# Bytes.
show od -c fruit
show hexdump -C fruit
show xxd fruit
show md5sum fruit
show sha1sum fruit
show sha256sum fruit
show sha512sum fruit
show sha3sum fruit
show crc32 fruit
line 'sha256sum fruit numbers > sums && sha256sum -c sums'
line 'base64 fruit | base64 -d | cmp - fruit'
line 'uuencode x < fruit | uudecode -o decoded; cmp decoded fruit'
line 'dd if=/dev/zero of=zeros bs=4096 count=16 2>/dev/null; stat -c %s zeros'
line 'dd if=numbers bs=1 skip=4 count=6 2>/dev/null'
line 'dd if=fruit of=zeros bs=1 seek=100 conv=notrunc 2>/dev/null; stat -c %s zeros; md5sum zeros'
line 'tr "\0" x < zeros | head -c 10'

# Archives.
line 'tar cf a.tar dir && tar tf a.tar | sort && mkdir out && tar xf a.tar -C out && cat out/dir/sub/two'
line 'tar czf a.tgz dir && tar tzf a.tgz | sort'
line 'gzip -c numbers > n.gz && gunzip -c n.gz | cmp - numbers && zcat n.gz | tail -n 1'
line 'bzip2 -c numbers > n.bz2 && bunzip2 -c n.bz2 | cmp - numbers && bzcat n.bz2 | wc -l'
line 'lzop -c numbers > n.lzo && lzop -dc n.lzo | cmp - numbers'
line 'find dir | sort | cpio -o -H newc 2>/dev/null > a.cpio && mkdir in && cd in && cpio -id < ../a.cpio 2>/dev/null; cat dir/one; cd ..'
line 'ar -r a.ar fruit 2>/dev/null; ar -t a.ar'

# Files and folders.
show ls
line 'ls -l fruit | cut -c 1-10'
line 'ls -R dir'
line 'ls -a dir'
show cp -r dir copy
show mv copy moved
line 'find moved -type f | sort'
line 'find . -name "t*" -o -name "o*" | sort'
line 'find dir -type f -exec cat {} \; | sort'
line 'ln -s fruit link && readlink link && cat link'
line 'ln fruit hard && stat -c %h fruit'
line 'realpath dir/../fruit | sed "s,.*/,,"'
line 'readlink -f link | grep -c fruit'
line 'chmod 640 fruit && stat -c "%a %A %F %s" fruit'
line 'chmod u+x,g-r fruit && stat -c %a fruit'
line 'touch -d "2020-01-02 03:04:05" fruit && date -r fruit +%F\ %T'
line 'touch new && test -f new && [ ! -s new ] && echo empty'
line 'truncate -s 10000 sparse && stat -c "%s" sparse && tail -c 3 sparse | od -c'
line 'mkfifo pipe && stat -c %F pipe; (cat fruit > pipe &); cat pipe'
line 'mktemp -d ./tmp.XXXXXX | cut -c 1-6; rmdir tmp.*'
show basename /a/b/c.txt .txt
show dirname /a/b/c.txt
show rmdir dir
show rm -r moved
show rm nothing
show unlink new
show cat nothing
show mkdir dir
show cd nothing
line 'tee one.txt two.txt < fruit && cmp one.txt two.txt'
line 'du -b -s fruit 2>/dev/null | cut -f 1; sync'
line 'fallocate -l 5000 room && stat -c %s room'
line 'shred -n 1 -u room; ls room'
line 'run-parts --test dir | head -n 1; which sh | wc -l'

# Numbers, times, names.
show expr 7 \* 6
show expr length abcdef
show factor 360
line 'echo "2 ^ 64; scale = 5; 22 / 7" | bc'
line 'echo "5 6 * p" | dc'
show printf '%05d %x %s %b\n' 42 255 text 'a\tb'
show date -u -d @86400 +%Y-%m-%dT%H:%M:%S
show cal 2 2024
show env -i A=1 B=2 env
line 'echo $HOME; id -u; id -g; whoami; groups'
show uname -m
line 'echo $(($(nproc) > 0)); test $(hostid | wc -c) -gt 1; hostname > /dev/null'
show true
show false
show usleep 1000
show sleep 0
line 'getopt -o ab: -- -a -b x y'
line 'ipcalc -n 192.168.1.77 255.255.255.0'
line 'ascii | head -n 3'

# Processes.
line 'sh -c "exit 7"'
line 'sh -c "kill -TERM \$\$"'
line 'timeout 1 sleep 10'
line 'timeout 5 echo in time'
# Its shell tells of the signal only if the job ends after wait has begun.
line 'sleep 100 & kill $!; wait $! 2> /dev/null'
line 'setsid sh -c "echo session"'
line 'time -f %x sh -c "exit 3" 2>&1 | head -n 1'
line 'pidof nothing-like-this'
line 'trap "echo trapped" USR1; kill -USR1 $$; trap - USR1'
line 'for i in 1 2 3; do echo $i & wait; done'
line 'cat fruit | cat | cat | wc -l'
line 'echo "$(echo nested "$(echo deep)")"'
line '(cd dir && pwd | sed "s/.*work//;s/.*host//"); [ -d dir ]'
line 'cat <<END
here $((6 * 7))
END'
line 'read a b < fruit; echo "$b $a"'
line 'set -- x y z; shift; echo "$# $1"'
line 'f() { local v=1; echo $v; return 4; }; f'
line 'exec 5> five; echo to five >&5; exec 5>&-; cat five'
line 'echo out; echo err >&2'
line 'ulimit -n > /dev/null; umask'
line 'case abc in a*) echo starts;; esac'
line 'i=0; while [ $i -lt 200 ]; do i=$((i + 1)); done; echo $i'
line 'i=0; while [ $i -lt 30 ]; do true | cat; i=$((i + 1)); done; echo $i'
