# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
# A Linux in QEMU, without acceleration, that works on an ext4 image: busybox and a script are all it has. Source
# lib.sh first. The image is the guest's only disk; its console is $GUEST_LOG.
#
# From outside:
#	CACHEFS_GUEST_KERNEL    bzImage; default: the newest /boot/vmlinuz-* that can be read
#	CACHEFS_GUEST_MODULES   its modules; default: what stands in /lib/modules for it
#	CACHEFS_GUEST_BUSYBOX   a static busybox for the guest; default: busybox

GUEST_LOG=$WORK/guest.console
GUEST_PID=
GUEST_MODULES="virtio virtio_ring virtio_pci_legacy_dev virtio_pci_modern_dev virtio_pci virtio_blk mbcache jbd2
	crc16 crc32c_generic libcrc32c ext4"

# need_guest: what is needed is here, or the test is skipped; sets KERNEL, MODULES, BUSYBOX.
need_guest() {
	need_commands qemu-system-x86_64 e2fsck mkfs.ext4
	[ "$(uname -m)" = x86_64 ] || skip_all "guests are x86_64 here"
	# shellcheck disable=SC2012
	KERNEL=${CACHEFS_GUEST_KERNEL:-$(ls -v /boot/vmlinuz-* 2>/dev/null | tail -n 1)}
	[ -r "$KERNEL" ] || skip_all "no kernel for the guest in /boot: set CACHEFS_GUEST_KERNEL"
	MODULES=${CACHEFS_GUEST_MODULES:-/lib/modules/$(basename "$KERNEL" | sed 's/^vmlinuz-//')}
	BUSYBOX=${CACHEFS_GUEST_BUSYBOX:-$(command -v busybox)}
	[ -x "$BUSYBOX" ] || skip_all "no busybox: set CACHEFS_GUEST_BUSYBOX to a static one"
	! ldd "$BUSYBOX" >/dev/null 2>&1 || skip_all "$BUSYBOX is not static: set CACHEFS_GUEST_BUSYBOX to one that is"
}

# What the guest does. Each file has its checksum as its name's second half, so it can be told whether it still
# has what was written; all of them are synced. Ends when the console says so.
guest_init() {
	cat <<'EOT'
#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin
mkdir -p /proc /sys /dev /mnt
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev 2>/dev/null
# which one needs which differs between kernels
for pass in 1 2 3; do
	for m in /modules/*.ko; do insmod $m 2>/dev/null; done
done
mount -t ext4 /dev/vda /mnt || { echo "guest: cannot mount"; poweroff -f; }
mkdir -p /mnt/files /mnt/names
fail() { echo "guest: failed: $*"; }

files() {
	i=0
	while [ ! -e /end ]; do
		i=$((i + 1))
		head -c $((i % 40 * 1024 + 100)) /dev/urandom >/tmp.$i
		sum=$(md5sum </tmp.$i)
		sum=${sum%% *}
		dd if=/tmp.$i of=/mnt/files/new bs=4k conv=fsync 2>/tmp.err || fail "write $i: $(cat /tmp.err)"
		rm -f /tmp.$i /mnt/files/$((i % 60))-*
		mv /mnt/files/new /mnt/files/$((i % 60))-$sum || fail "mv $i"
		old=$(ls /mnt/files | grep "^$((i * 7 % 60))-")
		if [ -n "$old" ] && ! md5sum </mnt/files/$old | grep -q "^${old#*-}"; then
			fail "$old has other bytes"
		fi
		[ $((i % 10)) -ne 0 ] || { echo 1 >/proc/sys/vm/drop_caches; echo "guest: tick $i"; }
	done
}

names() {
	i=0
	while [ ! -e /end ]; do
		i=$((i + 1))
		mkdir /mnt/names/$i && ln -s $i /mnt/names/$i/link || fail "mkdir $i"
		[ $i -le 20 ] || rm -r /mnt/names/$((i - 20)) || fail "rm $((i - 20))"
		sync || fail "sync $i"
	done
}

files &
names &
echo "guest: works"
read line
touch /end
wait
umount /mnt || fail "umount"
echo "guest: ended"
poweroff -f
EOT
}

# guest_initrd: $WORK/initrd
guest_initrd() {
	local root=$WORK/initrd.d m file

	mkdir -p "$root/bin" "$root/modules"
	cp "$BUSYBOX" "$root/bin/busybox"
	guest_init >"$root/init"
	chmod 755 "$root/init"
	# what is not there is built in, or it does not mount
	for m in $GUEST_MODULES; do
		file=$(find "$MODULES" -name "$m.ko*" 2>/dev/null | head -n 1)
		case $file in
		*.ko) cp "$file" "$root/modules/" ;;
		*.xz) xz -dc "$file" >"$root/modules/$m.ko" ;;
		*.zst) zstd -dqc "$file" >"$root/modules/$m.ko" ;;
		*.gz) gzip -dc "$file" >"$root/modules/$m.ko" ;;
		esac
	done
	(cd "$root" && find . | "$BUSYBOX" cpio -o -H newc 2>/dev/null) >"$WORK/initrd"
}

# guest_start IMAGE DRIVE-OPTIONS: returns when the guest works. An I/O error is the guest's own to report.
guest_start() {
	: >"$GUEST_LOG"
	rm -f "$WORK/guest.in"
	mkfifo "$WORK/guest.in"
	exec 7<>"$WORK/guest.in"
	qemu-system-x86_64 -accel tcg -m 256 -nodefaults -no-user-config -no-reboot -display none \
		-kernel "$KERNEL" -initrd "$WORK/initrd" \
		-append "console=ttyS0 panic=-1 loglevel=6 tsc=unstable mitigations=off rdinit=/init" \
		-chardev stdio,id=console,signal=off -serial chardev:console \
		-drive "file=$1,if=virtio,format=raw,werror=report,rerror=report,$2" \
		<"$WORK/guest.in" >"$GUEST_LOG" 2>"$WORK/qemu.err" 7>&- 9>&- &
	GUEST_PID=$!
	within 120 guest_said "guest: works" && running "$GUEST_PID"
}

guest_said() {
	grep -aq "$1" "$GUEST_LOG" || ! running "$GUEST_PID"
}

# guest_ticks: how far its work has come.
guest_ticks() {
	grep -ao 'guest: tick [0-9]*' "$GUEST_LOG" | tail -n 1 | grep -o '[0-9]*$' || echo 0
}

# guest_works N: it does so many files more within a minute.
guest_works() {
	local end=$(($(guest_ticks) + $1))

	within 60 guest_beyond "$end" && running "$GUEST_PID"
}
guest_beyond() { [ "$(guest_ticks)" -ge "$1" ] || ! running "$GUEST_PID"; }

# guest_end: it unmounts and goes; 0 when it said so.
guest_end() {
	echo end >&7
	wait_end "$GUEST_PID" 60 || { echo "the guest does not end"; return 1; }
	wait "$GUEST_PID"
	GUEST_PID=
	exec 7>&-
	grep -aq 'guest: ended' "$GUEST_LOG"
}

# What its kernel or its work complained of.
guest_complaints() {
	grep -aiE 'I/O error|EXT4-fs (error|warning)|JBD2: |Aborting journal|blocked for more|guest: failed|Kernel panic' \
		"$GUEST_LOG" | head -n 10
}

guest_stop() {
	[ -z "$GUEST_PID" ] || { kill -KILL "$GUEST_PID" && wait "$GUEST_PID"; } 2>/dev/null
	GUEST_PID=
	exec 7>&-
}
