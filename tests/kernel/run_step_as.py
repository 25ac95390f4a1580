"""Run one build step on the layer of shell and tools, as root or as the ordinary user; the answer is JSON data.

The user gets a process of its own with an interpreter that it may start: only the standard library is there.
"""

from __future__ import annotations

import json
import os
import pwd
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from shell_layer import program_files, shell_layer

from runtime.build.observer import NullObserver
from runtime.build.plan import RunCommand, Step
from runtime.build.run.apply_run_command import apply_run_command
from runtime.build.sources import BuildSources
from runtime.errors import RuntimeFailure
from runtime.oci.digest import digest_bytes
from runtime.store.records import Layer
from runtime.store.store import Store

REPOSITORY = Path(__file__).resolve().parents[2]


class Heard(NullObserver):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def output(self, step: Step, line: str) -> None:
        self.lines.append(line)


def file_layer(store: Store, files: dict[str, str]) -> Layer:
    """A layer of *files*: path → text, or `->` and a link's target."""
    with store.staging() as staging:
        root = staging / "root"
        for path, text in files.items():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            if text.startswith("->"):
                (root / path).symlink_to(text[2:])
            else:
                (root / path).write_text(text)
        return store.publish(digest_bytes(repr(files).encode()), root, label="files")


def run_step(
    home: str,
    step: RunCommand,
    *,
    secrets: dict[str, bytes],
    caches: str | None,
    stage: Sequence[dict[str, str]] = (),
    stage_name: str = "stage",
    files: Sequence[str],
) -> dict[str, Any]:
    """Digest, key, entries and readable inputs of the layer of *step*; what its command said; how it failed."""
    store = Store(Path(home) / "store").ensure()
    base = shell_layer(store, files)
    heard = Heard()
    staged = [file_layer(store, files) for files in stage]
    try:
        layer = apply_run_command(
            step,
            store=store,
            below=[base],
            observer=heard,
            stage_layers=lambda number: staged,
            stages=[digest_bytes(stage_name.encode())],
            sources=BuildSources(secrets=secrets, cache_mounts=None if caches is None else Path(caches)),
        )
    except RuntimeFailure as error:
        return {"error": error.message, "hint": error.hint, "said": heard.lines}
    return {
        "digest": layer.diff_id,
        "key": layer.key,
        "said": heard.lines,
        "entries": {entry.path: [entry.type, entry.mode, entry.uid, entry.gid] for entry in store.tree_of(layer)},
        "fields": store.key_fields(layer.key),
    }


def run_step_as(user: str, home: str, step: RunCommand, **options: Any) -> dict[str, Any]:
    """`run_step` in a process of *user*."""
    program = f"""
import json, sys
sys.path[:0] = {[str(REPOSITORY), str(Path(__file__).parent)]!r}
from run_step_as import run_step
from runtime.build.plan import RunCommand, RunMount
print(json.dumps(run_step({home!r}, {step!r}, files={program_files()!r}, **{options!r})))
"""
    account = pwd.getpwnam(user)
    python = sys.executable if user == "root" else python_for_everybody()
    done = subprocess.run(
        [python, "-c", program],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd=home,
        env={"HOME": home, "PATH": os.environ["PATH"]},
        user=account.pw_uid,
        group=account.pw_gid,
        extra_groups=[],
    )
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def python_for_everybody() -> str:
    """An interpreter that another user may start."""
    for name in ("python3", "python3.13", "python3.12", "python3.11"):
        found = shutil.which(name, path="/usr/bin:/usr/local/bin")
        if found and os.path.realpath(found).startswith("/usr"):
            ended = subprocess.run([found, "-c", "import sys; sys.exit(sys.version_info < (3, 11))"], check=False)
            if ended.returncode == 0:
                return found
    raise LookupError("no interpreter that another user can start")
