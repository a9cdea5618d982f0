#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Who may do what, and what is owned by whom afterwards: as on a plain directory.

. "$(dirname "$0")/../lib/lib.sh"
. "$(dirname "$0")/../lib/fsops.sh"
need_root
need_fuse
need_commands setfacl getfacl setcap getcap setpriv
need_tools fsops
plan 23
same_mount

same "owner, group and umask of what is made" <<SCRIPT
as 65534 65533
mknod file file 0666
open 0 open rdwr,creat 0666
mkdir dir 0777
symlink x link
mknod fifo fifo 0666
umask 077
mknod file77 file 0666
mkdir dir77 0777
umask 0
mknod file0 file 0666
mkdir dir0 07777
open 0 open0 rdwr,creat 07777
mknod char char 0666 1 3
stat file
stat open
stat dir
stat link
stat fifo
stat file77
stat dir77
stat file0
stat dir0
stat open0
stat char
as 1000 1000 2000 2001
mkdir other 0755
open 0 other/file rdwr,creat
stat other
stat other/file
as 0 100
mknod root file 0644
stat root
SCRIPT

same "setgid directories" <<SCRIPT
mkdir d 0
chown d 65534 2000
chmod d 02777
umask 0
as 65534 65533 2000
mknod d/member file 02775
open 0 d/open rdwr,creat 02775
mkdir d/dir 0755
symlink x d/link
open 1 d tmpfile,rdwr 02775
fstat 1
linkfd 1 d/tmp
as 1000 1000
mknod d/stranger file 02775
open 0 d/stropen rdwr,creat 02775
open 0 d/strplain rdwr,creat 02765
mkdir d/strdir 0755
open 1 d tmpfile,rdwr 02775
fstat 1
as 1000 2000
mknod d/primary file 02775
as 0 0
mknod d/root file 02775
open 0 d/rootopen rdwr,creat 02775
stat d/member
stat d/open
stat d/dir
stat d/link
stat d/tmp
stat d/stranger
stat d/stropen
stat d/strplain
stat d/strdir
stat d/primary
stat d/root
stat d/rootopen
SCRIPT

same "access by owner, group and others" <<SCRIPT
mkdir d 0
chown d 1000 2000
chmod d 0750
mknod d/f file 0
chown d/f 1000 2000
chmod d/f 0640
as 1000 1000
open 0 d/f rdwr
access d/f w
mknod d/new file 0
open 0 d/new rdonly
access d/new r
as 1001 1001 2000
open 0 d/f rdonly
open 0 d/f wronly
open 0 d/f rdonly,trunc
access d/f w
mknod d/x file 0644
unlink d/f
chmod d/f 0777
chown d/f 1001 -1
utimens d/f now now
utimens d/f 1 1
truncate d/f 0
setxattr d/f user.a b
getxattr d/f user.a
as 1002 1002
stat d
stat d/f
open 0 d/f rdonly
ls d
mknod d/x file 0644
rename d/f g
link d/f g
access d x
as 65534 65534
open 0 d rdonly
as 0 0
open 0 d/f rdwr
chown d/f 65534 65534
stat d/f
SCRIPT

same "sticky directories" <<SCRIPT
as 1000 1000
mknod a file 0666
mkdir d 0777
as 1001 1001
unlink a
rename a b
rmdir d
mknod mine file 0666
rename mine a
rename mine a exchange
link mine another
as 1000 1000
unlink another
rename a b
unlink b
SCRIPT

same "protected by mode 0 from the first" <<SCRIPT
as 1000 1000
umask 0
open 0 none rdwr,creat 0
write 0 text
read 0 0
open 1 none rdonly
open 2 readonly wronly,creat 0444
write 2 text
ftruncate 2 2
open 3 readonly wronly
open 4 . tmpfile,rdwr 0
write 4 text
read 4 0
stat none
stat readonly
SCRIPT

