#!/usr/bin/env bash
# Runs a shell command in the virtual machine of `build.sh`, in a snapshot of this repository's HEAD; its output and exit code
# become this script's (125: the machine failed). Needs root, qemu-system-x86 and virtiofsd. /dev/kvm is used with VM_ACCEL=kvm.
# usage: tests/vm/run.sh [--systemd | --user] [--seconds N] DIRECTORY COMMAND
#   --systemd  systemd is process 1, the command runs as root in a delegated service; else a shell is process 1
#   --user     …and the command runs as an ordinary user, below that user's own manager
set -euo pipefail
repository=$(cd "$(dirname "$0")/../.." && pwd)
init="/usr/local/sbin/vm-guest init"
user=0
seconds=3600
while [[ ${1:-} == --* ]]; do
    case $1 in
    --systemd) init=/sbin/init ;;
    --user) init=/sbin/init user=1 ;;
    --seconds) seconds=$2 && shift ;;
    *) echo "unknown option $1" >&2 && exit 125 ;;
    esac
    shift
done
directory=$(realpath "${1:?usage: tests/vm/run.sh [--systemd | --user] [--seconds N] DIRECTORY COMMAND}")
command=${2:?a command is missing}

work=$(mktemp -d)
children=()
trap 'for child in "${children[@]}"; do kill "$child" 2>/dev/null || true; done; wait; rm -rf "$work"' EXIT
trap 'exit 125' INT TERM
mkdir "$work/control" "$work/repository"
git -C "$repository" archive HEAD | tar -x -C "$work/repository"
chmod -R a+rwX "$work"
printf '%s\n' "$command" >"$work/control/command"
((user)) && : >"$work/control/as-user"

for name in control repository; do
    /usr/libexec/virtiofsd --socket-path="$work/$name.sock" --shared-dir="$work/$name" --cache=auto --log-level=off &
    children+=($!)
done
until [[ -S $work/control.sock && -S $work/repository.sock ]]; do sleep 0.05; done
memory=${VM_MEMORY:-4096}
parameters="root=/dev/nvme0n1 rw rootfstype=ext4 console=ttyS0 quiet mitigations=off cgroup_no_v1=all psi=1 net.ifnames=0 audit=0"
parameters+=" apparmor=0 selinux=0 init=${init%% *}"
[[ $init == *" "* ]] && parameters+=" -- ${init#* }"
qemu-system-x86_64 -M q35 -accel "${VM_ACCEL:-tcg,thread=multi}" -cpu max -smp "${VM_CPUS:-2}" -m "$memory" \
    -object "memory-backend-memfd,id=mem,size=${memory}M,share=on" -numa node,memdev=mem \
    -kernel "$directory/vmlinuz" -append "$parameters" -display none -no-reboot -nodefaults -nic none \
    -drive "file=$directory/root.img,if=none,id=disk,format=raw,snapshot=on,cache=unsafe" -device nvme,drive=disk,serial=vm \
    -chardev "socket,id=c0,path=$work/control.sock" -device vhost-user-fs-pci,chardev=c0,tag=control \
    -chardev "socket,id=c1,path=$work/repository.sock" -device vhost-user-fs-pci,chardev=c1,tag=repository \
    -device virtio-rng-pci -serial "file:$work/console" &
machine=$!
children+=("$machine")
: >"$work/control/output"
tail --follow --bytes=+1 --sleep-interval=0.2 "$work/control/output" 2>/dev/null &
children+=($!)
for ((i = 0; i < seconds * 5; i++)); do
    [[ -s $work/control/code ]] && sleep 0.5 && exit "$(cat "$work/control/code")"
    kill -0 "$machine" 2>/dev/null || break
    sleep 0.2
done
echo "the virtual machine ended without a result, or took more than $seconds s; its console:" >&2
tail -n 30 "$work/console" >&2
exit 125
