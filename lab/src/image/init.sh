#!/bin/busybox sh
# First process of a guest of the lab: file systems, modules, network, then the agent.
# What differs between guests stands on the kernel command line as cohost.NAME=VALUE.
export PATH=/bin HOME=/root
/bin/busybox mkdir -p /proc /sys /dev /tmp /run /root /var/run
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/shm /dev/pts
mount -t tmpfs -o mode=1777 shm /dev/shm
mount -t devpts pts /dev/pts

for word in $(cat /proc/cmdline); do
    case $word in
        cohost.address=*) address=${word#*=} ;;
        cohost.name=*) name=${word#*=} ;;
        cohost.probe) echo COHOST-BOOTED; poweroff -f ;;
    esac
done
while read -r module parameters; do
    # Unquoted: each parameter is a word.
    insmod "/lib/modules/$module" $parameters || echo "cohost: module $module was not loaded"
done < /lib/modules/order
[ -d /proc/xen ] && mount -t xenfs xenfs /proc/xen

hostname "$name"
ip link set lo up
[ -x /etc/lab-first ] && . /etc/lab-first

# The first interface that is not the loopback one, which a driver may bring in late.
tries=0
while [ -n "$address" ] && [ $tries -lt 100 ]; do
    for path in /sys/class/net/*; do
        interface=${path##*/}
        [ -e "$path/device" ] || continue
        ip address add "$address" dev "$interface" && ip link set "$interface" up && address=
        break
    done
    [ -n "$address" ] && sleep 0.1
    tries=$((tries + 1))
done
[ -n "$address" ] && echo "cohost: no network interface appeared" && ls /sys/class/net

echo COHOST-BOOTED
/bin/cohost lab-agent
echo "cohost: the agent has ended"
poweroff -f
