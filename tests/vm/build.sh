#!/usr/bin/env bash
# Builds the virtual machine that `run.sh` boots: Debian's cloud kernel and a small Debian with systemd, Python and the packages
# that the tests need, as an ext4 image. Needs root, mmdebstrap, e2fsprogs, uv; takes the machine's own apt sources and indexes.
# usage: tests/vm/build.sh DIRECTORY
set -euo pipefail
repository=$(cd "$(dirname "$0")/../.." && pwd)
directory=$(realpath -m "${1:?usage: tests/vm/build.sh DIRECTORY}")
suite=${VM_SUITE:-trixie}
sources=${VM_SOURCES:-/etc/apt/sources.list.d/debian.sources}
for tool in mmdebstrap mkfs.ext4 uv; do
    command -v "$tool" >/dev/null || { echo "$tool is not installed" >&2 && exit 1; }
done
mkdir -p "$directory"
cd "$directory"

packages=systemd,systemd-sysv,dbus,dbus-user-session,libpam-systemd,python3,kmod,util-linux,procps,iproute2,nftables,uidmap,passt
packages+=,ca-certificates,openssl,git,gcc,libc6-dev,sudo,tar,gzip,zstd,crun,runc,umoci,skopeo
rm -rf root kernel root.img
mmdebstrap --quiet --variant=minbase --mode=root --include="$packages" \
    --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' --dpkgopt='path-exclude=/usr/share/doc/*' \
    "$suite" root "$sources"

# Built in to this kernel: ext4, nvme, virtio-pci, virtiofs. So there is no initial ram disk; the rest are modules.
package=$(apt-cache depends linux-image-cloud-amd64 | awk '/Depends/ { print $2; exit }')
mkdir kernel
(cd kernel && apt-get -qq -o APT::Sandbox::User=root download "$package" && dpkg -x ./*.deb . && rm ./*.deb)
version=$(ls kernel/usr/lib/modules)
cp "kernel/boot/vmlinuz-$version" vmlinuz
mkdir -p root/usr/lib/modules
mv "kernel/usr/lib/modules/$version" root/usr/lib/modules/
chroot root depmod -a "$version"

# Packages for the guest's Python, by the host's uv: the guest has no network.
python=$(readlink root/usr/bin/python3)
uv pip install --quiet --target root/opt/packages --python-version "${python#python}" -r "$repository/pyproject.toml" --extra test

# An ordinary user with subordinate ids, a user manager that is always there, and all controllers.
chroot root useradd --create-home --uid 1000 --shell /bin/bash launchtest
grep -q '^launchtest:' root/etc/subuid || echo launchtest:100000:65536 | tee -a root/etc/subuid >>root/etc/subgid
mkdir -p root/var/lib/systemd/linger root/etc/systemd/system/user@.service.d root/mnt/{repository,control}
touch root/var/lib/systemd/linger/launchtest
printf '[Service]\nDelegate=cpu cpuset io memory pids\n' >root/etc/systemd/system/user@.service.d/delegate.conf
install -m 755 "$repository/tests/vm/guest.sh" root/usr/local/sbin/vm-guest
cat >root/etc/systemd/system/vm-guest.service <<'UNIT'
[Unit]
Description=The command that the host has left
After=multi-user.target dbus.socket systemd-logind.service systemd-user-sessions.service
[Service]
Type=oneshot
ExecStart=/usr/local/sbin/vm-guest systemd
Delegate=yes
TimeoutStartSec=infinity
[Install]
WantedBy=graphical.target
UNIT
mkdir -p root/etc/systemd/system/default.target.wants
ln -sf ../vm-guest.service root/etc/systemd/system/default.target.wants/
ln -sf /usr/lib/systemd/system/multi-user.target root/etc/systemd/system/default.target
for unit in apt-daily.timer apt-daily-upgrade.timer fstrim.timer dpkg-db-backup.timer getty.target systemd-timesyncd.service nftables.service; do
    ln -sf /dev/null "root/etc/systemd/system/$unit"
done
rm -f root/etc/fstab
echo vm >root/etc/hostname
echo uninitialized >root/etc/machine-id

truncate -s "${VM_DISK:-8G}" root.img
mkfs.ext4 -q -F -O ^has_journal -E lazy_itable_init=1,lazy_journal_init=1 -d root root.img
rm -rf root kernel
echo "$directory: $(du -sh root.img | cut -f1), Linux $version"
