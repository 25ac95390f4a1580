"""Lay out an unpacked wheel below a virtual environment, as an installer does ("Binary distribution format", PyPA).

Everything in a wheel comes from outside: only regular files and directories are taken, by descriptors that follow no link;
every file must have the hash that the wheel's RECORD gives it; nothing may leave its prefix or replace the interpreter. Files are
copied (or reflinked), never hard-linked: modes are normalised, and a link would change uv's cache. Bytecode is `bytecode.py`.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import os
import re
import stat
from collections.abc import Iterator
from concurrent.futures import Executor
from pathlib import Path

from runtime.build.plan import InstallWheel
from runtime.build.wheels.console_scripts import entry_point_scripts, is_script_name, with_our_interpreter
from runtime.errors import BadContent
from runtime.layer.file_copy import copy_hashed
from runtime.layer.tree import Tree, TreeEntry, parents_of
from runtime.light_dataclasses import dataclass, field

_UNHASHED = ("RECORD", "RECORD.jws", "RECORD.p7s")
_REPLACED = ("INSTALLER", "REQUESTED", "direct_url.json", "RECORD")


@dataclass(frozen=True, slots=True)
class WheelFile:
    """One file to install: where it is in the unpacked wheel, where it goes below the layer's root."""

    source: str
    target: str
    executable: bool
    script: bool
    recorded_hash: str | None
    """`sha256=…` as in RECORD; None when RECORD doesn't name the file."""


@dataclass(slots=True)
class LaidOut:
    """A wheel's files below a layer's root, not compiled yet."""

    step: InstallWheel
    root: Path
    dist_info: str
    """Name of the dist-info directory."""
    files: list[TreeEntry] = field(default_factory=list)

    @property
    def site_packages(self) -> str:
        return site_packages_of(self.step)

    @property
    def sources(self) -> list[str]:
        """Python files to compile: paths below the root. Data that a wheel lays elsewhere isn't imported."""
        inside = self.site_packages + "/"
        return [entry.path for entry in self.files if entry.path.endswith(".py") and entry.path.startswith(inside)]


def site_packages_of(step: InstallWheel) -> str:
    return f"{_prefix(step)}/lib/python{step.python}/site-packages"


def _prefix(step: InstallWheel) -> str:
    return step.prefix.lstrip("/")


def lay_out(step: InstallWheel, unpacked: Path, root: Path, *, copying: Executor) -> LaidOut:
    """Copy the wheel that uv unpacked in *unpacked* below *root*. Raises BadContent for a wheel that is damaged or hostile."""
    dist_info = _dist_info(step, unpacked)
    files = plan_files(step, unpacked, dist_info)
    made: set[str] = set()
    for file in files:
        _make_parents(root, file.target, made)
    laid = LaidOut(step, root, dist_info)
    laid.files += copying.map(lambda file: _install(file, unpacked, root, step.prefix), files)
    entry_points = unpacked / dist_info / "entry_points.txt"
    if entry_points.is_file():
        text = entry_points.read_text(encoding="utf-8")
        for name, script in entry_point_scripts(text, wheel=step.filename, prefix=step.prefix):
            path = _check_target(f"{_prefix(step)}/bin/{name}", step)
            laid.files = [entry for entry in laid.files if entry.path != path]
            laid.files.append(_write(root, path, script.encode(), 0o755, made))
    installer = f"{laid.site_packages}/{dist_info}/INSTALLER"
    laid.files.append(_write(root, installer, b"launch\n", 0o644, made))
    return laid


def _dist_info(step: InstallWheel, unpacked: Path) -> str:
    found = [
        entry.name for entry in os.scandir(unpacked) if entry.name.endswith(".dist-info") and entry.is_dir(follow_symlinks=False)
    ]
    if len(found) != 1:
        raise BadContent(f"wheel `{step.filename}` has {len(found)} dist-info directories instead of one")
    if normal_name(found[0].removesuffix(".dist-info").rpartition("-")[0]) != normal_name(step.name):
        raise BadContent(f"wheel `{step.filename}` is another package's: it holds `{found[0]}`")
    return found[0]