# killers MODES IDS [close]: sets suid and sgid again before each way of losing them, then does it as IDS.
# Not among the ways: chown to nobody (-1, -1), of which a FUSE daemon hears nothing.
killers() {
	local way mode

	printf 'mknod f file 0\nchown f 1000 2000\nopen 0 f rdwr\nwrite 0 @8192\n'
	[ -z "${3-}" ] || printf '%s 0\n' "$3"
	for way in "open 1 f rdwr; write 1 x" "open 1 f rdwr; ftruncate 1 100" "truncate f 90" \
		"open 1 f rdwr,trunc" "open 1 f rdwr; fallocate 1 0 0 9000" \
		"open 1 f rdwr; fallocate 1 punch,keep 0 4096" "open 1 f rdwr; fallocate 1 zero 0 9000" \
		"open 1 f rdwr; copy 1 0 1 100 50" "open 1 f rdwr; mmap 1 write 0" \
		"chown f 1000 2000" "chown f -1 2001" "open 1 f rdwr; write 1 @5000 100" \
		"open 1 f rdonly; read 1 0" "open 1 f rdwr,append; write 1 x" "utimens f now now" \
		"open 1 f rdwr,sync; write 1 x"; do
		for mode in $1; do
			printf 'as 0 0\nchown f 1000 2000\nchmod f %s\nstat f\n' "$mode"
			printf 'as %s\n%s\n' "$2" "${way//; /$'\n'}"
			printf 'stat f\nas 0 0\nstat f\n'
		done
	done
}

all="06777 06767 02766 04700 02677"
same "suid and sgid fall when others write" < <(killers "$all" "1001 1001")
same "suid and sgid fall when an owner without the group writes" < <(killers "$all" "1000 1000")
# Not while an older descriptor holds the file on the kernel path: there they fall at root's writes too.
same "suid and sgid stay when root writes" < <(killers "$all" "0 0" close)
# sgid without the group's x bit has no meaning; natively it stays when a member of the group writes.
same "suid and sgid fall when an owner with the group writes" \
	< <(killers "06777 04700 02677" "1000 1000 2000 2001")

same "setting suid and sgid" <<SCRIPT
mknod f file 0
chown f 1000 2000
as 1000 1000
chmod f 06755
stat f
as 1000 1000 2000
chmod f 06755
stat f
as 1001 1001
chmod f 0777
as 0 0
mkdir d 0
chown d 1000 2000
as 1000 1000
chmod d 07777
stat d
as 0 0
chmod f 07777
stat f
symlink f l
lchmod l 0600
stat l
SCRIPT

same "extended attributes" <<SCRIPT
mknod f file 0644
mkdir d 0755
symlink f l
mknod p fifo 0644
setxattr f user.one 1
setxattr f user.one 2 create
setxattr f user.two 2 replace
setxattr f user.two 22 create
setxattr f user.one 111 replace
setxattr f user.empty -
getxattr f user.one
getxattr f user.empty
getxattr f user.one 0
getxattr f user.one 2
getxattr f user.none
listxattr f
listxattr f 0
listxattr f 3
removexattr f user.one
removexattr f user.one
listxattr f
setxattr f user.large @2000
getxattr f user.large
getxattr f user.large 1999
setxattr f user.large @65536
setxattr f user.large @65537
setxattr f user.$(printf '%250s' '' | tr ' ' n) v
setxattr f user.$(printf '%251s' '' | tr ' ' n) v
setxattr f user. v
setxattr f nonsense.x v
setxattr f nonsense v
setxattr d user.x v
getxattr d user.x
setxattr l user.x v
setxattr p user.x v
setxattr l trusted.x v
getxattr l trusted.x
setxattr f trusted.t v
setxattr p trusted.t v
listxattr f
listxattr l
setxattr f security.test v
getxattr f security.test
getxattr f security.capability
setxattr f security.capability nonsense
setxattr f system.posix_acl_access nonsense
getxattr f system.posix_acl_access
getxattr none user.x
as 65534 65534
getxattr f trusted.t
setxattr f trusted.u v
setxattr f user.three v
setxattr f security.capability nonsense
listxattr f
getxattr f user.two
removexattr f user.two
as 0 0
removexattr f trusted.t
removexattr f security.test
listxattr f
SCRIPT

# ---- ACLs, set by the usual tools; then the same script ----

# each_base COMMAND...: in the native directory and on the mount, in a directory of its own.
each_base() {
	local base

	for base in "$NATIVE" "$MNT"; do
		(cd "$base/acl" && "$@") || return 1
	done
}

