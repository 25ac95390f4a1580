"""The runs that one can look into: those whose program runs now. Everything else is refused with the reason."""

from __future__ import annotations

import os
import socket

from launcher.errors import ConfigError
from launcher.run.recover import recover
from launcher.tracking.record.find_runs import find_run
from launcher.tracking.record.run_nodes import on_node
from launcher.tracking.record.run_record import RunRecord, fold
from runtime.cgroup.freezer import is_frozen
from runtime.cgroup.own_cgroups import open_cgroup
from runtime.light_dataclasses import replace
from runtime.state_dir import StateDir


def find_own_run(state: StateDir, reference: str) -> RunRecord:
    """`find_run` among runs that may be another's. A run without a supervisor gets one."""
    try:
        record = find_run(state, reference)
        # Root may look into another's run, and is not to become its supervisor.
        if record.exit_code is None and record.run_dir.root.stat().st_uid == os.geteuid():
            recover(record.run_dir)
    except PermissionError as error:
        raise ConfigError(
            f"the runs in `{state.root}` are not yours: `{error.filename or state.runs}` can't be opened",
            hint="LAUNCH_HOME names the directory whose runs you mean; only its owner and root may look into them",
        ) from error
    return record


def running_or_waiting(state: StateDir, reference: str) -> RunRecord:
    """The run that *reference* means, which has not ended. Raises ConfigError for one that has."""
    record = find_own_run(state, reference)
    if record.exit_code is not None and record.is_sweep:
        hint = f"`launch sweep show {record.run_id}` shows what it found, `launch resume {record.run_id}` goes on with it"
        if not record.run_dir.sweep.exists():  # a Hydra program's
            hint = f"`launch logs {record.run_id}` lists its jobs"
        raise ConfigError(f"sweep `{record.run_id}` has ended ({record.reason})", hint=hint)
    if record.exit_code is not None:
        raise ended_error(record)
    if not record.alive and (fold(record.run_dir) or record).exit_code is not None:
        raise ConfigError(f"run `{record.run_id}` has ended: nothing of it was left")
    return record


def ended_error(record: RunRecord) -> ConfigError:
    """For who wants to be in *record*. A container to work in leaves nothing to open, and the next one tells of it."""
    if record.run_dir.is_dev:
        return ConfigError(
            f"container `{record.run_id}` has ended ({record.reason})",
            hint=f"`launch dev experiment={record.experiment}` makes another, and tells what was in this one",
        )
    return ConfigError(
        f"run `{record.run_id}` has ended ({record.reason})",
        hint=f"`launch shell {record.run_id}` opens what it left, `launch logs {record.run_id}` shows what it said",
    )


def living_run(state: StateDir, reference: str, *, node: int = 0) -> RunRecord:
    """The run that *reference* means, whose program runs, as *node* has it. Raises ConfigError for one that has ended or not
    begun, and one that runs elsewhere."""
    record = running_or_waiting(state, reference)
    if record.is_sweep:
        hint = f"name one of its trials: `launch ps` lists those that run; `launch attach {record.run_id}` watches all"
        raise ConfigError(f"sweep `{record.run_id}` has no container", hint=hint)
    if node or len(record.nodes) > 1:
        record = _as_on(record, node)
    if record.job is not None and record.host != socket.gethostname():
        which = f" (node {node})" if len(record.nodes) > 1 else ""
        raise ConfigError(
            f"run `{record.run_id}` runs on `{record.host}`{which}, as job {record.job}",
            hint=f"look into it there; `launch logs -f {record.run_id}` and `launch stop {record.run_id}` work from here",
        )
    if record.started_at is None:
        raise ConfigError(
            f"run `{record.run_id}` has not started yet: it is {record.phase}", hint="`launch ps` shows what it waits for"
        )
    return record


def refuse_paused(record: RunRecord) -> None:
    """Who is to run something in it would wait for ever. Raises ConfigError."""
    if is_frozen(open_cgroup(record.run_dir.cgroup_name)):
        raise ConfigError(f"run `{record.run_id}` is paused", hint=f"`launch unpause {record.run_id}` lets it go on")


def _as_on(record: RunRecord, node: int) -> RunRecord:
    """The record with the directory, host and GPUs that the run has on one of its nodes."""
    run_dir = on_node(record.run_dir, node)
    known = next((each for each in record.nodes if each["node"] == node), None)
    if known is None:
        raise ConfigError(
            f"run `{record.run_id}` has not started on node {node} yet", hint="`launch ps` names those that it runs on"
        )
    if known.get("reason") is not None:
        raise ConfigError(f"run `{record.run_id}` has ended on node {node} ({known['reason']}) and goes on on others")
    return replace(record, run_dir=run_dir, host=known.get("host"), gpus=tuple(known.get("gpus") or ()))
