#!/bin/sh
# In the virtual machine, as process 1 (`init`) or as a unit (`systemd`): runs the command that the host left in /mnt/control.
export PATH=/opt/packages/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8
export PYTHONPATH=/mnt/repository:/opt/packages PYTHONDONTWRITEBYTECODE=1
if [ "$1" = init ]; then
    mount -t proc proc /proc
    mount -t sysfs sys /sys
    mount -t devtmpfs dev /dev 2>/dev/null
    mkdir -p /dev/pts /dev/shm
    mount -t devpts devpts /dev/pts
    for place in /dev/shm /run /tmp; do mount -t tmpfs tmpfs "$place"; done
    mount -t cgroup2 -o nsdelegate,memory_recursiveprot cgroup2 /sys/fs/cgroup
    mkdir /sys/fs/cgroup/init
    echo 1 >/sys/fs/cgroup/init/cgroup.procs
    for controller in $(cat /sys/fs/cgroup/cgroup.controllers); do echo "+$controller" >/sys/fs/cgroup/cgroup.subtree_control; done
    hostname vm
    ip link set lo up
fi
modprobe -a overlay tun
chmod 666 /dev/net/tun
mount -t virtiofs control /mnt/control
mount -t virtiofs repository /mnt/repository
cd /mnt/repository || exit 1
if [ -e /mnt/control/as-user ]; then
    runtime=/run/user/1000
    until [ -S $runtime/bus ]; do sleep 0.5; done
    # What somebody has who logs in: a scope of the user's own manager. `launch` asks that manager for another one.
    runuser -u launchtest -- env HOME=/home/launchtest XDG_RUNTIME_DIR=$runtime DBUS_SESSION_BUS_ADDRESS=unix:path=$runtime/bus \
        systemd-run --user --scope --quiet sh /mnt/control/command </dev/null >/mnt/control/output 2>&1
else
    setsid --wait sh /mnt/control/command </dev/null >/mnt/control/output 2>&1
fi
echo $? >/mnt/control/code
sync
echo o >/proc/sysrq-trigger
sleep 60
