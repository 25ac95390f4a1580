"""Which files of a run MLflow keeps, and how they get there.

    launch/    spec.yaml, plan.json, requirements.lock, code.tar, journal.jsonl: what it takes to run it again;
               outputs.json: the sha256 of what came out;
               sbom.json: the software in its image
    logs/      stdout.txt, stderr.txt
    (root)     the outputs that `outputs.keep` names, and what the program logged through the gateway

Outputs are a program's work: only regular files count, no link is followed, and no name of theirs is one of ours (`of_program`:
`/outputs/logs/x` is `outputs/logs/x`). A server that hands out its storage's own address
(`s3://...`) instead of taking uploads gets them through MLflow's client, in a process of its own (`upload_main.py`).
"""

from __future__ import annotations

import itertools
import json
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from launcher.errors import LaunchError
from launcher.tracking.mlflow.address import LocalAddress
from launcher.tracking.mlflow.connection import MlflowUnreachable
from launcher.tracking.mlflow.description import Description
from launcher.tracking.mlflow.rest import Mlflow
from launcher.tracking.record.regular_files import WORKSPACE, is_of_workspace, regular_files
from launcher.tracking.record.sparse_files import copy_sparse, data_of_sparse
from runtime.light_dataclasses import dataclass
from runtime.plurals import counted, size_words
from runtime.state_dir import RunDir
from runtime.whole_file import link_or_copy

PARTIAL = ".launch-partial-"
"""Beginning of the name of a spooled artifact that is still being written."""

_NEVER_CHANGED = frozenset(f"launch/{name}" for name in ("spec.yaml", "plan.json", "requirements.lock", "sbom.json", "code.tar"))
"""Written once: the local server's artifact is a second name of the run's file."""

_UPLOAD_TIMEOUT_S = 3600.0

RESERVED = ("launch", "logs")
"""First parts of artifact paths that are the launcher's alone: what stands there is the record, whatever a program does."""
_PATH_BYTES = 1024
_PATH_PARTS = 100


@dataclass(frozen=True, slots=True)
class Upload:
    """One file and its place below the run's artifacts."""

    path: str
    file: Path
    stamp: list[int]
    """Size and mtime (ns): a file that was sent is sent again when it has changed (a resumed run)."""


def pending(
    run_dir: RunDir, description: Description, *, sent: Mapping[str, list[int]], refused: Callable[[str], None], uploaded: int = 0
) -> Iterator[Upload]:
    """What is still to be sent at the end of a run, whose program has logged *uploaded* bytes of artifacts.

    Raises LaunchError when its record cannot be completed first.
    """
    # Not on the way of a start: archives and the store are needed at the end only.
    from launcher.tracking.record import record_files

    record_files.write(run_dir)
    own, found = [], list(_files_below(run_dir.artifacts))
    if description.artifacts:
        record_files.list_outputs(run_dir)
        own, found = _own_files(run_dir), [*found, *_outputs(run_dir, description, uploaded, refused)]
    yield from _changed([*own, *of_program(found, refused=refused)], sent)


def spooled(run_dir: RunDir, *, sent: Mapping[str, list[int]]) -> Iterator[Upload]:
    """What the program has logged through the gateway: worth sending while it runs."""
    yield from _changed(of_program(list(_files_below(run_dir.artifacts)), refused=lambda _: None), sent)


def is_reserved(path: str) -> bool:
    return path.split("/", 1)[0] in RESERVED


def is_too_long(path: str) -> bool:
    """Whether a server, or a file system behind one, may not be able to keep it (1024 bytes are the longest key of S3)."""
    return len(os.fsencode(path)) > _PATH_BYTES or path.count("/") >= _PATH_PARTS


