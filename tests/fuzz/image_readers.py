"""Harnesses of what images are made of: tar, compressed streams, OCI documents, configurations of containers."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import shutil
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import zstandard
from harness import Harness

from runtime.build.images.archive_members import ArchiveMembers
from runtime.build.plan import env_of
from runtime.errors import BadContent, StoreError
from runtime.layer.compression import decompress, decompress_archive
from runtime.layer.extract import extract
from runtime.layer.tar_format import BLOCK
from runtime.oci.image_documents import (
    CONFIG,
    DOCKER_MANIFEST,
    INDEX,
    LAYER,
    MANIFEST,
    choose_platform,
    image_contents,
    index_from_json,
    manifest_from_json,
    parse_document,
    saved_images_from_json,
)
from runtime.oci.reference import parse_reference
from runtime.oci.resource_config import resources_from_json
from runtime.oci.runtime_config import config_from_json

_ENOUGH = 32 << 20


def _unpack(content: bytes) -> None:
    root = Path(tempfile.mkdtemp(dir="/dev/shm"))
    try:
        extract(io.BytesIO(_with_right_checksums(content)), root)
    finally:
        shutil.rmtree(root)


def _members(content: bytes) -> None:
    with tempfile.TemporaryFile() as file:
        file.write(_with_right_checksums(content))
        file.flush()
        ArchiveMembers(file, "image.tar").document("manifest.json")


def _with_right_checksums(content: bytes) -> bytes:
    """Every block that looks like a header gets the checksum that it needs: chance would never find it."""
    blocks = [bytearray(content[at : at + BLOCK]) for at in range(0, len(content), BLOCK)]
    for block in blocks:
        if len(block) == BLOCK and block[257:262] == b"ustar":
            block[148:156] = b" " * 8
            block[148:156] = b"%06o\0 " % sum(block)
    return b"".join(blocks)


def _read_to_the_end(stream: Any) -> None:
    left = _ENOUGH
    while left > 0 and (piece := stream.read(1 << 16)):
        left -= len(piece)


def _manifest(content: bytes) -> None:
    manifest_from_json(parse_document(content, "image manifest"))


def _index(content: bytes) -> None:
    choose_platform(index_from_json(parse_document(content, "image index")), architecture="amd64", what="image")


def _configuration(content: bytes) -> None:
    manifest = manifest_from_json(json.loads(_MANIFEST))
    contents = image_contents(manifest.config.digest, manifest, content, architecture="amd64")
    _ = env_of(contents.execution)


def _of_document(read: Callable[[Any], object]) -> Callable[[bytes], None]:
    return lambda content: _discard(read(parse_document(content, "config.json")))


def _discard(_value: object) -> None:
    pass


_DESCRIPTOR = {"mediaType": LAYER, "digest": "sha256:" + "a" * 64, "size": 3}
_MANIFEST = json.dumps(
    {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": {**_DESCRIPTOR, "mediaType": CONFIG, "annotations": {"a": "b"}},
        "layers": [_DESCRIPTOR],
        "annotations": {"org.opencontainers.image.created": "2026-01-01"},
    }
).encode()
_PLATFORM = {"os": "linux", "architecture": "amd64"}
_INDEX = json.dumps(
    {"schemaVersion": 2, "mediaType": INDEX, "manifests": [{**_DESCRIPTOR, "mediaType": DOCKER_MANIFEST, "platform": _PLATFORM}]}
).encode()
_CONFIGURATION = json.dumps(
    {
        **_PLATFORM,
        "config": {"Env": ["PATH=/bin"], "Cmd": ["sh"], "User": "1:2", "WorkingDir": "/", "Labels": {"a": "b"}},
        "rootfs": {"type": "layers", "diff_ids": ["sha256:" + "b" * 64]},
        "history": [{"created_by": "RUN", "empty_layer": True}],
    }
).encode()
_SAVED = json.dumps([{"Config": "a.json", "RepoTags": ["a:b"], "Layers": ["layer.tar"]}]).encode()
_RESOURCES = {
    "devices": [{"allow": False, "access": "rwm"}],
    "memory": {"limit": 1 << 30, "swap": -1},
    "cpu": {"shares": 1024, "quota": 100, "period": 1000, "cpus": "0-1"},
    "pids": {"limit": 9},
    "blockIO": {"weight": 10, "throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 6}]},
    "hugepageLimits": [{"pageSize": "2MB", "limit": 9}],
    "unified": {"memory.high": "1"},
}
_BUNDLE = json.dumps(
    {
        "ociVersion": "1.2.0",
        "hostname": "h",
        "root": {"path": "rootfs", "readonly": True},
        "process": {
            "terminal": True,
            "consoleSize": {"height": 1, "width": 2},
            "user": {"uid": 0, "gid": 0, "additionalGids": [1]},
            "args": ["sh"],
            "env": ["A=b"],
            "cwd": "/",
            "capabilities": {"bounding": ["CAP_KILL"]},
            "rlimits": [{"type": "RLIMIT_NOFILE", "soft": 1, "hard": 2}],
            "scheduler": {"policy": "SCHED_OTHER", "nice": 1},
        },
        "mounts": [{"destination": "/proc", "type": "proc", "source": "proc", "options": ["ro"]}],
        "hooks": {"prestart": [{"path": "/bin/true", "args": ["a"], "timeout": 3}]},
        "linux": {
            "namespaces": [{"type": "pid"}, {"type": "mount", "path": "/proc/1/ns/mnt"}],
            "uidMappings": [{"containerID": 0, "hostID": 1, "size": 1}],
            "devices": [{"path": "/dev/fuse", "type": "c", "major": 10, "minor": 229, "fileMode": 438}],
            "resources": _RESOURCES,
            "seccomp": {
                "defaultAction": "SCMP_ACT_ERRNO",
                "architectures": ["SCMP_ARCH_X86_64"],
                "syscalls": [
                    {"names": ["kill"], "action": "SCMP_ACT_ALLOW", "args": [{"index": 0, "value": 1, "op": "SCMP_CMP_EQ"}]}
                ],
            },
            "timeOffsets": {"monotonic": {"secs": 1, "nanosecs": 2}},
            "memoryPolicy": {"mode": "MPOL_BIND", "nodes": "0"},
        },
    }
).encode()


def _tar(*, form: int = tarfile.PAX_FORMAT) -> bytes:
    """A layer with one entry of each kind."""
    whole = io.BytesIO()
    with tarfile.open(fileobj=whole, mode="w", format=form) as archive:
        for name, kind, link in (
            ("d", tarfile.DIRTYPE, ""),
            ("d/f", tarfile.REGTYPE, ""),
            ("d/h", tarfile.LNKTYPE, "d/f"),
            ("s", tarfile.SYMTYPE, "../d"),
            ("d/.wh.gone", tarfile.REGTYPE, ""),
            ("é" * 80, tarfile.REGTYPE, ""),
        ):
            header = tarfile.TarInfo(name)
            header.type, header.linkname, header.size = kind, link, 5 if name == "d/f" else 0
            if form == tarfile.PAX_FORMAT and name == "d/f":
                header.pax_headers = {"SCHILY.xattr.user.a": "b", "mtime": "1.5"}
            archive.addfile(header, io.BytesIO(b"hello"))
    return _without_filling(whole.getvalue())


def _without_filling(archive: bytes) -> bytes:
    """tarfile fills archives up to 10 KiB with zeros, which would be most of what is damaged."""
    content = archive.rstrip(b"\0")
    return content + bytes(-len(content) % BLOCK + 2 * BLOCK)


def _sparse() -> bytes:
    """A sparse file as PAX 1.0 has it: its map before its content."""
    header = tarfile.TarInfo("GNUSparseFile.0/f")
    header.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": "9000", "GNU.sparse.name": "f"}
    content = b"1\n4096\n5\n".ljust(BLOCK, b"\0") + b"hello"
    header.size = len(content)
    return header.tobuf(tarfile.PAX_FORMAT) + content.ljust(2 * BLOCK, b"\0") + bytes(2 * BLOCK)


def _saved() -> bytes:
    whole = io.BytesIO()
    with tarfile.open(fileobj=whole, mode="w") as archive:
        header = tarfile.TarInfo("manifest.json")
        header.size = len(_SAVED)
        archive.addfile(header, io.BytesIO(_SAVED))
    return _without_filling(whole.getvalue())


_SPARSE_WORDS = tuple(
    f"GNU.sparse.{word}=".encode() for word in ("major", "minor", "realsize", "name", "map", "offset", "numbytes")
)
_PLAIN = b"some content, " * 20

HARNESSES = (
    Harness(
        "tar",
        _unpack,
        (BadContent, StoreError),
        (_tar(), _tar(form=tarfile.GNU_FORMAT), _sparse()),
        (b"ustar\0", b"ustar  \0", b".wh..wh..opq", b".wh.", b"SCHILY.xattr.", b"path=", b"size=", b"linkpath=", *_SPARSE_WORDS),
    ),
    Harness("archive members", _members, (BadContent,), (_saved(),)),
    Harness(
        "compressed layer",
        lambda content: _read_to_the_end(decompress(io.BytesIO(content))),
        (BadContent,),
        (gzip.compress(_PLAIN), zstandard.compress(_PLAIN), gzip.compress(b"a") + gzip.compress(b"b")),
        (b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"\x50\x2a\x4d\x18"),
    ),
    Harness(
        "archive of ADD",
        lambda content: _read_to_the_end(decompress_archive(io.BytesIO(content))),
        (BadContent,),
        (bz2.compress(_PLAIN), lzma.compress(_PLAIN)),
    ),
    Harness("OCI manifest", _manifest, (BadContent,), (_MANIFEST,), is_json=True),
    Harness("OCI index", _index, (BadContent,), (_INDEX,), is_json=True),
    Harness("OCI image configuration", _configuration, (BadContent,), (_CONFIGURATION,), is_json=True),
    Harness("docker save", saved_images_from_json, (BadContent,), (_SAVED,), is_json=True),
    Harness("OCI bundle", _of_document(config_from_json), (BadContent,), (_BUNDLE,), is_json=True),
    Harness("OCI resources", _of_document(resources_from_json), (BadContent,), (json.dumps(_RESOURCES).encode(),), is_json=True),
    Harness(
        "image reference",
        lambda content: parse_reference(content.decode("utf-8", "surrogateescape")),
        (BadContent,),
        (b"bootstrap:debian/trixie", b"oci:dir:tag", b"oci-archive:a.tar", b"host:5000/a/b:c@sha256:" + b"a" * 64),
    ),
)
