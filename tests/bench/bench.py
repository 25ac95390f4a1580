"""Who is measured: launch, and the peers that are here."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from launches import Launch
from paired import Case
from peers import Engine


class Bench(NamedTuple):
    launch: Launch
    scratch: Path
    """An empty directory on the disk of the state directory, gone afterwards."""
    docker: Engine | str
    podman: Engine | str
    """Or the reason why it isn't there."""


def beside(engine: Engine | str, case: Callable[[Engine], Case]) -> Case | str:
    """The case of a peer that is here; else why it isn't."""
    return engine if isinstance(engine, str) else case(engine)
