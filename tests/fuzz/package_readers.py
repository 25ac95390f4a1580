"""Harnesses of what packages are made of: .deb files, Debian's indexes, wheels' RECORD and entry points, lock files."""

from __future__ import annotations

import gzip
import io
import lzma
import tarfile
import tempfile
import tomllib
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from harness import Harness

from launcher.errors import LaunchError
from launcher.plan.requirements.lock_file import read_lock_file
from launcher.plan.requirements.pylock import choose_files
from launcher.plan.requirements.target import parse_target
from runtime.build.debian.apt_conf import parse_apt_conf
from runtime.build.debian.deb_file import DebFile, read_deb, stored_deb, tar_members
from runtime.build.debian.dpkg_database import conffile_hashes, read_control
from runtime.build.debian.index import PackageIndex
from runtime.build.debian.release import check_age, parse_release
from runtime.build.plan import InstallWheel
from runtime.build.wheels.console_scripts import entry_point_scripts
from runtime.build.wheels.wheel_tree import plan_files
from runtime.errors import BadContent, Unsupported

_NOW = datetime(2026, 1, 1, tzinfo=UTC)


def _deb(content: bytes) -> None:
    deb = read_deb(content, name="a.deb")
    _, files = read_control(deb.control, package="a")
    conffile_hashes(files, deb.data, package="a")
    for _ in tar_members(deb.data, name="a"):
        pass


def _control(content: bytes) -> None:
    """A control.tar as such: inside of a .deb its checks would rarely be reached."""
    read_control(content, package="a")


def _index(content: bytes) -> None:
    index = PackageIndex((("main", content),), architecture="amd64")
    for name in ("a", "b", *index.base_names()):
        index.candidates(name)
        index.providers(name)


def _apt_conf(content: bytes) -> None:
    parse_apt_conf(content.decode("utf-8", "replace"))


def _release(content: bytes) -> None:
    check_age(parse_release(content.decode("utf-8", "replace"), url="http://mirror/dists/a"), _NOW)


_WHEEL = InstallWheel("demo", "1.0", "0" * 64, "demo-1.0-py3-none-any.whl", "cpython-test", "3.13")


def _record(content: bytes) -> None:
    with tempfile.TemporaryDirectory(dir="/dev/shm") as directory:
        unpacked = Path(directory)
        dist_info = unpacked / "demo-1.0.dist-info"
        dist_info.mkdir()
        (unpacked / "demo.py").touch()
        (dist_info / "RECORD").write_bytes(content)
        plan_files(_WHEEL, unpacked, dist_info.name)


def _entry_points(content: bytes) -> None:
    for _ in entry_point_scripts(content.decode("utf-8", "replace"), wheel="demo.whl", prefix="/opt/venv"):
        pass


def _lock_file(name: str) -> Callable[[bytes], None]:
    def read(content: bytes) -> None:
        with tempfile.TemporaryDirectory(dir="/dev/shm") as directory:
            path = Path(directory) / name
            path.write_bytes(content)
            read_lock_file(path, python="3.13.5")

    return read


def _resolution(content: bytes) -> None:
    """What uv wrote, which holds what an index said."""
    document = tomllib.loads(content.decode("utf-8", "replace"))
    choose_files(document, parse_target("3.13.5", "x86_64-manylinux_2_41"), torch="cu126")


def _tar_of(*members: tuple[str, bytes]) -> bytes:
    whole = io.BytesIO()
    with tarfile.open(fileobj=whole, mode="w") as archive:
        for name, content in members:
            header = tarfile.TarInfo(name)
            header.size = len(content)
            archive.addfile(header, io.BytesIO(content))
    content = whole.getvalue().rstrip(b"\0")
    return content + bytes(-len(content) % 512 + 1024)


_CONTROL = _tar_of(("./control", b"Package: a\nVersion: 1\nDescription: b\n c\n"), ("./conffiles", b"/etc/a\n"))
_DATA = _tar_of(("./etc/a", b"x"))
_DEB = b"".join(stored_deb(DebFile(_CONTROL, _DATA)))


def _packed_deb(suffix: str, packed: bytes) -> bytes:
    name = f"data.tar{suffix}"
    header = f"{name:<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(packed):<10}`\n".encode()
    return _DEB[: _DEB.index(b"data.tar")] + header + packed


