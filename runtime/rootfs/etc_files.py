"""Files of /etc that a container gets from us: hosts, hostname, resolv.conf, and a passwd line for its user."""

from __future__ import annotations

from runtime.kernel.safe_open import read_in_root
from runtime.rootfs.wanted import TmpfsFile


def etc_files(root_fd: int, *, hostname: str, resolv_conf: str, uid: int, gid: int, home: str) -> list[TmpfsFile]:
    """The files to lay over the image's."""
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
