"""`launch load PATH`: the images of a file or directory into the store, under the names that they have there."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from launcher.cli import render
from launcher.cli.arguments import Talk
from launcher.cli.command import Options
from launcher.cli.progress import passing_progress
from launcher.errors import ConfigError
from launcher.plan.bases.debian_record import debian_architecture
from runtime.build.images.import_image import Loaded, load_images
from runtime.build.observer import NullObserver
from runtime.state_dir import state_dir
from runtime.store.failures import store_errors
from runtime.store.store import Store

_CHUNK = 1 << 20


def load_from(options: Options) -> int:
    store = Store(state_dir().ensure().store)
    with _file(options.path, store) as path:
        with passing_progress(Talk.of(options, quiet=options.json)) as observer:
            loaded = load_images(path, store, observer=observer or NullObserver(), architecture=debian_architecture())
    if options.name is not None:
        if len(loaded) != 1:
            raise ConfigError(f"`{options.path}` holds {len(loaded)} images, so none of them can be called `{options.name}`")
        store.name_image(loaded[0].image, options.name)
        loaded = [Loaded(loaded[0].image, (*loaded[0].names, options.name))]
    if options.json:
        render.print_json([_document(each) for each in loaded])
        return 0
    for each in loaded:
        print(f"{each.image.digest}  {', '.join(each.names) or '-'}  {render.size(each.image.size_bytes)}")
    return 0


@contextmanager
def _file(text: str, store: Store) -> Iterator[Path]:
    """The path that was named; what comes on stdin is kept in a file meanwhile, since its members are found by seeking."""
    if text != "-":
        if not Path(text).exists():
            raise ConfigError(f"there is no file or directory `{text}`")
        yield Path(text)
        return
    if sys.stdin.isatty():
        raise ConfigError("stdin is a terminal", hint="`docker save IMAGE | launch load -`")
    with store.staging() as scratch, tempfile.NamedTemporaryFile(dir=scratch) as file:
        with store_errors("cannot keep what comes on stdin"):
            while chunk := sys.stdin.buffer.read(_CHUNK):
                file.write(chunk)
            file.flush()
        yield Path(file.name)


def _document(loaded: Loaded) -> dict[str, object]:
    return {
        "image_digest": str(loaded.image.digest),
        "image_id": loaded.image.manifest["config"]["digest"],
        "names": list(loaded.names),
    }
