"""`launch save IMAGE -o PATH`: an image of the store as a file or directory that other tools read."""

from __future__ import annotations

import errno
import os
import secrets
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import BinaryIO

from launcher.cli import render
from launcher.cli.command import Options
from launcher.errors import ConfigError
from runtime.oci.image_documents import REF_NAME
from runtime.state_dir import state_dir
from runtime.store.failures import store_errors
from runtime.store.records import Image
from runtime.store.save import annotations_of, docker_archive, export_oci_layout, oci_archive
from runtime.store.store import Store


def save_image(options: Options) -> int:
    store = Store(state_dir().store)
    image = store.image(options.image)
    with_names = next((each for each in store.images() if each.digest == image.digest), image)
    names = [options.image] if options.image in with_names.names else list(with_names.names)
    held = store.hold(image)
    _save(image, store, options.output, options.format or _format_of(options.output), names)
    del held
    if options.output != "-":
        print(image.digest)
        if not options.quiet:
            render.say(f"saved {', '.join(names) or image.digest.short} to `{options.output}`: {render.size(image.size_bytes)}")
    return 0


def _format_of(output: str) -> str:
    return "oci" if output != "-" and (output.endswith("/") or Path(output).is_dir()) else "docker-archive"


def _save(image: Image, store: Store, output: str, form: str, names: Sequence[str]) -> None:
    if form == "oci":
        if output == "-":
            raise ConfigError("a directory cannot be written to stdout", hint="`--format oci-archive` is a stream")
        for name in names or ["latest"]:
            annotations = annotations_of(name) if names else {}
            export_oci_layout(image, store, Path(output), tag=annotations.pop(REF_NAME, name), annotations=annotations)
        return
    chunks = (oci_archive if form == "oci-archive" else docker_archive)(image, store, names=names)
    if output == "-":
        _to_stdout(chunks)
    else:
        _to_file(chunks, Path(output))


def _to_stdout(chunks: Iterable[bytes]) -> None:
    if sys.stdout.isatty():
        raise ConfigError("an image is not written to a terminal", hint="`-o FILE`, or a pipe into `podman load`")
    sys.stdout.flush()
    sys.stdout.buffer.writelines(chunks)
    sys.stdout.buffer.flush()


def _to_file(chunks: Iterable[bytes], path: Path) -> None:
    """*path* has the old content or all of the new."""
    if path.is_dir():
        raise ConfigError(f"`{path}` is a directory", hint="`--format oci` writes into one")
    if not path.parent.is_dir():
        raise ConfigError(f"there is no directory `{path.parent}` to write `{path.name}` into")
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    with store_errors(f"cannot write `{path}`"):
        try:
            with _new_file(partial) as file:
                file.writelines(chunks)
                file.flush()
                os.fsync(file.fileno())
                if not partial.exists():
                    directory = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
                    try:  # with a descriptor of a directory this is linkat(2), which follows the link in /proc
                        os.link(f"/proc/self/fd/{file.fileno()}", partial, src_dir_fd=directory)
                    finally:
                        os.close(directory)
            os.replace(partial, path)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise


def _new_file(partial: Path) -> BinaryIO:
    """A file without a name, which is gone whatever ends us; under the name *partial* where the file system has no such."""
    try:
        return open(os.open(partial.parent, os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC, 0o666), "wb")
    except OSError as error:
        if error.errno not in (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL, errno.ENOENT):
            raise
        return open(partial, "xb")
