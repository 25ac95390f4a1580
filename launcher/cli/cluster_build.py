"""An image built by a job of a cluster, watched as a build on this machine is (`cluster.build: job`)."""

from __future__ import annotations

import os
import time

from launcher.cli import render
from launcher.cluster.build_job import EventReader
from launcher.cluster.build_submission import SubmittedBuild, submit_build
from launcher.cluster.engine import JobPhase, JobStatus, PollPace
from launcher.errors import ConfigError, LaunchError
from launcher.plan.launch_plan import LaunchPlan
from runtime.build.cache_key import plan_key
from runtime.build.observer import BuildObserver, NullObserver
from runtime.state_dir import StateDir
from runtime.store.store import Store

_LOOK_S = 0.1
_SEEN_WITHIN_S = 60.0
"""How long an NFS client may believe in an old directory (nfs(5), `acdirmax`)."""

_LAST_WORDS_WITHIN_S = 5.0


def build_in_job(plan: LaunchPlan, state: StateDir, *, observer: BuildObserver | None) -> None:
    """Have the image of *plan* in the store, which a job makes when it is missing. Raises what the build raised there."""
    if plan.spec.cluster.kind == "local":
        raise ConfigError("`cluster.build: job` needs a cluster", hint="`cluster=slurm`, or `cluster.build=here`")
    store, key = Store(state.store), plan_key(plan.build)
    if store.find_image(key) is not None:
        return
    with submit_build(plan, state) as build:
        if observer is not None:
            render.say(f"the image is built by {build.engine.name} job {build.job}")
        _watch(build, plan, observer or NullObserver())
    deadline = time.monotonic() + _SEEN_WITHIN_S
    while store.find_image(key) is None and time.monotonic() < deadline:
        for name in ("plans", "images", "layers"):
            os.listdir(store.root / name)  # asks the server anew
        time.sleep(_LOOK_S)


def _watch(build: SubmittedBuild, plan: LaunchPlan, observer: BuildObserver) -> None:
    reader, poll = EventReader(build.events, plan.build), _JobPoll(build)
    while not reader.replay(observer):
        status = poll.status()
        if status is not None and status.is_over:
            _last_words(build, reader, observer, status)
            return
        if status is not None and status.phase is JobPhase.PENDING and status.why and not isinstance(observer, NullObserver):
            poll.tell(f"{render.styled('waiting', 'yellow')}: the build's job {build.job}: {status.why}")
        time.sleep(_LOOK_S)


def _last_words(build: SubmittedBuild, reader: EventReader, observer: BuildObserver, status: JobStatus) -> None:
    """The job is over: what it wrote last may still be on its way. Raises LaunchError when it wrote nothing."""
    deadline = time.monotonic() + _LAST_WORDS_WITHIN_S
    while time.monotonic() < deadline:
        if reader.replay(observer):
            return
        time.sleep(_LOOK_S)
    ended = "is over" if status.end is None else f"ended: {status.end}"
    raise LaunchError(f"{build.engine.name} job {build.job}, which was to build the image, {ended}", hint=_log_words(build))


def _log_words(build: SubmittedBuild) -> str:
    try:
        lines = build.log.read_text(errors="replace").strip().splitlines()[-5:]
    except OSError:
        lines = []
    return "it said: " + " / ".join(lines) if lines else f"it said nothing (`{build.log}`)"


class _JobPoll:
    """How the job stands, asked seldom. Silence is asked again."""

    def __init__(self, build: SubmittedBuild) -> None:
        self._build = build
        self._pace = PollPace()
        self._told: str | None = None

    def status(self) -> JobStatus | None:
        if not self._pace.is_due():
            return None
        try:
            found = self._build.engine.poll([self._build.job])[self._build.job]
        except LaunchError as error:
            self.tell(error.message)
            found = None
        self._pace.note_poll()
        return found

    def tell(self, words: str) -> None:
        if words != self._told:
            render.say(words)
        self._told = words