def of_program(files: Sequence[tuple[str, Path]], *, refused: Callable[[str], None]) -> Iterator[tuple[str, Path]]:
    """A program's *files* under names that are free: reserved ones move below `outputs/`, what can have no name is left out.
    *refused* is told of both."""
    names = {path for path, _ in files}
    moved: list[str] = []
    left: list[str] = []
    for path, file in files:
        name = path
        while is_reserved(name) or (name != path and name in names):
            name = f"outputs/{name}"
        parents = itertools.accumulate(name.split("/")[:-1], "{}/{}".format)
        if is_too_long(name) or any(parent in names for parent in parents):
            left.append(path)
            continue
        if name != path:
            moved.append(path)
        yield name, file
    if moved:
        first = moved[0].split("/", 1)[0]
        refused(
            f"MLflow has {counted(len(moved), 'output')} below `{first}/` as `outputs/{first}/…`: that name is the launcher's"
        )
    if left:
        words = f"{counted(len(left), 'output')} not sent to MLflow, the first `{_shortened(left[0])}`"
        refused(f"{words}: longer than {_PATH_BYTES} bytes or {_PATH_PARTS} parts, or below a name that is a file")


def _shortened(path: str) -> str:
    from runtime.layer.tree import printable

    return printable(path if len(path) <= 80 else f"{path[:77]}...")


def _changed(found: Iterable[tuple[str, Path]], sent: Mapping[str, list[int]]) -> Iterator[Upload]:
    for path, file in found:
        try:
            status = file.stat(follow_symlinks=False)
        except FileNotFoundError:
            continue
        stamp = [status.st_size, status.st_mtime_ns]
        if sent.get(path) != stamp:
            yield Upload(path, file, stamp)


def is_proxied(run: Mapping[str, Any]) -> bool:
    """Whether the server takes uploads itself."""
    return str(run.get("artifact_uri", "")).startswith("mlflow-artifacts:")


def artifact_root(run: Mapping[str, Any]) -> str:
    """Path of the run's artifacts below the server's proxy: `mlflow-artifacts://host/1/<run>/artifacts` → `1/<run>/artifacts`."""
    return re.sub(r"^mlflow-artifacts:(//[^/]*)?/*", "", str(run["artifact_uri"]))


def send(client: Mlflow, run: Mapping[str, Any], uploads: Sequence[Upload]) -> Iterator[Upload]:
    """Send *uploads*; yields each when MLflow has it."""
    if isinstance(client.address, LocalAddress) and is_proxied(run):
        # The local server keeps artifacts in a directory of ours: a copy by the kernel instead of bytes through HTTP.
        top = client.address.artifacts / artifact_root(run)
        for upload in uploads:
            _place(upload.file, top / upload.path, linked=upload.path in _NEVER_CHANGED)
            yield upload
    elif is_proxied(run):
        for upload in uploads:
            client.put_artifact(f"{artifact_root(run)}/{upload.path}", upload.file)
            yield upload
    elif uploads:
        _send_through_client(run, uploads)
        yield from uploads


def forget_spooled(run_dir: RunDir, upload: Upload) -> None:
    """Drop our copy of a file that the program logged; outputs and logs stay."""
    if not upload.file.is_relative_to(run_dir.artifacts):
        return
    try:
        status = upload.file.stat(follow_symlinks=False)
    except FileNotFoundError:
        return
    # The program may have logged another file of that name meanwhile: then that one is still to be sent.
    if upload.stamp == [status.st_size, status.st_mtime_ns]:
        upload.file.unlink()


def _place(file: Path, target: Path, *, linked: bool) -> None:
    """Copy or link *file* to *target*, which shows it whole or not at all."""
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    partial = target.with_name(f"{PARTIAL}copy")  # whoever is killed leaves it to the next, who has `tracker.lock`
    try:
        if linked:
            link_or_copy(file, target)
            return
        copy_sparse(file, partial)
        partial.rename(target)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise LaunchError(f"cannot store artifact `{target}`: {error.strerror}") from error


def _own_files(run_dir: RunDir) -> list[tuple[str, Path]]:
    own = {
        "launch/spec.yaml": run_dir.root / "spec.yaml",
        "launch/plan.json": run_dir.plan,
        "launch/requirements.lock": run_dir.root / "requirements.lock",
        "launch/sbom.json": run_dir.sbom,
        "launch/code.tar": run_dir.root / "code.tar",
        "launch/outputs.json": run_dir.root / "outputs.json",
        "launch/journal.jsonl": run_dir.journal,
        "logs/stdout.txt": run_dir.stdout,
        "logs/stderr.txt": run_dir.stderr,
    }
    return [(path, file) for path, file in own.items() if file.is_file()]