_PACKAGES = b"""Package: a
Version: 1:2.0~rc1-3+b1
Architecture: amd64
Priority: required
Essential: yes
Depends: b (>= 1.2) | c:any, d (<< 2~)
Pre-Depends: e
Conflicts: f
Provides: g (= 1), h
Filename: pool/main/a/a_2.0_amd64.deb
Size: 1234
SHA256: %s

Package: b
Version: 1
Architecture: all
Filename: pool/main/b/b_1_all.deb
Size: 1
SHA256: %s
""" % (b"a" * 64, b"b" * 64)
_RELEASE = b"""Origin: Debian
Suite: stable
Codename: trixie
Valid-Until: Sat, 03 Jan 2026 09:00:00 UTC
Acquire-By-Hash: yes
SHA256:
 %s 123 main/binary-amd64/Packages.xz
 %s 456 main/binary-amd64/Packages
""" % (b"a" * 64, b"b" * 64)
_RECORD = b"demo.py,sha256=47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU,0\ndemo-1.0.dist-info/RECORD,,\n"
_ENTRY_POINTS = b"[console_scripts]\ndemo = demo.main:run\nother = demo:a.b [extra]\n\n[gui_scripts]\nx=y:z\n"
_LOCK = b"""# Locked by launch; made again by: launch lock
# inputs: sha256:%s
# python: 3.13
# platform: x86_64-manylinux_2_41
# provided by the base: numpy 2.0

six==1.17.0 \\
    --hash=sha256:%s
    # file: six-1.17.0-py2.py3-none-any.whl, 11050 bytes, index: main
""" % (b"a" * 64, b"b" * 64)
_PYLOCK = b"""lock-version = "1.0"
created-by = "launch"
requires-python = "==3.13.*"

[[packages]]
name = "six"
version = "1.17.0"
marker = "python_version >= '3.8'"
index = "http://index/simple"
wheels = [{ name = "six-1.17.0-py2.py3-none-any.whl", url = "http://index/six.whl", size = 11050, hashes = { sha256 = "%s" } }]
sdist = { name = "six-1.17.0.tar.gz", url = "http://index/six-1.17.0.tar.gz", hashes = { sha256 = "%s" } }

[[packages]]
name = "a"
version = "1"
archive = { url = "http://index/a-1.tar.gz", hashes = { sha256 = "%s" } }

[tool.launch]
inputs = "sha256:%s"
python = "3.13"
platform = "x86_64-manylinux_2_41"
provided = { numpy = "2.0" }
""" % (b"b" * 64, b"c" * 64, b"d" * 64, b"a" * 64)
_APT_CONF = b'Acquire::http::Proxy "http://proxy:3128";\nAcquire { https { Proxy "DIRECT"; }; };\n// comment\n#clear X;\n'
_FIELDS = (
    b"Package: ",
    b"Version: ",
    b"Size: ",
    b"SHA256:",
    b"Depends: ",
    b"Provides: ",
    b"Valid-Until: ",
    b"\n\n",
    b"\n ",
    b" (>= ",
    b"~",
)

HARNESSES = (
    Harness(
        "deb",
        _deb,
        (BadContent, Unsupported),
        (_DEB, _packed_deb(".xz", lzma.compress(_DATA)), _packed_deb(".gz", gzip.compress(_DATA))),
        (b"!<arch>\n", b"`\n", b"data.tar.xz", b"control.tar.gz"),
    ),
    Harness("control.tar", _control, (BadContent,), (_CONTROL,), (b"path=", b"21 size=99999999999\n", *_FIELDS)),
    Harness("Packages", _index, (BadContent,), (_PACKAGES,), _FIELDS),
    Harness("Release", _release, (BadContent,), (_RELEASE,), _FIELDS),
    Harness(
        "apt.conf",
        _apt_conf,
        (),
        (_APT_CONF,),
        (b"{", b"}", b"::", b'"'),
    ),
    Harness("RECORD", _record, (BadContent,), (_RECORD,), (b'"', b",", b"sha256=", b"../", b'"' + b"x" * 140_000)),
    Harness("entry_points.txt", _entry_points, (BadContent,), (_ENTRY_POINTS,), (b"[console_scripts]", b":", b"=", b".")),
    Harness("lock file", _lock_file("a.lock"), (LaunchError,), (_LOCK,), (b"# inputs: ", b"# torch: ", b" @ ", b"==", b" \\\n")),
    Harness(
        "pylock.toml", _lock_file("pylock.toml"), (LaunchError,), (_PYLOCK,), (b"[[packages]]", b"[", b"{", b"hashes", b" = ")
    ),
    Harness(
        "uv's resolution",
        _resolution,
        (LaunchError, tomllib.TOMLDecodeError, RecursionError),
        (_PYLOCK,),
        (b"[[packages]]", b"archive", b"vcs"),
    ),
)
