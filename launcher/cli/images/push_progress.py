"""A push for whoever watches: a line for each layer that was sent (--verbose: for each), on a terminal how far the others are."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from launcher.cli import render
from launcher.cli.arguments import Talk
from launcher.cli.progress import BuildProgress
from runtime.plurals import counted
from runtime.registry.layer_push import How, PushedLayer

_STYLES = {How.SENT: "green", How.MOUNTED: "green", How.THERE: "dim"}


class PushProgress:
    """The PushObserver of the command line. Called from several threads."""

    def __init__(self, lines: BuildProgress | None, *, verbose: bool = False) -> None:
        self._verbose = verbose
        self._lines = lines
        self._layers: dict[str, PushedLayer] = {}

    def layer_pushed(self, label: str, layer: PushedLayer) -> None:
        self._layers[layer.diff_id] = layer
        if self._lines is None:
            return
        self._lines.download(label, layer.descriptor.size, layer.descriptor.size)
        if layer.how is How.SENT or self._verbose:
            how = render.styled(layer.how.value, _STYLES[layer.how])
            self._lines.message(f"{how}{' ' * (8 - len(layer.how))}{label}  {render.size(layer.descriptor.size)}")

    def sending(self, label: str, sent_bytes: int, size_bytes: int) -> None:
        if self._lines is not None:
            # The line stays until the registry has said yes.
            self._lines.download(label, min(sent_bytes, size_bytes - 1), size_bytes)

    def summary(self, seconds: float) -> str:
        """`2 layers sent (12 MB), 14 there, 1.2 s`."""
        sent = [layer for layer in self._layers.values() if layer.how is How.SENT]
        parts = [f"{counted(len(sent), 'layer')} sent ({render.size(sum(layer.descriptor.size for layer in sent))})"]
        for how, word in ((How.MOUNTED, "mounted"), (How.THERE, "there already")):
            count = sum(layer.how is how for layer in self._layers.values())
            parts += [f"{count} {word}"] if count else []
        return f"pushed: {', '.join(parts)}, {seconds:.1f} s"


@contextmanager
def push_progress(talk: Talk) -> Iterator[PushProgress]:
    """Show a push for the body."""
    if talk is Talk.QUIET:
        yield PushProgress(None)
        return
    begun = time.perf_counter()
    lines = BuildProgress()
    progress = PushProgress(lines, verbose=talk is Talk.VERBOSE)
    try:
        yield progress
    except BaseException:
        lines.close()
        raise
    lines.close(complete=True)
    render.say(progress.summary(time.perf_counter() - begun))