mkdir -m 1777 "$NATIVE/acl" "$MNT/acl"
make_acls() {
	mkdir def minimal &&
		chmod 777 def minimal &&
		setfacl -d -m u::rwx,g::r-x,o::r--,u:1000:rwx,g:2000:rw- def &&
		setfacl -d -m u::rw,g::rw,o::- minimal &&
		touch file group &&
		chmod 600 file &&
		chmod 2770 group &&
		chown 1000:2000 group &&
		setfacl -m u:1001:rw,g:2000:r,m::rw file
}
succeeds "ACLs can be set" each_base make_acls
same "POSIX ACLs are enforced and inherited" <<SCRIPT
cd ../acl
stat file
as 1001 1001
open 0 file rdwr
open 0 file rdonly
as 1002 1002 2000
open 0 file rdonly
open 0 file wronly
as 1003 1003
open 0 file rdonly
getxattr file system.posix_acl_access
setxattr file system.posix_acl_access x
umask 077
mknod def/masked file 0666
open 0 def/open rdwr,creat 0666
mkdir def/dir 0777
mknod minimal/f file 0666
mkdir minimal/d 0777
symlink x def/link
open 0 def tmpfile,rdwr 0666
linkfd 0 def/tmp
umask 0
mknod def/all file 0666
mknod def/less file 0600
stat def/masked
stat def/open
stat def/dir
stat def/all
stat def/less
stat def/tmp
stat minimal/f
stat minimal/d
getxattr def system.posix_acl_default
getxattr def/dir system.posix_acl_default
getxattr def/dir system.posix_acl_access
getxattr def/open system.posix_acl_access
getxattr def/masked system.posix_acl_access
getxattr def/tmp system.posix_acl_access
getxattr minimal/f system.posix_acl_access
listxattr def
listxattr def/masked
as 1000 1000
open 1 def/masked rdwr
open 1 def/all rdwr
open 1 def/less rdwr
as 0 0
chmod file 0640
getxattr file system.posix_acl_access
as 1001 1001
open 0 file rdwr
open 0 file rdonly
as 0 0
removexattr file system.posix_acl_access
as 1001 1001
open 0 file rdonly
SCRIPT

change_group_acl() {
	setpriv --reuid 1000 --regid 1000 "--$1" setfacl -m u:1001:r group 2>&1
	stat -c %a group
	chmod 2770 group
	setfacl -b group
	setfacl -m u:1001:r group
	stat -c %a group
}
for groups in clear-groups groups=2000; do
	is "$(cd "$MNT/acl" && change_group_acl "$groups")" = \
		"$(cd "$NATIVE/acl" && change_group_acl "$groups")" "sgid after a new ACL, $groups"
done
is "$(cd "$MNT/acl" && getfacl -R .)" = "$(cd "$NATIVE/acl" && getfacl -R .)" "getfacl -R is the same"

# ---- security.capability ----

capabilities() {
	local f=$1/capable

	cp /bin/true "$f"
	setcap cap_net_raw+ep "$f"
	getcap -n "$f" | sed 's/.* //'
	setpriv --reuid 65534 --regid 65534 --clear-groups "$f" && echo runs
	chmod 777 "$f"
	getcap -n "$f" | sed 's/.* //'
	setpriv --reuid 65534 --regid 65534 --clear-groups sh -c "echo >>$f"
	getcap -n "$f" | sed 's/.* //'
	setcap cap_net_raw+ep "$f"
	echo >>"$f"
	getcap -n "$f" | sed 's/.* //'
	setcap cap_net_raw+ep "$f"
	truncate -s 100 "$f"
	getcap -n "$f" | sed 's/.* //'
	setcap cap_net_raw+ep "$f"
	chown 65534 "$f"
	getcap -n "$f" | sed 's/.* //'
	rm "$f"
}
is "$(capabilities "$MNT/acl")" = "$(capabilities "$NATIVE/acl")" "security.capability falls as natively"

# ---- flags of the mount ----

cp /usr/bin/id "$MNT/id" && chmod 4755 "$MNT/id"
cp -a /dev/null "$MNT/null"
as_nobody() {
	setpriv --reuid 65534 --regid 65534 --clear-groups "$@"
}
is "$(as_nobody "$MNT/id" -u 2>&1)" = 0 "suid works on root's mount"
succeeds "unmounts, the daemon ends" umount_cachefs "$MNT"
must_mount "$BACK" "$MNT" "nosuid,nodev"
is "$(as_nobody "$MNT/id" -u 2>&1)" = 65534 "nosuid"
fails "nodev" "Permission denied" sh -c "echo >$MNT/null"
succeeds "unmounts, the daemon ends" umount_cachefs "$MNT"
must_mount "$BACK" "$MNT" "noexec"
fails "noexec" "Permission denied" "$MNT/id"
