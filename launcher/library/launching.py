"""What makes runs, for programs: each is the command of `launch` that a person would type, and returns when its run has begun."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from launcher.errors import NotReproduced
from launcher.library.command import do, hints_shown
from launcher.library.override_words import Override, override_words
from launcher.library.runs import Run, Sweep, get_run


@hints_shown()
def launch(
    experiment: str,
    *overrides: Override,
    project: Path | str | None = None,
    requirements: Sequence[str] = (),
    command: Sequence[str] | None = None,
    name: str | None = None,
    note: str | None = None,
    quiet: bool = False,
) -> Run:
    """Launch *experiment* of the directory *project* (ours without one), as `launch -d experiment=NAME …` does. Returns when the
    image is built and the run is handed over, not when it has ended.

    *overrides*: `{"params.lr": 0.1}`, or text in Hydra's grammar. *requirements*: as `--with`. *command*: another one than the
    experiment's. Raises ConfigError for what is wrong with the request, LaunchError for what went wrong.
    """
    words = _request(experiment, override_words(overrides), requirements, command, name=name, note=note)
    return Run(do(["run", "--detach", *words], project=project, quiet=quiet).strip())


@hints_shown()
def launch_sweep(
    experiment: str,
    *overrides: Override,
    project: Path | str | None = None,
    requirements: Sequence[str] = (),
    command: Sequence[str] | None = None,
    name: str | None = None,
    note: str | None = None,
    quiet: bool = False,
) -> Sweep:
    """Launch a sweep, as `launch -d -m experiment=NAME …` does. A list among the *overrides* are values to try:
    `{"params.lr": [0.1, 0.01]}`; a list that is one value stands in another. Else as `launch`."""
    words = _request(experiment, override_words(overrides, swept=True), requirements, command, name=name, note=note)
    return Sweep(do(["run", "--multirun", "--detach", *words], project=project, quiet=quiet).strip())


@hints_shown()
def plan_launch(
    experiment: str,
    *overrides: Override,
    project: Path | str | None = None,
    requirements: Sequence[str] = (),
    command: Sequence[str] | None = None,
    quiet: bool = False,
) -> dict[str, Any]:
    """What `launch` would build and run: what `launch plan --json` prints. Nothing is touched."""
    words = _request(experiment, override_words(overrides), requirements, command)
    planned: dict[str, Any] = json.loads(do(["plan", "--json", *words], project=project, quiet=quiet))
    return planned


@hints_shown()
def rerun(
    run: Run | str,
    *overrides: Override,
    verify: bool = False,
    rtol: float = 0.0,
    requirements: Sequence[str] = (),
    name: str | None = None,
    quiet: bool = False,
) -> Run:
    """Run the recorded plan of *run* again, in the same image, as `launch rerun` does.

    With *verify* it waits for the end, and raises NotReproduced unless the same metrics and outputs came out; *rtol*: by how much
    of its value a metric may differ.
    """
    before = run if isinstance(run, Run) else get_run(run)
    words = [*override_words(overrides), *_options(requirements, name=name)]
    after = Run(do(["rerun", "--detach", before.id, *words], quiet=quiet).strip())
    if verify:
        after.wait()
        _refuse_difference(before, after, rtol=rtol)
    return after


def _refuse_difference(before: Run, after: Run, *, rtol: float) -> None:
    from launcher.run.compare.compare import compare
    from launcher.run.compare.verdict_words import hint_of, verdict_words

    comparison = compare(before.fold(), after.fold(), rtol=rtol)
    if comparison.is_verified:
        return
    failure = NotReproduced(f"rerun {after.id} of {before.id}: {verdict_words(comparison)}", hint=hint_of(comparison))
    for cause in comparison.causes:
        failure.add_note(f"differs: {cause.text}")
    raise failure


def _request(
    experiment: str, overrides: Sequence[str], requirements: Sequence[str], command: Sequence[str] | None, **named: str | None
) -> list[str]:
    behind = [] if command is None else ["--", *command]
    return [f"experiment={experiment}", *overrides, *_options(requirements, **named), *behind]


def _options(requirements: Sequence[str], **named: str | None) -> list[str]:
    given = [f"--{name}={text}" for name, text in named.items() if text is not None]
    return [*(f"--with={requirement}" for requirement in requirements), *given]
