"""dpkg's database, as if dpkg itself had unpacked the packages: `Status: install ok unpacked` for all, nothing configured.

Written are `status`, `available`, `info/` (lists and maintainer scripts) and the interests in triggers, without which a
later `apt-get install` of a library would not run ldconfig. A conffile is already in its place under its final name; its
hash in `status` says that it is unchanged, and `dpkg --configure` finds no `.dpkg-new` and leaves it (dpkg,
src/main/configure.c, deferred_configure_conffile). Nobody looks at the files of a layer before that step, so the rename
that dpkg would do, and its whiteouts, are saved.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence

from runtime.build.debian.deb_file import clean_path, tar_members
from runtime.build.debian.index import parse_stanza
from runtime.build.debian.unpack import RootWriter
from runtime.errors import BadContent
from runtime.light_dataclasses import dataclass, field

_HOME = "var/lib/dpkg"
_OWNER = "dpkg's database"
_CONTROL_NAME = re.compile(r"[a-z0-9][a-z0-9_.+-]*")


@dataclass(frozen=True, slots=True)
class UnpackedPackage:
    """What the database says of one package."""

    name: str
    fields: dict[str, str]
    """Of its control file, in that order."""
    control_files: dict[str, tuple[bytes, int]]
    """Name → (content, mode): scripts, md5sums, triggers, … ; not `control` itself."""
    shipped: Sequence[str] = field(repr=False)
    """Paths, as the package names them."""
    conffile_hashes: dict[str, str]
    """Absolute path → md5, which is what dpkg compares."""

    @property
    def info_name(self) -> str:
        """`libc6:amd64` for packages that may be there once an architecture (dpkg, pkg_infodb_format `1`)."""
        return f"{self.name}:{self.fields['Architecture']}" if self.fields.get("Multi-Arch") == "same" else self.name


def read_control(tar: bytes, *, package: str) -> tuple[dict[str, str], dict[str, tuple[bytes, int]]]:
    """Fields of the control file, and the other control files, of a control.tar."""
    fields: dict[str, str] = {}
    files: dict[str, tuple[bytes, int]] = {}
    for member, path, content in tar_members(tar, name=package):
        if not member.isreg():
            continue
        if path == "control":
            fields = parse_stanza(bytes(content).decode("utf-8", "replace"))
        elif _CONTROL_NAME.fullmatch(path):
            files[path] = (bytes(content), member.mode & 0o777)
        else:
            raise BadContent(f"package `{package}` has a control file `{path}`, which is refused")
    if fields.get("Package") != package:
        raise BadContent(f"the .deb of `{package}` says that it is `{fields.get('Package')}`")
    return fields, files


def conffile_hashes(control_files: dict[str, tuple[bytes, int]], data: bytes, *, package: str) -> dict[str, str]:
    """md5 of each conffile in the package's data.tar."""
    listed = control_files.get("conffiles", (b"", 0))[0].decode("utf-8", "replace").splitlines()
    # A line may begin with a flag (`remove-on-upgrade /etc/x`): such a file is not shipped.
    wanted = {clean_path(line, name=package) for line in listed if line.startswith("/")}
    if not wanted:
        return {}
    found = {
        path: hashlib.md5(content, usedforsecurity=False).hexdigest()
        for member, path, content in tar_members(data, name=package)
        if path in wanted and member.isreg()
    }
    return {f"/{path}": found[path] for path in sorted(found)}


def write_database(writer: RootWriter, packages: Sequence[UnpackedPackage]) -> None:
    """Write the whole database of *packages* into a new root."""
    ordered = sorted(packages, key=lambda package: package.name)
    for directory in ("", "/info", "/updates", "/triggers", "/alternatives", "/parts"):
        writer.directory(f"{_HOME}{directory}", package=_OWNER)
    _write(writer, "status", "".join(map(_stanza, ordered)))
    _write(writer, "available", "")
    _write(writer, "info/format", "1\n")
    for package in ordered:
        name = package.info_name
        _write(writer, f"info/{name}.list", "".join(f"{path}\n" for path in package.shipped))
        for file_name, (content, mode) in sorted(package.control_files.items()):
            writer.file(f"{_HOME}/info/{name}.{file_name}", content, package=_OWNER, mode=mode)
    _write_triggers(writer, ordered)


def _write(writer: RootWriter, path: str, text: str) -> None:
    writer.file(f"{_HOME}/{path}", text.encode(), package=_OWNER)


def _stanza(package: UnpackedPackage) -> str:
    fields = dict(package.fields)
    lines = [f"Package: {fields.pop('Package')}", "Status: install ok unpacked"]
    lines += [f"{name}: {value}" if value[:1] != "\n" else f"{name}:{value}" for name, value in fields.items()]
    if package.conffile_hashes:
        lines.append("Conffiles:")
        lines += [f" {path} {md5}" for path, md5 in package.conffile_hashes.items()]
    return "\n".join(lines) + "\n\n"


def _write_triggers(writer: RootWriter, packages: Sequence[UnpackedPackage]) -> None:
    """Who is interested in what (deb-triggers(5)): paths in `triggers/File`, names in a file each."""
    for_paths: list[str] = []
    for_names: dict[str, list[str]] = {}
    for package in packages:
        for line in package.control_files.get("triggers", (b"", 0))[0].decode("utf-8", "replace").splitlines():
            words = line.partition("#")[0].split()
            if len(words) != 2 or not words[0].startswith("interest"):
                continue
            who = package.info_name + ("/noawait" if words[0] == "interest-noawait" else "")
            if words[1].startswith("/"):
                for_paths.append(f"{words[1]} {who}\n")
            elif _CONTROL_NAME.fullmatch(words[1]):
                for_names.setdefault(words[1], []).append(f"{who}\n")
    _write(writer, "triggers/File", "".join(for_paths))
    _write(writer, "triggers/Unincorp", "")
    for name, lines in sorted(for_names.items()):
        _write(writer, f"triggers/{name}", "".join(lines))
