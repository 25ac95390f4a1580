"""The end of a container: what is left of it is killed and removed, and its poststop hooks run."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress

from runtime.errors import ContainerError, RuntimeFailure
from runtime.oci.runtime_config import RuntimeConfig
from runtime.oci_runtime import record
from runtime.oci_runtime.cgroups import bundle_cgroup
from runtime.oci_runtime.diagnostics import Diagnostics
from runtime.oci_runtime.hooks import run_every_hook
from runtime.oci_runtime.record import Record

_ENDS_WITHIN_S = 10.0


def destroy(container: Record, config: RuntimeConfig | None, diagnostics: Diagnostics) -> None:
    """Kill what still runs, remove the cgroup, run the poststop hooks, forget the container."""
    _kill(container)
    if container.cgroups:
        bundle_cgroup.kill(container.cgroups, signal.SIGKILL)
        try:
            bundle_cgroup.remove(container.cgroups)
        except ContainerError as error:
            diagnostics.warning(error.message)
    if config is not None and config.hooks.poststop:
        state = container.state(status=record.STOPPED)
        for failed in run_every_hook(config.hooks.poststop, "poststop", state, cwd=container.bundle or None):
            diagnostics.warning(failed)
    container.remove()


def _kill(container: Record) -> None:
    if container.pid == 0:
        return
    with suppress(RuntimeFailure):
        container.signal(signal.SIGKILL)
        # v1: what is frozen doesn't even die.
        bundle_cgroup.thaw(container.pid)
    deadline = time.monotonic() + _ENDS_WITHIN_S
    while container.alive() and time.monotonic() < deadline:
        time.sleep(0.002)
    with suppress(ChildProcessError):  # ours only where `create` or `run` failed
        os.waitpid(container.pid, os.WNOHANG)
