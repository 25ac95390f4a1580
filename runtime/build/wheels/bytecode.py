"""Bytecode for the Python files of wheels: once a wheel, by the image's own interpreter, in its own container.

Leaving it out costs seconds in every container. One container compiles a whole batch in single-threaded processes
(`compile_worker.py`); what it made is taken only where it was expected. The pyc hold LAYER_MTIME_S, which every file of the
layer will have, so they are the same from run to run and still notice a later edit of the source.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

from runtime.build.plan import LAYER_MTIME_S, MakeVenv
from runtime.build.wheels.wheel_tree import LaidOut
from runtime.container.spec import ContainerSpec
from runtime.errors import BuildError
from runtime.layer.tree import TreeEntry
from runtime.rootfs.mount_spec import BindMount

_ROOTS = "/run/launch-build/roots"
_WORKER = "/run/launch-build/compile_worker.py"


def compile_all(
    wheels: Sequence[LaidOut],
    *,
    venv: MakeVenv,
    layers: Sequence[Path],
    roots: Path,
    overlay_dir: Path,
    workers: int | None = None,
) -> None:
    """Write the `__pycache__` files of *wheels*, all of which lie below *roots*.

    *layers*: lower directories with the base and the virtual environment *venv*, bottom first. Raises BuildError.
    """
    jobs = [job for wheel in wheels for job in jobs_of(wheel, roots, seen_at=_ROOTS)]
    if not jobs:
        return
    from runtime.container.run_once import run_to_completion

    # The largest first, so that the last worker to finish isn't left with numpy's biggest file.
    jobs.sort(key=lambda job: -job[2])
    document = {"mtime": LAYER_MTIME_S, "files": [[path, shown] for path, shown, _ in jobs]}
    jobs_file = roots / "compile.json"
    jobs_file.write_text(json.dumps(document), encoding="utf-8")
    workers = workers or len(os.sched_getaffinity(0))
    spec = ContainerSpec(
        container_id=f"compile-{secrets.token_hex(4)}",
        layers=tuple(layers),
        overlay_dir=overlay_dir,
        argv=(f"{venv.prefix}/bin/python3", "-s", "-S", "-B", _WORKER, f"{_ROOTS}/compile.json", str(workers)),
        # Under a random hash seed a set constant gets another order, and another pyc. (`-I` would ignore the variable.)
        env={"PATH": "/usr/bin:/bin", **interpreter_env(venv), "PYTHONHASHSEED": "0", "LC_ALL": "C.UTF-8"},
        binds=(
            BindMount(roots, _ROOTS, readonly=False, executable=False),
            BindMount(Path(__file__).with_name("compile_worker.py"), _WORKER, executable=False),
        ),
        build=True,
    )
    exit_status, tail = run_to_completion(spec)
    jobs_file.unlink()
    if exit_status.shell_code != 0:
        raise BuildError(
            f"the image's Python could not compile the wheels (exit code {exit_status.shell_code}): "
            f"{tail.decode('utf-8', 'replace').strip()[-2000:]}"
        )


def interpreter_env(venv: MakeVenv) -> dict[str, str]:
    """What the base of *venv* gives its interpreter, without what tells Python or an installer to do something else."""
    return {name: value for name, value in venv.base_env if not name.startswith(("PYTHON", "PIP_", "UV_"))}


def jobs_of(wheel: LaidOut, roots: Path, *, seen_at: str) -> Iterator[tuple[str, str, int]]:
    """(path in the container, path in tracebacks, size) of each file to compile; *roots* is mounted at *seen_at*."""
    inside = wheel.root.relative_to(roots).as_posix()
    sizes = {entry.path: entry.size for entry in wheel.files}
    for source in wheel.sources:
        yield f"{seen_at}/{inside}/{source}", f"/{source}", sizes[source]


def compiled_entries(wheel: LaidOut, *, tag: str) -> list[TreeEntry]:
    """The .pyc that exist for the sources of *wheel*; *tag* is `cpython-313`."""
    entries = []
    for source in wheel.sources:
        directory, _, name = source.rpartition("/")
        path = f"{directory}/__pycache__/{name.removesuffix('.py')}.{tag}.pyc"
        entry = _entry(wheel.root, path)
        if entry is not None:
            entries.append(entry)
    return entries


def _entry(root: Path, path: str) -> TreeEntry | None:
    try:
        descriptor = os.open(root / path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return None  # a file that doesn't compile; Python would not have it either
    with open(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise BuildError(f"compiling made `{path}`, which is no regular file")
        if os.geteuid() == 0 and status.st_uid != 0:
            os.fchown(descriptor, 0, 0)
        os.fchmod(descriptor, 0o644)
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return TreeEntry(path, "file", 0o644, size=status.st_size, sha256=digest)
