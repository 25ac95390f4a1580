"""Unpacked wheels for tests: a directory as uv leaves it in its cache, RECORD included; or the same as a .whl file."""

from __future__ import annotations

import base64
import hashlib
import zipfile
from collections.abc import Mapping
from pathlib import Path

from runtime.build.plan import InstallWheel

DIST_INFO = "demo-1.0.dist-info"


def record_of(files: Mapping[str, bytes], *, dist_info: str = DIST_INFO) -> bytes:
    rows = [
        f"{path},sha256={base64.urlsafe_b64encode(hashlib.sha256(content).digest()).decode().rstrip('=')},{len(content)}"
        for path, content in files.items()
    ]
    return "\n".join([*rows, f"{dist_info}/RECORD,,", ""]).encode()


def wheel_files(files: Mapping[str, bytes | str], *, name: str = "demo", version: str = "1.0") -> dict[str, bytes]:
    """*files* with the dist-info directory that a wheel needs."""
    dist_info = f"{name}-{version}.dist-info"
    content = {path: text.encode() if isinstance(text, str) else text for path, text in files.items()}
    content.setdefault(f"{dist_info}/WHEEL", b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
    content.setdefault(f"{dist_info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n".encode())
    content.setdefault(f"{dist_info}/RECORD", record_of(content, dist_info=dist_info))
    return content


def unpacked_wheel(directory: Path, files: Mapping[str, bytes | str], *, executable: tuple[str, ...] = ()) -> Path:
    """A wheel `demo 1.0` with *files*, unpacked in *directory*."""
    for path, content in wheel_files(files).items():
        target = directory / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
        target.chmod(0o775 if path in executable else 0o664)
    return directory


def wheel_file(directory: Path, files: Mapping[str, bytes | str], *, name: str = "demo", version: str = "1.0") -> Path:
    """The same as a file `demo-1.0-py3-none-any.whl` in *directory*."""
    path = directory / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for inside, content in wheel_files(files, name=name, version=version).items():
            archive.writestr(inside, content)
    return path


def step(*, name: str = "demo", version: str = "1.0", sha256: str = "0" * 64, python: str = "3.13") -> InstallWheel:
    return InstallWheel(name, version, sha256, f"{name}-{version}-py3-none-any.whl", "cpython-test", python)
