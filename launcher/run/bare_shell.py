"""A container as a run of an experiment would have, with a terminal and without a run: `launch shell experiment=X`.

It lies in `LAUNCH_HOME/shells`, which nothing lists, and ends with the command that made it. What a killed command leaves behind
(the kernel ends the processes) is removed by the next command that looks at runs.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace

from launcher.config.spec import to_json
from launcher.journal.run_journal import Journal
from launcher.plan.launch_plan import LaunchPlan
from launcher.plan.program.container_plan import container_spec
from launcher.run.gpus.leases import lease_gpus
from launcher.run.supervisor.acquisitions import acquired, undo_all
from launcher.run.supervisor.signal_inbox import SignalInbox
from launcher.run.supervisor.writable_layer import writable_layer
from runtime.cgroup.own_cgroups import new_cgroup
from runtime.container import lifecycle
from runtime.container.lifecycle import Container
from runtime.container.spec import ProcessExit
from runtime.file_lock import LockBusy, is_locked, open_locked
from runtime.rootfs.removal import remove_tree
from runtime.state_dir import RunDir, StateDir
from runtime.store.records import Image
from runtime.store.store import Store

_TERMINAL_VARIABLES = ("COLUMNS", "LINES")
"""They would hold for a terminal that never changes its size."""


@dataclass(slots=True)
class BareShell:
    """The program on its terminal, as `launcher.cli.runs.relay` wants it."""

    container: Container
    stdin: int
    """The master of the terminal."""

    @property
    def stdout(self) -> int:
        return self.stdin

    @property
    def stderr(self) -> int | None:
        return None

    @property
    def ending(self) -> int:
        return self.container.pidfd

    def ended(self) -> ProcessExit | None:
        return lifecycle.wait(self.container)

    def signal(self, number: int) -> None:
        lifecycle.signal(self.container, number)

    def close_stdin(self) -> None:
        """A terminal has no end of input."""


@contextmanager
def bare_shell(
    plan: LaunchPlan,
    image: Image,
    state: StateDir,
    argv: Sequence[str],
    *,
    inbox: SignalInbox,
    say: Callable[[str], None],
) -> Iterator[BareShell]:
    """Start *argv* in a container of *plan* for the body; then everything of it is gone."""
    plan = replace(plan, spec=replace(plan.spec, tracking=None))
    with ExitStack() as owned:
        run_dir = owned.enter_context(_directory(plan, image, state))
        journal = Journal(run_dir.journal)
        lease = owned.enter_context(lease_gpus(plan, run_dir, journal, inbox, tell=say))
        spec = container_spec(plan, image, Store(state.store), run_dir, lease=lease, environ=os.environ)
        env = {name: value for name, value in spec.env.items() if name not in _TERMINAL_VARIABLES}
        spec = replace(spec, argv=tuple(argv), env=env, processes=1, terminal=True)
        owned.enter_context(acquired(run_dir, journal, "outputs", run_dir.run_id))
        layer_fds = owned.enter_context(writable_layer(run_dir, journal, scratch=plan.spec.cluster.scratch))
        owned.enter_context(acquired(run_dir, journal, "cgroup", run_dir.cgroup_name))
        cgroup = owned.enter_context(new_cgroup(run_dir.cgroup_name, spec.limits))
        if spec.network == "bridge":
            owned.enter_context(acquired(run_dir, journal, "network", spec.container_id))
        held = (*(lease.fds if lease else ()), *layer_fds)
        # Without a socket for adopters its init ends when we do.
        container = lifecycle.create(spec, exit_record=None, held_fds=held, cgroup=cgroup)
        owned.callback(container.close)
        owned.callback(_end, container)
        for warning in (*cgroup.warnings, *container.warnings):
            say(warning)
        master = lifecycle.start_on_terminal(container)
        owned.callback(os.close, master)
        yield BareShell(container, master)


def _end(container: Container) -> None:
    lifecycle.kill(container)
    lifecycle.wait(container)


@contextmanager
def _directory(plan: LaunchPlan, image: Image, state: StateDir) -> Iterator[RunDir]:
    """The files that a program of a run finds, in a directory that goes away."""
    shells = state.root / "shells"
    shells.mkdir(mode=0o700, exist_ok=True)
    run_dir = RunDir(shells / f"shell-{secrets.token_hex(3)}")
    run_dir.root.mkdir(mode=0o700)
    lock = open_locked(run_dir.supervisor_lock)
    try:
        for directory in (run_dir.outputs, run_dir.checkpoints):
            directory.mkdir()
        run_dir.plan.write_text(json.dumps({"image_digest": str(image.digest)}))
        run_dir.spec.write_text(json.dumps(to_json(plan.spec)))
        run_dir.params.write_text(json.dumps(plan.params))
        run_dir.metrics.touch(mode=0o600)
        yield run_dir
    finally:
        _remove(run_dir)
        os.close(lock)


def _remove(run_dir: RunDir) -> None:
    """Remove what a shell left, as deep as its program made it; what denies the caller stays for the next who may."""
    with suppress(OSError):
        remove_tree(run_dir.root)


def open_shells(state: StateDir) -> list[RunDir]:
    """Those whose command lives."""
    return [run_dir for run_dir in _all(state) if is_locked(run_dir.supervisor_lock)]


def clear_dead_shells(state: StateDir) -> None:
    """Give back what shells have left whose command was killed."""
    for run_dir in _all(state):
        try:
            lock = open_locked(run_dir.supervisor_lock, wait=False)
        except (LockBusy, FileNotFoundError):
            continue
        try:
            undo_all(run_dir)
            _remove(run_dir)
        finally:
            os.close(lock)


def image_of(run_dir: RunDir) -> str | None:
    try:
        return str(json.loads(run_dir.plan.read_bytes())["image_digest"])
    except (OSError, ValueError, KeyError):
        return None


def _all(state: StateDir) -> list[RunDir]:
    try:
        return [RunDir(entry) for entry in sorted((state.root / "shells").iterdir())]
    except FileNotFoundError:
        return []
