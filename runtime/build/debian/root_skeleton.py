"""The few files of a base that no package ships: links of the merged /usr, first accounts, and settings for an image.

What debootstrap would do before and around dpkg, as data. The archive's address is no part of a layer (else a digest would
depend on a mirror): the image holds an empty apt source, and a build step that reaches the network sees the address
in its place (`shown_archive.py`).
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

from runtime.build.debian.apt_conf import proxy_environ, read_apt_conf
from runtime.build.debian.debian_base import FIRST_DAY, SHADOW_GID
from runtime.build.debian.unpack import RootWriter
from runtime.rootfs.mount_spec import TmpfsFile

APT_SOURCE = "/etc/apt/sources.list.d/debian.sources"
"""Where a build step finds `apt_source_text`."""
_APT_PROXY = "/etc/apt/apt.conf.d/91launch-proxy"

_OWNER = "launch"
_LINKS = {"amd64": ("bin", "lib", "lib64", "sbin")}
_OTHER_LINKS = ("bin", "lib", "sbin")

_FILES: tuple[tuple[str, int, str], ...] = (
    (
        "etc/apt/sources.list.d/debian.sources",
        0o644,
        "# launch mounts the address of the Debian archive over this file while it builds an image.\n",
    ),
    (
        "etc/apt/apt.conf.d/90launch",
        0o644,
        (
            "# An image needs no suggestions, no kept .debs and no translations.\n"
            'APT::Install-Recommends "false";\n'
            'APT::Keep-Downloaded-Packages "false";\n'
            'Acquire::Languages "none";\n'
            "# One user is all that there may be in the namespace in which an image is built.\n"
            'APT::Sandbox::User "root";\n'
        ),
    ),
    (
        "etc/dpkg/dpkg.cfg.d/launch",
        0o644,
        "# A build that is cut short is thrown away: there is nothing that fsync would save.\nforce-unsafe-io\n",
    ),
    ("usr/sbin/policy-rc.d", 0o755, "#!/bin/sh\n# No services are started in an image (invoke-rc.d(8)).\nexit 101\n"),
)


def write_links(writer: RootWriter, *, architecture: str) -> None:
    """`/bin` → `usr/bin` and the like, before any package is unpacked."""
    for name in _LINKS.get(architecture, _OTHER_LINKS):
        writer.directory(f"usr/{name}", package=_OWNER)
        writer.symlink(name, f"usr/{name}", package=_OWNER)


def write_skeleton(writer: RootWriter, *, passwd: bytes, group: bytes) -> None:
    """Settings, and the accounts of base-passwd's master files, which scripts of packages expect before it is configured.

    The shadow files are there from the start: `shadowconfig on` would date new ones with the day of the build.
    """
    for path, mode, text in _FILES:
        writer.file(path, text.encode(), package=_OWNER, mode=mode)
    writer.file("etc/passwd", _move_passwords_to_shadow(passwd), package=_OWNER)
    writer.file("etc/group", _move_passwords_to_shadow(group), package=_OWNER)
    shadow = "".join(f"{name}:*:{FIRST_DAY}:0:99999:7:::\n" for name in _names(passwd))
    gshadow = "".join(f"{name}:*::\n" for name in _names(group))
    writer.file("etc/shadow", shadow.encode(), package=_OWNER, mode=0o640, gid=SHADOW_GID)
    writer.file("etc/gshadow", gshadow.encode(), package=_OWNER, mode=0o640, gid=SHADOW_GID)


def _names(accounts: bytes) -> list[str]:
    return [line.partition(":")[0] for line in accounts.decode().splitlines() if ":" in line]


def _move_passwords_to_shadow(accounts: bytes) -> bytes:
    """`root:*:0:0:…` → `root:x:0:0:…`: the password is in the shadow file."""
    return re.sub(rb"^([^:\n]*):\*:", rb"\1:x:", accounts, flags=re.MULTILINE)


def apt_proxy_file(environ: Mapping[str, str] = os.environ, *, root: Path = Path("/")) -> TmpfsFile | None:
    """The host's proxy for apt in a build step; None where it has none."""
    proxies = proxy_environ(environ, read_apt_conf(root))
    lines = [
        f'Acquire::{scheme}::Proxy "{proxy}";\n'
        for scheme in ("http", "https")
        if (proxy := proxies.get(f"{scheme}_proxy")) and '"' not in proxy
    ]
    direct = [part.strip().lower().split(":")[0] for part in proxies.get("no_proxy", "").split(",") if part.strip()]
    lines += [f'Acquire::{scheme}::Proxy::{host} "DIRECT";\n' for host in direct if lines for scheme in ("http", "https")]
    return TmpfsFile(_APT_PROXY, "".join(lines).encode(), 0o400) if lines else None


def apt_source_text(suite: str, archives: Mapping[str, str]) -> str:
    """The content of APT_SOURCE for a build step: *archives* as apt reads them (deb822)."""
    names = {"main": suite, "updates": f"{suite}-updates", "security": f"{suite}-security"}
    return "\n".join(
        f"Types: deb\nURIs: {url}\nSuites: {names[archive]}\nComponents: main\n"
        "Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg\n"
        for archive, url in archives.items()
    )
