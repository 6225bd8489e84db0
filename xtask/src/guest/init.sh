#!/bin/busybox sh
# The guest's first and only process: mounts what a system would have, runs the jobs, powers off.
if test -z "$MOVED"; then
    # As on a system, / is a mount point; the initramfs itself is none.
    /bin/busybox mkdir -p /moved
    /bin/busybox mount --bind / /moved
    cd /moved
    /bin/busybox mount --move . /
    MOVED=yes exec /bin/busybox chroot . /init
fi
/bin/busybox mkdir -p /tmp/applets
/bin/busybox --install -s /tmp/applets
# Programs of the image come before busybox's applets of the same name.
export PATH=/bin:/sbin:/tmp/applets HOME=/root
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mount -t bpf bpf /sys/fs/bpf
mount -t tmpfs tmpfs /run
ip link set lo up
export XLVS_BIN=/bin/xlvs XLVS_EBPF_OBJECT=/lib/xlvs.o XLVS_EBPF_VARIANT=/lib/xlvs-variant.o XLVS_BENCH_OBJECT=/lib/xlvs-bench.o CARGO_MANIFEST_DIR=/tests
# Its clock goes by instructions, of which it does fewer a second than a processor of today: the verifier takes long.
export XLVS_PATIENCE=4
# A system has these nodes and protocols before anybody opens them: nothing asks for their modules by name here.
modprobe tun
modprobe fou
modprobe ip_vs
# Its cards, if it has been given some.
modprobe virtio_pci
modprobe virtio_net
cd /tests
echo "guest: Linux $(uname -r), $(nproc) processors, up after $(cut -d' ' -f1 /proc/uptime) s"
. /jobs
sync
poweroff -f
