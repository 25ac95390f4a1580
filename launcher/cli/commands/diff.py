"""`launch diff A B`: what differs between two runs, or between two images. Printing: `diff_runs.py`, `diff_images.py`."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from launcher.cli import arguments as args
from launcher.errors import ConfigError
from launcher.tracking.record.run_record import RunRecord, find_run
from runtime.errors import StoreError
from runtime.state_dir import StateDir, state_dir
from runtime.store.records import Image
from runtime.store.store import Store


def main(arguments: Sequence[str]) -> int:
    parser = args.Parser(
        "diff",
        "Show what differs between two runs: configuration, code, packages, data, machine, metrics; or between two images.",
        usage="RUN RUN | IMAGE IMAGE [--files] [--json]",
    )
    parser.add_argument(
        "things", nargs=2, metavar="RUN|IMAGE", help="a run (id, name, @last, MLflow id), or an image (digest, name)"
    )
    parser.add_argument("--files", action="store_true", help="images: every path, also those below an added or removed directory")
    parser.add_argument("--json", action="store_true", help="as JSON on stdout")
    args.add_debug_options(parser)
    options = parser.parse_args(arguments)
    args.apply_debug(options)
    before, after = (_found(state_dir(), reference) for reference in options.things)
    if isinstance(before, RunRecord) and isinstance(after, RunRecord):
        from launcher.cli.runs.difference import diff_runs

        return diff_runs(before, after, as_json=options.json)
    if isinstance(before, Image) and isinstance(after, Image):
        from launcher.cli.images.difference import diff_images

        return diff_images(before, after, Store(state_dir().store), all_files=options.files, as_json=options.json)
    run, image = options.things if isinstance(before, RunRecord) else options.things[::-1]
    raise ConfigError(
        f"`{run}` is a run, `{image}` an image", hint="compare two of a kind; `launch runs show RUN` names a run's image"
    )


def _found(state: StateDir, reference: str) -> RunRecord | Image:
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