def normal_name(name: str) -> str:
    """PEP 503."""
    return re.sub(r"[-_.]+", "-", name).lower()


def plan_files(step: InstallWheel, unpacked: Path, dist_info: str) -> list[WheelFile]:
    """Which files of the unpacked wheel go where. Pure but for reading names, modes and RECORD."""
    recorded = _read_record(unpacked / dist_info / "RECORD", step)
    data = dist_info.removesuffix(".dist-info") + ".data"
    files = []
    seen = set()
    for path, mode in _walk(unpacked, step):
        seen.add(path)
        head, _, name = path.partition("/")
        if head == dist_info and name in _REPLACED:
            continue
        target = _data_target(name, step) if head == data else f"{site_packages_of(step)}/{path}"
        script = head == data and name.startswith("scripts/")
        recorded_hash = recorded.get(path)
        if recorded_hash is None and head == dist_info and name in _UNHASHED:
            recorded_hash = ""
        files.append(WheelFile(path, _check_target(target, step), bool(mode & 0o111) or script, script, recorded_hash))
    missing = sorted(set(recorded) - seen - {f"{dist_info}/{name}" for name in _UNHASHED})
    # Bytecode that the wheel ships was not walked: ours takes its place.
    missing = [path for path in missing if "__pycache__" not in path.split("/") and not path.endswith("/")]
    if missing:
        raise BadContent(f"wheel `{step.filename}` lacks `{missing[0]}`, which its RECORD names (uv's cache may be damaged)")
    return files


def _walk(unpacked: Path, step: InstallWheel) -> Iterator[tuple[str, int]]:
    """(path, mode) of every regular file, sorted. Anything that is no file or directory is refused."""
    pending = [""]
    found = []
    while pending:
        directory = pending.pop()
        with os.scandir(unpacked / directory) as entries:
            for entry in entries:
                path = f"{directory}/{entry.name}" if directory else entry.name
                mode = entry.stat(follow_symlinks=False).st_mode
                if stat.S_ISDIR(mode):
                    if entry.name != "__pycache__":
                        pending.append(path)
                elif stat.S_ISREG(mode):
                    found.append((path, mode))
                else:
                    raise BadContent(f"wheel `{step.filename}` holds `{path}`, which is no regular file")
    return iter(sorted(found))


def _read_record(record: Path, step: InstallWheel) -> dict[str, str]:
    """Path → hash (`sha256=…`, empty where RECORD has none)."""
    try:
        text = record.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadContent(f"wheel `{step.filename}` has no readable RECORD: {error}") from error
    rows = {}
    for row in csv.reader(io.StringIO(text)):
        if row:
            rows[row[0].replace("\\", "/").removeprefix("./")] = row[1] if len(row) > 1 else ""
    return rows


def _data_target(name: str, step: InstallWheel) -> str:
    """Where a file of `X.data/` goes: the scheme is the first part of its path."""
    scheme, _, rest = name.partition("/")
    match scheme:
        case "purelib" | "platlib":
            return f"{site_packages_of(step)}/{rest}"
        case "scripts":
            if not is_script_name(rest):
                raise BadContent(f"wheel `{step.filename}` has a script in a subdirectory: `{rest}`")
            return f"{_prefix(step)}/bin/{rest}"
        case "headers":
            return f"{_prefix(step)}/include/site/python{step.python}/{step.name}/{rest}"
        case "data":
            return f"{_prefix(step)}/{rest}"
    raise BadContent(f"wheel `{step.filename}` has files for an unknown scheme `{scheme}`")


_INTERPRETER = re.compile(r"pyvenv\.cfg|bin/python[\d.]*")


