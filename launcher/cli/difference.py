"""`launch diff A B`: what differs between two runs, or between two images.

Printing: `runs/difference.py`, `images/difference.py`.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from launcher.errors import ConfigError
from launcher.tracking.record.find_runs import find_run
from launcher.tracking.record.run_record import RunRecord
from runtime.errors import StoreError
from runtime.state_dir import StateDir, state_dir
from runtime.store.records import Image
from runtime.store.store import Store


def show_difference(first: str, second: str, *, all_files: bool, as_json: bool) -> int:
    before, after = (_run_or_image(state_dir(), reference) for reference in (first, second))
    if isinstance(before, RunRecord) and isinstance(after, RunRecord):
        from launcher.cli.runs.difference import diff_runs

        if before.is_sweep is not after.is_sweep:
            run, sweep = (second, first) if before.is_sweep else (first, second)
            hint = "`launch sweep show SWEEP` lists its trials, which are runs"
            raise ConfigError(f"`{run}` is a run, `{sweep}` a sweep", hint=hint)
        return diff_runs(before, after, as_json=as_json)
    if isinstance(before, Image) and isinstance(after, Image):
        from launcher.cli.images.difference import diff_images

        return diff_images(before, after, Store(state_dir().store), all_files=all_files, as_json=as_json)
    run, image = (first, second) if isinstance(before, RunRecord) else (second, first)
    raise ConfigError(
        f"`{run}` is a run, `{image}` an image", hint="compare two of a kind; `launch runs show RUN` names a run's image"
    )


def _run_or_image(state: StateDir, reference: str) -> RunRecord | Image:
    """What may be either is a run where it has the form of an id, and else an image: experiments give their names to images."""
    looks: list[Callable[[], RunRecord | Image]] = [
        lambda: find_run(state, reference),
        lambda: Store(state.store).image(reference),
    ]
    if not re.fullmatch(r"@.*|[0-9a-f]+", reference):
        looks.reverse()
    refusals = []
    for look in looks:
        try:
            return look()
        except (ConfigError, StoreError) as error:
            refusals.append(error.message)
    neither = ConfigError(
        f"`{reference}` is neither a run nor an image", hint="`launch runs` and `launch images` list what there is"
    )
    for words in refusals:
        neither.add_note(words)
    raise neither
