"""Options of `docker build` that stand in people's Makefiles: those that change nothing here, and those that can't be had, each
with the way out."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from launcher.cli import arguments as args
from launcher.errors import ConfigError, LaunchError
from runtime.oci.digest import Digest

_SWITCHES = ("--rm", "--force-rm", "--load", "--push", "--no-cache", "--pull", "--quiet", "--provenance", "--sbom")
_TRUE, _FALSE = ("1", "t", "true"), ("0", "f", "false")

_CACHE = "the store is the cache of this machine; push what builds elsewhere shall begin with, and name it in FROM"
_OUTPUT = "the image is in the store; `launch save IMAGE -o FILE` writes it to a file or directory"
_INSTEAD = {
    "--output": _OUTPUT,
    "-o": _OUTPUT,
    "--cache-from": _CACHE,
    "--cache-to": _CACHE,
    "--ssh": "a build has no agent; `--secret id=key,src=FILE` with `RUN --mount=type=secret,id=key` hands a key in",
    "--provenance": "leave it out: `launch images show` says what an image was made from, `launch verify` makes it again",
    "--sbom": "leave it out: every image has one, `launch images sbom IMAGE` prints it",
    "--squash": "leave it out: what one RUN makes and removes is in no layer",
    "--build-context": "what a stage is `FROM`, or what lies in the context, can be copied from",
    "--add-host": "the names that this machine knows count in a build, as in its `/etc/hosts`",
}


class _Refuse(argparse.Action):
    """An option that can't be had."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        assert option_string is not None
        raise ConfigError(f"`{option_string}` is not supported", hint=_INSTEAD[option_string])


def plain_switches(arguments: Sequence[str]) -> list[str]:
    """*arguments* with `--rm=true` as `--rm`, and without `--rm=false`: Docker's switches take a value behind `=`."""
    plain: list[str] = []
    for number, argument in enumerate(arguments):
        if argument == "--":
            return [*plain, *arguments[number:]]
        name, equals, value = argument.partition("=")
        if name not in _SWITCHES or not equals or value.lower() not in (*_TRUE, *_FALSE):
            plain.append(argument)
        elif value.lower() in _TRUE:
            plain.append(name)
    return plain


def add_docker_flags(parser: args.Parser) -> None:
    """All of them."""
    group = parser.add_argument_group("as `docker build` has them")
    group.add_argument("--iidfile", type=Path, metavar="FILE", help="write the image's digest to FILE")
    group.add_argument("--push", action="store_true", help="push each `-t NAME` when the image is built")
    group.add_argument(
        "--progress",
        choices=["auto", "plain", "tty", "quiet", "rawjson"],
        metavar="HOW",
        help="changes nothing, except `quiet`, which is `-q`",
    )
    for name in ("--rm", "--force-rm", "--load"):
        group.add_argument(name, action="store_true", help="changes nothing: " + _always(name))
    for name in _INSTEAD:
        parser.add_argument(name, action=_Refuse, nargs="?", help=argparse.SUPPRESS)


def _always(name: str) -> str:
    return "every image is in the store" if name == "--load" else "no container of a build stays"


def write_iidfile(path: Path, digest: Digest) -> None:
    """What `--iidfile` asks for: the digest alone, without a line end."""
    try:
        path.write_text(digest, encoding="ascii")
    except OSError as error:
        raise LaunchError(f"the image {digest.short} is built, but `{path}` cannot be written: {error.strerror}") from error
