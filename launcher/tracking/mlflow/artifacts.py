"""Which files of a run MLflow keeps, and how they get there.

    launch/    spec.yaml, plan.json, requirements.lock, code.tar, journal.jsonl: what it takes to run it again;
               outputs.json: the sha256 of what came out;
               sbom.json: the software in its image
    logs/      stdout.txt, stderr.txt
    (root)     the outputs that `outputs.keep` names, and what the program logged through the gateway

Outputs are a program's work: only regular files count, no link is followed. A server that hands out its storage's own address
(`s3://...`) instead of taking uploads gets them through MLflow's client, in a process of its own (`upload_main.py`).
"""

from __future__ import annotations

import errno
import json
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from launcher.errors import LaunchError
from launcher.tracking.mlflow.address import LocalAddress
from launcher.tracking.mlflow.connection import MlflowUnreachable
from launcher.tracking.mlflow.description import Description
from launcher.tracking.mlflow.rest import Mlflow
from launcher.tracking.record.regular_files import regular_files
from runtime.state_dir import RunDir
from runtime.whole_file import link_or_copy

PARTIAL = ".launch-partial-"
"""Beginning of the name of a spooled artifact that is still being written."""

_NEVER_CHANGED = frozenset(f"launch/{name}" for name in ("spec.yaml", "plan.json", "requirements.lock", "sbom.json", "code.tar"))
"""Written once: the local server's artifact is a second name of the run's file."""

_UPLOAD_TIMEOUT_S = 3600.0


@dataclass(frozen=True, slots=True)
class Upload:
    """One file and its place below the run's artifacts."""

    path: str
    file: Path
    stamp: list[int]
    """Size and mtime (ns): a file that was sent is sent again when it has changed (a resumed run)."""


def pending(
    run_dir: RunDir, description: Description, *, sent: Mapping[str, list[int]], refused: Callable[[str], None]
) -> Iterator[Upload]:
    """What is still to be sent at the end of a run. Raises LaunchError when its record cannot be completed first."""
    # Not on the way of a start: archives and the store are needed at the end only.
    from launcher.tracking.record import record_files

    record_files.write(run_dir)
    found = list(_files_below(run_dir.artifacts))
    if description.artifacts:
        record_files.list_outputs(run_dir)
        found = [*_own_files(run_dir), *found, *_outputs(run_dir, description, refused)]
    yield from _changed(found, sent)


def spooled(run_dir: RunDir, *, sent: Mapping[str, list[int]]) -> Iterator[Upload]:
    """What the program has logged through the gateway: worth sending while it runs."""
    yield from _changed(_files_below(run_dir.artifacts), sent)


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


def take_back(client: Mlflow, run: Mapping[str, Any]) -> None:
    """Remove what was sent to a run that the local server has not made."""
    if isinstance(client.address, LocalAddress):
        import shutil

        shutil.rmtree((client.address.artifacts / artifact_root(run)).parent, ignore_errors=True)


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
    partial = target.with_name(f"{PARTIAL}{os.getpid()}")
    try:
        if linked:
            link_or_copy(file, target)
            return
        with file.open("rb") as source, partial.open("wb") as copy:
            _copy(source, copy)
        partial.rename(target)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise LaunchError(f"cannot store artifact `{target}`: {error.strerror}") from error


def _copy(source: BinaryIO, copy: BinaryIO) -> None:
    try:
        while os.copy_file_range(source.fileno(), copy.fileno(), 1 << 30):
            continue
    except OSError as error:
        # Two file systems, or one that can't: nothing was copied yet (copy_file_range(2)).
        if error.errno not in (errno.EXDEV, errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS):
            raise
        import shutil

        shutil.copyfileobj(source, copy)


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


def _outputs(run_dir: RunDir, description: Description, refused: Callable[[str], None]) -> list[tuple[str, Path]]:
    kept = _kept(description.keep)
    files = [(path, file) for path, file in _files_below(run_dir.outputs) if kept(path)]
    total = sum(file.stat(follow_symlinks=False).st_size for _, file in files)
    if description.max_size is not None and total > description.max_size:
        refused(
            f"outputs are {total} bytes, more than `outputs.max_size` ({description.max_size}): they stay in `{run_dir.outputs}`"
        )
        return []
    return files


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
