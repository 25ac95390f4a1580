"""A small Debian archive on disk: .debs, Packages, and an InRelease signed by a key made for the test."""

from __future__ import annotations

import hashlib
import io
import lzma
import tarfile
from dataclasses import dataclass, field
from pathlib import Path

import pysequoia


@dataclass
class Item:
    """A member of a data.tar."""

    path: str
    content: bytes = b""
    mode: int = 0o644
    gid: int = 0
    kind: bytes = tarfile.REGTYPE
    link: str = ""


def directory(path: str, mode: int = 0o755) -> Item:
    return Item(path, mode=mode, kind=tarfile.DIRTYPE)


def symlink(path: str, target: str) -> Item:
    return Item(path, kind=tarfile.SYMTYPE, link=target)


def hard_link(path: str, target: str) -> Item:
    return Item(path, kind=tarfile.LNKTYPE, link=target)


def _tar(items: list[Item]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for item in items:
            member = tarfile.TarInfo(item.path)
            member.type, member.mode, member.gid, member.linkname = item.kind, item.mode, item.gid, item.link
            member.size = len(item.content)
            archive.addfile(member, io.BytesIO(item.content))
    return buffer.getvalue()


def _ar(members: dict[str, bytes]) -> bytes:
    packed = b"!<arch>\n"
    for name, content in members.items():
        packed += (
            f"{name:<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(content):<10}".encode()
            + b"`\n"
            + content
            + b"\n" * (len(content) & 1)
        )
    return packed


def make_deb(fields: dict[str, str], items: list[Item], control_files: dict[str, bytes] | None = None) -> bytes:
    control = "".join(f"{name}: {value}\n" for name, value in fields.items()).encode()
    files = [Item("./control", control), *(Item(f"./{name}", content) for name, content in (control_files or {}).items())]
    return _ar(
        {
            "debian-binary": b"2.0\n",
            "control.tar.xz": lzma.compress(_tar(files)),
            "data.tar.xz": lzma.compress(_tar([directory("./"), *items])),
        }
    )


class SigningKey:
    """An OpenPGP key, and its certificate in a file."""

    def __init__(self, directory: Path, name: str = "archive") -> None:
        self._key = pysequoia.Tsk.generate(f"{name} <{name}@example.org>")
        self.keyring = directory / f"{name}.pgp"
        self.keyring.write_bytes(bytes(self._key.extract_certificate()))

    def sign(self, text: str) -> bytes:
        return bytes(pysequoia.sign(self._key.signer(), text.encode(), mode=pysequoia.SignatureMode.CLEAR))


@dataclass
class FakeArchive:
    root: Path
    key: SigningKey
    suite: str = "trixie"
    stanzas: list[str] = field(default_factory=list)
    extra_fields: dict[str, str] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"file:{self.root}"

    @property
    def in_release(self) -> Path:
        return self.root / "dists" / self.suite / "InRelease"

    @property
    def packages(self) -> Path:
        return self.root / "dists" / self.suite / "main/binary-amd64/Packages.xz"

    def add(
        self,
        name: str,
        items: list[Item] | None = None,
        *,
        version: str = "1.0",
        control_files: dict[str, bytes] | None = None,
        **fields: str,
    ) -> Path:
        """A package; *fields* as `Depends="a"`, `Multi_Arch="same"`."""
        control = {"Package": name, "Version": version, "Architecture": "amd64"}
        control |= {key.replace("_", "-"): value for key, value in fields.items()} | {"Description": f"{name} of the test"}
        deb = make_deb(control, items or [], control_files)
        pool = self.root / "pool/main" / f"{name}_{version}_amd64.deb"
        pool.parent.mkdir(parents=True, exist_ok=True)
        pool.write_bytes(deb)
        location = {
            "Filename": str(pool.relative_to(self.root)),
            "Size": str(len(deb)),
            "SHA256": hashlib.sha256(deb).hexdigest(),
        }
        self.stanzas.append("".join(f"{key}: {value}\n" for key, value in (control | location).items()))
        return pool

    def publish(self) -> FakeArchive:
        """Write Packages and the signed InRelease."""
        text = "\n".join(self.stanzas).encode()
        packed = lzma.compress(text)
        self.packages.parent.mkdir(parents=True, exist_ok=True)
        self.packages.write_bytes(packed)
        fields = {"Origin": "Debian", "Suite": "stable", "Codename": self.suite, **self.extra_fields}
        hashes = "".join(
            f" {hashlib.sha256(content).hexdigest()} {len(content)} main/binary-amd64/{name}\n"
            for name, content in (("Packages", text), ("Packages.xz", packed))
        )
        self.in_release.write_bytes(
            self.key.sign("".join(f"{key}: {value}\n" for key, value in fields.items()) + f"SHA256:\n{hashes}")
        )
        return self
