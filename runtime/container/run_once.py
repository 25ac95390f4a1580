"""Run one program in a container to its end and keep the end of what it said: build steps."""

from __future__ import annotations

import os
import select
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack

from runtime.container import lifecycle
from runtime.container.spec import ContainerSpec, ProcessExit
from runtime.kernel import id_maps
from runtime.kernel.id_maps import IdMapKind
from runtime.rootfs.overlay import STRATEGIES, UPPER, OverlayStrategy
from runtime.rootfs.shifted_copy import shift_owners
from runtime.rootfs.targets import remove_made

OWNER_NOTES = "owners.json"
"""Beside the writable directory: owners that are noted nowhere else (`runtime.layer.noted_owners`)."""

_TAIL_BYTES = 64 * 1024
_CHUNK = 1 << 16


class _Tail:
    """The last bytes of a stream."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._held = bytearray()

    def add(self, chunk: bytes) -> None:
        self._held += chunk
        if len(self._held) > 2 * self._limit:
            del self._held[: -self._limit]

    def content(self) -> bytes:
        return bytes(self._held[-self._limit :])


def run_to_completion(
    spec: ContainerSpec,
    *,
    timeout_s: float | None = None,
    output: Callable[[bytes], None] | None = None,
    env: dict[str, str] | None = None,
    stdin: int | None = None,
    kinds: Sequence[IdMapKind] = tuple(IdMapKind),
    strategies: Sequence[OverlayStrategy] = STRATEGIES,
) -> tuple[ProcessExit, bytes]:
    """Run *spec* to its end: how it ended, and the last 64 KiB of stdout and stderr together.

    *env* comes on top of the spec's and is nowhere but in the program; *stdin* is a descriptor. *output* gets everything as it
    comes. Its cgroup and network are made and removed here; the overlay's `u` is left with what the program changed (mount points
    that we made and that are still empty are taken out again). After *timeout_s* everything in it is killed (the result says
    signal 9). When this process is killed the container ends too; its cgroup is removed by the next one who comes here.
    """
    from runtime.cgroup.own_cgroups import new_cgroup, own_name, sweep_abandoned

    with ExitStack() as owned:
        cgroup = owned.enter_context(new_cgroup(own_name(spec.container_id), spec.limits))
        sweep_abandoned(cgroup)
        if spec.network == "bridge":
            owned.callback(_disconnect, spec.container_id)
        container = lifecycle.create(spec, exit_record=None, cgroup=cgroup, stdin=stdin, kinds=kinds, strategies=strategies)
        owned.callback(container.close)
        owned.callback(_end, container)
        lifecycle.start(container, env=env)
        tail = _follow(container, timeout_s, output)
        ended = lifecycle.wait(container)
        if container.strategy is OverlayStrategy.SHIFTED:
            uid, gid = id_maps.choose(kinds=kinds).process_owner(0, 0) or (0, 0)
            shift_owners(spec.overlay_dir / UPPER, -uid, -gid)
        remove_made(spec.overlay_dir / UPPER, container.made)
        (spec.overlay_dir / OWNER_NOTES).write_bytes(lifecycle.owner_notes(container))
        return ended, tail


def _end(container: lifecycle.Container) -> None:
    """Whatever happened: nothing of the container runs any more."""
    lifecycle.kill(container)
    lifecycle.wait(container)


def _disconnect(container_id: str) -> None:
    from runtime.network.bridge import disconnect_soon

    disconnect_soon(container_id)


def _follow(container: lifecycle.Container, timeout_s: float | None, output: Callable[[bytes], None] | None) -> bytes:
    """Read the output until the container has ended and nothing is left in the pipes."""
    tail = _Tail(_TAIL_BYTES)
    deadline = None if timeout_s is None else time.monotonic() + timeout_s
    poller = select.poll()
    for fd in (container.stdout_fd, container.stderr_fd, container.pidfd):
        poller.register(fd, select.POLLIN)
    # Not until the end of the pipes: a process that another thread forks meanwhile may hold a copy of their write ends.
    ended = False
    while not ended:
        wait_ms = None if deadline is None else max(0.0, (deadline - time.monotonic()) * 1000) + 1
        ready = {fd for fd, _event in poller.poll(wait_ms)}
        if deadline is not None and time.monotonic() >= deadline:
            deadline = None
            lifecycle.kill(container)
        ended = ready == {container.pidfd}
        for pipe in ready - {container.pidfd}:
            chunk = os.read(pipe, _CHUNK)
            if not chunk:
                poller.unregister(pipe)
                continue
            tail.add(chunk)
            if output is not None:
                output(chunk)
    return tail.content()
