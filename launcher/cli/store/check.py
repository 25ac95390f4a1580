"""`launch store check`: is everything in the store what its name says? And put right, where it isn't."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Sequence

from launcher.cli import render
from runtime.plurals import counted
from runtime.state_dir import StateDir, state_dir
from runtime.store.check import Problem, check
from runtime.store.store import Store

_SAY_AFTER_S = 2.0


def check_store(*, repair: bool, as_json: bool) -> int:
    state = state_dir()
    store = Store(state.store)
    problems = check(store, looked_at=_progress())
    if as_json:
        document = [{"kind": problem.kind, "digest": str(problem.digest), "what": problem.what} for problem in problems]
        render.print_json(document)
    else:
        for problem in problems:
            print(f"{problem.kind}  {problem.digest.short}  {problem.what}")
    damaged = [problem for problem in problems if problem.kind != "incomplete image"]
    render.say(f"{counted(len(store.layers()), 'layer')}, {counted(len(store.image_digests()), 'image')}: {len(damaged)} damaged")
    if not problems:
        return 0
    if not repair:
        render.say("`launch store check --repair` makes again what is damaged")
        return 1
    return _repair(problems, store, state)


def _repair(problems: Sequence[Problem], store: Store, state: StateDir) -> int:
    from launcher.plan.images.repair import repair
    from launcher.run.images_in_use import images_in_use

    done = repair(problems, store, state=state, environ=os.environ, in_use=images_in_use(state), say=render.say)
    for line in done.left:
        print(line)
    return 1 if done.left else 0


def _progress() -> Callable[[int, int], None] | None:
    """How far it is, for who waits at a terminal."""
    if not sys.stderr.isatty():
        return None
    last = time.monotonic()

    def looked_at(done: int, total: int) -> None:
        nonlocal last
        if time.monotonic() - last > _SAY_AFTER_S:
            last = time.monotonic()
            render.say(f"{done} of {total} looked at")

    return looked_at
