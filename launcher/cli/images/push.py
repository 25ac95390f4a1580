"""`launch push EXPERIMENT|IMAGE REF`, `launch build --push`: an image under a name to the registry that the name says."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from launcher.cli import render
from launcher.cli.arguments import Request, Talk, has_experiment
from launcher.cli.command import Options
from launcher.cli.progress import BuildProgress
from launcher.cli.timings import Timings
from launcher.errors import ConfigError, Origin
from runtime.errors import BadContent, StoreError
from runtime.oci.reference import Remote, parse_reference
from runtime.plurals import counted
from runtime.registry import push as registry_push
from runtime.registry.compress import Compression
from runtime.registry.known_places import place_name
from runtime.registry.layer_push import How, PushedLayer
from runtime.registry.push import Pushed
from runtime.state_dir import state_dir
from runtime.store.records import Image
from runtime.store.store import Store

_STYLES = {How.SENT: "green", How.MOUNTED: "green", How.THERE: "dim"}


def push_image(options: Options) -> int:
    *source, where = options.words
    target = push_target(where)
    talk = Talk.of(options, quiet=options.json)
    store = Store(state_dir().store)
    image = _image(source, store, options.config_dir, talk)
    compression = None if options.compression is None else Compression(options.compression)
    pushed = push_to(image, store, target, talk, compression=compression)
    name = place_name(pushed.reference)
    if options.json:
        render.print_json(_document(image, pushed, name))
    else:
        print(f"{name}@{pushed.digest}")
    return 0


def push_target(text: str) -> Remote:
    """Where *text* says that an image goes. Raises ConfigError when that is no place in a registry."""
    origin = Origin(override=text)
    try:
        reference = parse_reference(text)
    except BadContent as error:
        raise ConfigError(error.message, hint=error.hint, origin=origin) from error
    if not isinstance(reference, Remote):
        raise ConfigError(
            f"`{text}` is not in a registry", hint="`launch save` writes an image to a file or directory", origin=origin
        )
    if reference.digest is not None:
        raise ConfigError(
            "an image cannot be pushed under a digest that is chosen beforehand",
            hint=f"leave the digest out: `{text.partition('@')[0]}`; the registry's digest is printed",
            origin=origin,
        )
    return reference


def push_to(image: Image, store: Store, target: Remote, talk: Talk, *, compression: Compression | None) -> Pushed:
    """*image* at *target*, with a line for each layer that was sent unless it is quiet."""
    with _push_progress(talk) as observer:
        return registry_push.push_image(image, store, target, compression=compression, observer=observer)


class _PushProgress:
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
def _push_progress(talk: Talk) -> Iterator[_PushProgress]:
    """Show a push for the body."""
    if talk is Talk.QUIET:
        yield _PushProgress(None)
        return
    begun = time.perf_counter()
    lines = BuildProgress()
    progress = _PushProgress(lines, verbose=talk is Talk.VERBOSE)
    try:
        yield progress
    except BaseException:
        lines.close()
        raise
    lines.close(complete=True)
    render.say(progress.summary(time.perf_counter() - begun))


def _image(source: Sequence[str], store: Store, config_dir: Path | None, talk: Talk) -> Image:
    """The image that the words before REF mean: one of the store, or an experiment's, built when it has to be."""
    from launcher.config.project import list_experiments

    if any("=" in word for word in source):
        return _build(source, config_dir, talk)
    if len(source) > 1:
        raise ConfigError(f"`{' '.join(source)}` is more than one image", hint="`launch push IMAGE REF`")
    try:
        return store.image(source[0])
    except StoreError:
        experiments = list_experiments(config_dir=config_dir, cwd=Path.cwd(), environ=os.environ)
        if source[0] not in [each.name for each in experiments]:
            raise
    return _build([f"experiment={source[0]}"], config_dir, talk)


def _build(overrides: Sequence[str], config_dir: Path | None, talk: Talk) -> Image:
    from launcher.cli.prepare import prepare_image

    if not has_experiment(overrides):
        raise ConfigError("no experiment was chosen", hint="`launch push experiment=NAME REF`")
    request = Request(tuple(overrides), (), None, config_dir)
    return prepare_image(request, Timings(), talk=talk).image


def _document(image: Image, pushed: Pushed, name: str) -> dict[str, object]:
    return {
        "reference": name,
        "manifest_digest": str(pushed.digest),
        "image_digest": str(image.digest),
        "layers": [
            {
                "diff_id": str(layer.diff_id),
                "digest": str(layer.descriptor.digest),
                "media_type": layer.descriptor.media_type,
                "size_bytes": layer.descriptor.size,
                "how": layer.how.value,
            }
            for layer in pushed.layers
        ],
        "sent_bytes": pushed.sent_bytes,
        "seconds": pushed.seconds,
    }