def _outputs(run_dir: RunDir, description: Description, uploaded: int, refused: Callable[[str], None]) -> list[tuple[str, Path]]:
    kept = _kept(description.keep)
    files = [(path, file) for path, file in _files_below(run_dir.outputs) if kept(path)]
    if description.uri is not None:
        files = _without_sparse(files, refused)
    written = [(path, file) for path, file in files if is_of_workspace(path)]
    files = [(path, file) for path, file in files if not is_of_workspace(path)]
    total = sum(file.stat(follow_symlinks=False).st_size for _, file in files)
    if description.max_size is not None and total + uploaded > description.max_size:
        logged = f" and {uploaded} were logged" if uploaded else ""
        limit = f"more than `outputs.max_size` ({description.max_size})"
        refused(f"outputs are {total} bytes{logged}, {limit}: they stay in `{run_dir.outputs}`")
        files = []
    return files + _smallest(written, run_dir, description.workspace_max_size, refused)


def _smallest(
    written: list[tuple[str, Path]], run_dir: RunDir, limit: int | None, refused: Callable[[str], None]
) -> list[tuple[str, Path]]:
    """Of what the program wrote in its working directory as much as *limit* lets through: nobody asked for it by name."""
    if limit is None:
        return written
    total, sent = 0, []
    for size, found in sorted((found[1].stat(follow_symlinks=False).st_size, found) for found in written):
        total += size
        if total > limit:
            break
        sent.append(found)
    if kept_here := len(written) - len(sent):
        refused(
            f"more than `outputs.workspace_max_size` ({size_words(limit)}) was written in the working directory: "
            f"{counted(kept_here, 'file')} not sent to MLflow, kept in `{run_dir.outputs / WORKSPACE}`"
        )
    return sent


def _without_sparse(files: Sequence[tuple[str, Path]], refused: Callable[[str], None]) -> list[tuple[str, Path]]:
    """Those that a server takes as they are: of others it would get, and keep, the holes as zeros."""
    sendable = []
    for path, file in files:
        data = data_of_sparse(file)
        if data is None:
            sendable.append((path, file))
        else:
            size = size_words(file.stat(follow_symlinks=False).st_size)
            refused(
                f"`{_shortened(path)}` is not sent: {size}, of which {size_words(data)} are data; it stays in `{file.parent}`"
            )
    return sendable


def _files_below(top: Path) -> Iterator[tuple[str, Path]]:
    return (found for found in regular_files(top) if not found[1].name.startswith(PARTIAL))


def _kept(patterns: Sequence[str]) -> Callable[[str], bool]:
    """Whether a path is meant by one of *patterns*: `*` and `?` stop at a slash, `**` doesn't; a directory means all below it."""
    regexes = [re.compile(_regex(pattern.strip("/")) + r"(/.*)?", re.DOTALL) for pattern in patterns]
    return lambda path: any(regex.fullmatch(path) for regex in regexes)


def _regex(pattern: str) -> str:
    pieces = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    return re.sub(r"\*\*/|\*\*|\*|\?|.", lambda found: pieces.get(found[0], re.escape(found[0])), pattern, flags=re.DOTALL)


def _send_through_client(run: Mapping[str, Any], uploads: Sequence[Upload]) -> None:
    import subprocess

    wanted = {"artifact_uri": run["artifact_uri"], "files": [[upload.path, str(upload.file)] for upload in uploads]}
    environ = {**os.environ, "MLFLOW_TRACKING_URI": str(run.get("tracking_uri") or "")}
    environ["PYTHONPATH"] = str(Path(__file__).resolve().parents[3])
    argv = [sys.executable, "-P", "-m", "launcher.tracking.mlflow.upload_main"]
    try:
        done = subprocess.run(
            argv, input=json.dumps(wanted), text=True, capture_output=True, check=False, timeout=_UPLOAD_TIMEOUT_S, env=environ
        )
    except subprocess.TimeoutExpired as error:
        raise MlflowUnreachable(f"uploading to `{run['artifact_uri']}` took more than {_UPLOAD_TIMEOUT_S:g} s") from error
    if done.returncode != 0:
        words = next((line for line in reversed(done.stderr.splitlines()) if line.strip()), "it said nothing")
        raise LaunchError(f"MLflow's client cannot upload to `{run['artifact_uri']}`: {words}")
