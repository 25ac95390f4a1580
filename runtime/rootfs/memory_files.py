"""Small files that exist in memory only, each to be bound over a path of a container; those of /etc that every container gets."""

from __future__ import annotations

import os

from runtime.kernel import libc, mounts
from runtime.kernel.safe_open import read_in_root
from runtime.rootfs.mount_spec import TmpfsFile
from runtime.rootfs.targets import Root

_ATTRIBUTES = mounts.ATTR_NOSUID | mounts.ATTR_NODEV | mounts.ATTR_NOEXEC


class MemoryFiles:
    """A tmpfs that lies over the container's /dev while files are bound out of it; the binds keep it alive.

    Over /dev since a tree may be cloned from an attached mount only (before 6.15), and nothing is in /dev yet.
    """

    def __init__(self, root: Root) -> None:
        self._count = 0
        self._fd = mounts.new_mount("tmpfs", {"mode": "700"}, attributes=_ATTRIBUTES)
        place = root.directory("dev")
        mounts.attach(self._fd, place)
        os.close(place)

    def tree(self, content: bytes, *, mode: int, owner: tuple[int, int] | None) -> int:
        """A detached mount of a new file with *content*."""
        name = str(self._count)
        self._count += 1
        fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=self._fd)
        with open(fd, "wb") as out:
            out.write(content)
            if owner is not None:
                os.fchown(fd, *owner)
            os.fchmod(fd, mode)
        return mounts.clone_tree(name, at=self._fd)

    def close(self) -> None:
        before = os.open(".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        os.fchdir(self._fd)
        libc.umount(".", mounts.MNT_DETACH)
        os.fchdir(before)
        os.close(before)
        os.close(self._fd)

    def __enter__(self) -> MemoryFiles:
        return self

    def __exit__(self, *_failure: object) -> None:
        self.close()


def etc_files(root_fd: int, *, hostname: str, resolv_conf: str, uid: int, gid: int, home: str) -> list[TmpfsFile]:
    """The hosts, hostname and resolv.conf to lay over the image's, and a passwd and group with a line for the program's user."""
    hosts = f"127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n127.0.1.1\t{hostname}\n"
    # How a socket for both families calls an IPv4 peer: torch asks for the name, and complains when there is none.
    hosts += f"::ffff:127.0.0.1\tip4-loopback\n::ffff:127.0.1.1\tip4-{hostname}\n"
    files = [
        TmpfsFile("/etc/hosts", hosts.encode(), mode=0o644),
        TmpfsFile("/etc/hostname", f"{hostname}\n".encode(), mode=0o644),
        TmpfsFile("/etc/resolv.conf", resolv_conf.encode(), mode=0o644),
    ]
    # root is in every image; another user may not be, and `getpwuid` failing breaks getpass, torch's cache directory, git …
    if uid != 0:
        for name, line in (("passwd", f"user:x:{uid}:{gid}:user:{home}:/bin/sh"), ("group", f"user:x:{gid}:")):
            text = _with_entry(read_in_root(root_fd, f"etc/{name}") or b"", uid if name == "passwd" else gid, line)
            if text is not None:
                files.append(TmpfsFile(f"/etc/{name}", text, mode=0o644))
    return files


def _with_entry(content: bytes, number: int, line: str) -> bytes | None:
    """passwd(5) or group(5) *content* with *line* at the end; None when an entry has id *number* already."""
    for entry in content.splitlines():
        fields = entry.split(b":")
        if len(fields) > 2 and fields[2] == str(number).encode():
            return None
    if content and not content.endswith(b"\n"):
        content += b"\n"
    return content + line.encode() + b"\n"