def _check_target(target: str, step: InstallWheel) -> str:
    """*target* if it lies below the step's prefix and is no part of the virtual environment itself."""
    parts, prefix = target.split("/"), _prefix(step) + "/"
    if ".." in parts or "." in parts or "" in parts or "\0" in target or not target.startswith(prefix):
        raise BadContent(f"wheel `{step.filename}` would write outside {step.prefix}: `{target}`")
    if _INTERPRETER.fullmatch(target.removeprefix(prefix)):
        raise BadContent(f"wheel `{step.filename}` would replace the interpreter: `{target}`")
    return target


def _make_parents(root: Path, target: str, made: set[str]) -> None:
    parent = target.rpartition("/")[0]
    if parent not in made:
        os.makedirs(root / parent, mode=0o755, exist_ok=True)
        made.add(parent)


def _install(file: WheelFile, unpacked: Path, root: Path, prefix: str) -> TreeEntry:
    mode = 0o755 if file.executable else 0o644
    size, digests = copy_hashed(unpacked / file.source, root / file.target, mode=mode, algorithms=_algorithms(file))
    if file.recorded_hash:
        algorithm, _, expected = file.recorded_hash.partition("=")
        actual = base64.urlsafe_b64encode(digests[algorithm]).decode().rstrip("=")
        if actual != expected.rstrip("="):
            raise BadContent(
                f"`{unpacked / file.source}` is not what the wheel's RECORD says", hint="uv's cache is damaged: `uv cache clean`"
            )
    entry = TreeEntry(file.target, "file", mode, size=size, sha256=digests["sha256"].hex())
    return _with_our_shebang(entry, root, prefix) if file.script else entry


def _algorithms(file: WheelFile) -> tuple[str, ...]:
    algorithm = (file.recorded_hash or "").partition("=")[0]
    if algorithm in ("", "sha256"):
        return ("sha256",)
    if algorithm not in ("sha384", "sha512"):
        raise BadContent(f"RECORD has a hash `{algorithm}` for `{file.source}`: sha256 or better is wanted")
    return ("sha256", algorithm)


def _with_our_shebang(entry: TreeEntry, root: Path, prefix: str) -> TreeEntry:
    path = root / entry.path
    content = path.read_bytes()
    ours = with_our_interpreter(content, prefix=prefix)
    if ours == content:
        return entry
    path.write_bytes(ours)
    return TreeEntry(entry.path, "file", entry.mode, size=len(ours), sha256=hashlib.sha256(ours).hexdigest())


def _write(root: Path, path: str, content: bytes, mode: int, made: set[str]) -> TreeEntry:
    _make_parents(root, path, made)
    target = root / path
    # A name may come twice (a script and an entry point): the file is made anew, never written through.
    target.unlink(missing_ok=True)
    with open(target, "xb") as file:
        file.write(content)
        os.fchmod(file.fileno(), mode)
    return TreeEntry(path, "file", mode, size=len(content), sha256=hashlib.sha256(content).hexdigest())


def finish(laid: LaidOut, bytecode: list[TreeEntry]) -> Tree:
    """Write RECORD over the files and *bytecode*, and give the layer's whole tree, directories included."""
    base = laid.site_packages
    record = f"{base}/{laid.dist_info}/RECORD"
    rows = [(os.path.relpath(entry.path, base), _record_hash(entry), str(entry.size)) for entry in (*laid.files, *bytecode)]
    rows.append((os.path.relpath(record, base), "", ""))
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(sorted(rows))
    entries = [*laid.files, *bytecode, _write(laid.root, record, text.getvalue().encode(), 0o644, set())]
    directories = {parent for entry in entries for parent in parents_of(entry.path)}
    for directory in directories:
        os.chmod(laid.root / directory, 0o755)
    return Tree.of([*entries, *(TreeEntry(path, "dir", 0o755) for path in directories)])


def _record_hash(entry: TreeEntry) -> str:
    return "sha256=" + base64.urlsafe_b64encode(bytes.fromhex(entry.sha256)).decode().rstrip("=")
