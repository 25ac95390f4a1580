"""From the command to the supervisor: the run's directory is written, then the run belongs to its supervisor (`fork_server.py`).

Order matters: the supervisor's lock is taken before the run shows in the journal, and its descriptor is inherited, so there
is no moment in which a living run looks like an orphan.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from launcher.config.spec import to_record
from launcher.journal.events import Created
from launcher.journal.run_journal import Journal
from launcher.plan.launch_plan import LaunchPlan
from launcher.plan.plan_json import to_document
from launcher.run.notice import keep_receiver
from runtime.file_lock import locked, open_locked
from runtime.kernel.process_identity import process_started
from runtime.light_dataclasses import asdict, dataclass
from runtime.oci.digest import Digest, digest_bytes
from runtime.state_dir import DEV, RunDir, StateDir


@dataclass(frozen=True, slots=True)
class RunIdentity:
    """What a run is beside its plan."""

    name: str | None = None
    note: str | None = None
    command_line: tuple[str, ...] = ()
    parent_run_id: str | None = None
    sweep_id: str | None = None
    trial: int | None = None
    rerun_of: str | None = None
    may_wait: bool = True
    """Whether it may stand in line for GPUs."""
    is_dev: bool = False
    """Whether it is a container to work in, and no run."""
    terminal: tuple[int, int] | None = None
    """Rows and columns of the terminal that its program gets; None: pipes."""
    opens: str | None = None
    """The ended run whose files such a container shows."""


def create_run(plan: LaunchPlan, image_digest: Digest, *, state: StateDir, identity: RunIdentity) -> tuple[RunDir, int]:
    """Make the run's directory and journal. Returns it and the descriptor that holds the supervisor's lock."""
    document = {"plan": to_document(plan), "image_digest": str(image_digest), "identity": _identity_document(identity)}
    with begin_run(state, prefix=DEV if identity.is_dev else "") as (run_dir, lock_fd):
        for directory in (run_dir.outputs, run_dir.checkpoints):
            directory.mkdir()
        plan_digest = digest_bytes(_write_json(run_dir.plan, document))
        _write_json(run_dir.spec, to_record(plan.spec))
        _write_json(run_dir.params, plan.params)
        if identity.sweep_id is None and not identity.is_dev:
            keep_receiver(run_dir, plan.spec.notify)
        for appended in (run_dir.metrics, run_dir.stdout, run_dir.stderr):
            appended.touch(mode=0o600)
        Journal(run_dir.journal).append(_created(run_dir.run_id, plan, image_digest, plan_digest, identity))
    return run_dir, lock_fd


@contextmanager
def begin_run(state: StateDir, *, prefix: str = "") -> Iterator[tuple[RunDir, int]]:
    """A new run's directory and the descriptor that holds its supervisor's lock. The body ends with the journal's first entry."""
    with locked(state.beginnings_lock, shared=True):
        run_dir = new_run_dir(state, prefix=prefix)
        yield run_dir, open_locked(run_dir.supervisor_lock)


def new_run_dir(state: StateDir, *, prefix: str = "") -> RunDir:
    """The directory of a new run, marked before it is made, under an id of *prefix* and six hex digits that nobody has."""
    while True:
        run_dir = state.run(prefix + os.urandom(3).hex())
        if run_dir.root.exists():
            continue
        state.active.add(run_dir)
        run_dir.root.parent.mkdir(mode=0o700, exist_ok=True)
        try:
            run_dir.root.mkdir(mode=0o700)
        except FileExistsError:
            continue
        return run_dir


def _identity_document(identity: RunIdentity) -> dict[str, Any]:
    document = asdict(identity)
    del document["is_dev"]
    return {"command": document.pop("command_line"), **document}


def _created(run_id: str, plan: LaunchPlan, image_digest: Digest, plan_digest: Digest, identity: RunIdentity) -> Created:
    git = plan.code.git
    return Created(
        run_id=run_id,
        experiment=plan.spec.name,
        name=identity.name,
        note=identity.note,
        command=identity.command_line,
        parent_run_id=identity.parent_run_id,
        sweep_id=identity.sweep_id,
        trial=identity.trial,
        rerun_of=identity.rerun_of,
        may_wait=identity.may_wait,
        on_terminal=identity.terminal is not None,
        pid=os.getpid(),
        pid_started=process_started(os.getpid()),
        tracking=plan.spec.tracking is not None,
        user=os.environ.get("USER") or str(os.getuid()),
        host=socket.gethostname(),
        cwd=os.getcwd(),
        argv=plan.argv,
        overrides=plan.overrides,
        params=dict(plan.params),
        needs={"cpus": plan.cpus, "memory_bytes": plan.memory_bytes, "gpus": plan.gpus},
        seed=plan.spec.seed,
        spec_digest=str(plan.spec_digest),
        code_digest=str(plan.code.digest),
        lock_digest=str(plan.lock.digest) if plan.lock else None,
        base_digest=str(plan.base_digest),
        image_digest=str(image_digest),
        plan_digest=str(plan_digest),
        git_commit=git.commit if git else None,
        git_dirty=git.dirty if git else None,
    )


def _write_json(path: Path, document: Any) -> bytes:
    """Returns what is written."""
    content = json.dumps(document, ensure_ascii=False).encode()
    path.write_bytes(content)
    return content
