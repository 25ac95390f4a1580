"""`launch load PATH`: the images of a file or directory into the store, under the names that they have there."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from launcher.cli import arguments as args
from launcher.cli import render
from launcher.errors import ConfigError
from launcher.plan.bases.debian_record import debian_architecture
from runtime.build.images.import_image import Loaded, load_images
from runtime.state_dir import state_dir
from runtime.store.failures import store_errors
from runtime.store.store import Store

_CHUNK = 1 << 20


def main(arguments: Sequence[str]) -> int:
    parser = args.Parser(
        "load",
        "Take the images in a file or directory into the store, and print their digests and names.",
        usage="PATH [--name NAME] [--json]",
        epilog="PATH is what `docker save`, `podman save`, skopeo, buildah and `launch save` write, compressed or not: an\n"
        "archive (`-`: from stdin), or the directory of an OCI image layout.",
    )
    parser.add_argument("path", metavar="PATH", help="an archive or a directory; `-` reads an archive from stdin")
    parser.add_argument("--name", metavar="NAME", help="call the image NAME, when there is only one")
    parser.add_argument("--json", action="store_true", help="image_digest, image_id and names of each as JSON on stdout")
    parser.add_argument("-q", "--quiet", action="store_true", help="nothing on stderr but errors")
    args.add_debug_options(parser)
    options = parser.parse_args(arguments)
    args.apply_debug(options)
    store = Store(state_dir().ensure().store)
    with _file(options.path, store) as path:
        loaded = _load(path, store, quiet=options.quiet or options.json)
    if options.name is not None:
        if len(loaded) != 1:
            raise ConfigError(f"`{options.path}` holds {len(loaded)} images, so none of them can be called `{options.name}`")
        store.name_image(loaded[0].image, options.name)
        loaded = [Loaded(loaded[0].image, (*loaded[0].names, options.name))]
    if options.json:
        json.dump([_document(each) for each in loaded], sys.stdout, indent=2)
        print()
        return 0
    for each in loaded:
        size = render.size(sum(layer.size_bytes for layer in each.image.layers))
        print(f"{each.image.digest}  {', '.join(each.names) or '-'}  {size}")
    return 0


def _load(path: Path, store: Store, *, quiet: bool) -> list[Loaded]:
    from launcher.cli.progress import BuildProgress
    from runtime.build.observer import NullObserver

    architecture = debian_architecture()
    if quiet:
        return load_images(path, store, observer=NullObserver(), architecture=architecture)
    progress = BuildProgress(())
    try:
        return load_images(path, store, observer=progress, architecture=architecture)
    finally:
        progress.close()


@contextmanager
def _file(text: str, store: Store) -> Iterator[Path]:
    """The path that was named; what comes on stdin is kept in a file meanwhile, since its members are found by seeking."""
    if text != "-":
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
