#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Names: what makes, moves and removes them gives the same results and errors as on a plain directory.

. "$(dirname "$0")/../lib/lib.sh"
. "$(dirname "$0")/../lib/fsops.sh"
need_root
need_fuse
need_tools fsops
plan 13
same_mount

long=$(printf '%255s' '' | tr ' ' n)
same "every type of file" <<SCRIPT
mknod file file 0640
mknod fifo fifo 0600
mknod socket socket 0700
mknod char char 0644 1 3
mknod big char 0644 300 70000
mknod block block 0644 7 200
mkdir dir 0750
symlink target link
stat file
stat fifo
stat socket
stat char
stat big
stat block
stat dir
stat link
ls .
open 0 char rdwr
write 0 gone
read 0
open 0 fifo rdonly,nonblock
open 1 fifo wronly,nonblock
write 1 through
read 0
open 2 socket rdonly
open 2 dir rdonly
open 2 dir wronly
mknod file file 0644
mkdir file 0755
symlink a file
mknod none/file file 0644
mknod file/file file 0644
mkdir . 0755
mkdir .. 0755
rmdir .
rmdir dir/..
SCRIPT

same "links and symbolic links" <<SCRIPT
open 0 a rdwr,creat 0644
write 0 one
link a b
same a b
stat a
link a b
mkdir d 0755
link a d/c
link d e
link none e
link a none/e
stat d/c
same d/c b
unlink a
stat b
fstat 0
read 0 0
symlink b s
symlink none dangling
symlink loop loop
symlink d sd
link s s2
stat s2
same s s2
readlink s
readlink b
readlink none
open 1 s rdonly
open 1 s rdonly,nofollow
open 1 s path,nofollow
open 1 loop rdonly
open 1 loop/x rdonly
open 1 dangling rdonly
open 1 dangling rdwr,creat,excl
open 1 dangling rdwr,creat
ls .
open 1 sd/new rdwr,creat
open 1 sd rdonly,directory,nofollow
open 1 b rdonly,directory
ls sd/.
symlink $(printf '%4095s' '' | tr ' ' t) far
stat far
symlink $(printf '%4096s' '' | tr ' ' t) toofar
SCRIPT

same "rename" <<SCRIPT
open 0 a rdwr,creat 0644
write 0 first
open 1 b rdwr,creat 0600
write 1 second
rename a b noreplace
rename a c noreplace
rename c a
rename a b exchange
stat a
read 0 0
read 1 0
rename a b
stat b
stat a
read 0 0
read 1 0
fstat 0
fstat 1
mkdir d 0755
mkdir e 0755
mkdir d/inner 0755
rename b d
rename d b
rename e d
rename d e
ls .
ls e
rename e e/inner
rename e/inner e/inner/x
rename none x
rename b none/x
rename e/inner b exchange
ls .
ls e
stat b
stat e/inner
rename b e exchange
rename none e exchange
rename b none exchange
rename e/inner e/inner
link e/inner e/hard
rename e/inner e/hard
ls e
rename e/. x
rename e x noreplace,exchange
ls .
SCRIPT

same "removing" <<SCRIPT
mkdir d 0755
mkdir d/e 0755
mknod d/f file 0644
unlink d
rmdir d
rmdir d/f
unlink d/f
unlink d/f
rmdir d/e/
rmdir d/e
rmdir d
stat d
unlink none/x
open 0 f rdwr,creat
unlink f/x
rmdir f
unlink f/
unlink f
stat f
mkdir cwd 0755
cd cwd
rmdir ../cwd
mknod x file 0644
ls .
cd ..
SCRIPT

same "long names" <<SCRIPT
mknod $long file 0644
stat $long
stat x$long
mknod x$long file 0644
mkdir x$long 0755
rename $long x$long
rename $long m${long:1}
unlink m${long:1}
unlink x$long
mkdir $long 0755
mknod $long/$long file 0644
link $long/$long l${long:1}
symlink $long s${long:1}
symlink $long s$long
ls $long
ls .
SCRIPT

same "deep paths" <<SCRIPT
deep 600 0755
stat $(printf 'x/%.0s' {1..2100})
stat $(printf './%.0s' {1..2040})
ls .
SCRIPT
is "$(grep -c '^deep.*ok$' <<<"$output")" -eq 1 "deep paths could be made"

same "files unlinked and replaced while open" <<SCRIPT
open 0 a rdwr,creat 0644
write 0 hello
unlink a
write 0 again 5
read 0 0
ftruncate 0 3
fstat 0
fchmod 0 0600
fstat 0
fsync 0
fallocate 0 0 0 100000
fstat 0
linkfd 0 back
open 1 a rdwr,creat 0644
write 1 other
open 2 b rdwr,creat
write 2 goes
rename a b
read 2 0
write 2 on 4
read 2 0
read 1 0
fstat 2
fstat 1
rename b c
write 1 later 5
open 3 c rdonly
read 3
mkdir d 0755
open 4 d rdonly,directory
rename d e
rmdir e
ls .
SCRIPT

same "O_TMPFILE" <<SCRIPT
open 0 . tmpfile,rdwr 0640
write 0 unseen
fstat 0
ls .
linkfd 0 seen
stat seen
open 1 seen rdonly
read 1
unlink seen
fstat 0
open 2 . tmpfile,rdwr,excl 0640
write 2 never
linkfd 2 seen
open 3 . tmpfile,rdonly 0640
open 3 none tmpfile,rdwr 0640
open 3 . tmpfile,wronly 0400
write 3 blind
linkfd 3 three
stat three
ls .
as 65534 65534
open 4 . tmpfile,rdwr 0640
fstat 4
linkfd 4 mine
stat mine
SCRIPT

same "flags of open" <<SCRIPT
open 0 a rdwr,creat,excl 0644
open 1 a rdwr,creat,excl 0644
write 0 0123456789
open 1 a rdonly,trunc
fstat 0
write 0 0123456789 0
open 1 a wronly,append
write 1 end
read 0 0
open 2 a wronly,trunc,append
fstat 0
write 1 one
write 2 two
write 1 three 0
read 0 0
setfl 1 wronly
write 1 X 0
read 0 0
read 1 0
open 3 a rdonly
write 3 x
ftruncate 3 1
open 4 a/ rdonly
open 4 none/ rdwr,creat
open 4 . rdwr,creat
open 4 . rdonly,creat
open 4 a rdonly,directory
open 5 zero rdwr,creat 0
write 5 mine
read 5 0
stat zero
open 6 ro wronly,creat,excl 0444
write 6 x
stat ro
SCRIPT

same "O_APPEND from several processes" <<SCRIPT
appenders log 4 200
stat log
SCRIPT
is "$(sort "$MNT/d$same_count/log" | uniq -c | awk '{ printf "%s ", $1 }')" = "200 200 200 200 " \
	"no record was lost or torn"
succeeds "unmounts, the daemon ends" umount_cachefs "$MNT"
