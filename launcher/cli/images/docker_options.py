"""The options of `docker build`: those that say what is built, those that change nothing here, and those that can't be had, each
with the way out."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from launcher.cli.arguments import SECRET
from launcher.cli.command import Argument, Group, switch
from launcher.errors import ConfigError

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


_NO_CONTAINER_STAYS = "changes nothing: no container of a build stays"

DOCKER_OPTIONS: tuple[Argument | Group, ...] = (
    Group(
        Argument("-f", "--file", metavar="FILE", help="the Dockerfile (CONTEXT/Dockerfile); `-` reads standard input"),
        Argument("-t", "--tag", action="append", default=[], metavar="NAME", help="name of the image (repeatable)"),
        Argument("--target", metavar="STAGE", help="the stage to build (the last one)"),
        Argument(
            "--build-arg",
            action="append",
            default=[],
            metavar="NAME[=VALUE]",
            help="value of an ARG; without `=` the environment's",
        ),
        SECRET,
        Argument("--label", action="append", default=[], metavar="NAME=VALUE", help="a label of the image"),
        Argument("--network", choices=["default", "host", "none"], help="network of RUN"),
        switch("--no-cache", help="run every RUN again, whatever the store has"),
        switch("--pull", help="ask registries again what their tags mean"),
        Argument("--platform", metavar="PLATFORM", help="accepted when it is this machine's"),
        title="a Dockerfile instead of an experiment (`launch build [OPTIONS] CONTEXT`)",
    ),
    Group(
        Argument("--iidfile", type=Path, metavar="FILE", help="write the image's digest to FILE"),
        switch("--push", help="push each `-t NAME` when the image is built"),
        Argument(
            "--progress",
            choices=["auto", "plain", "tty", "quiet", "rawjson"],
            metavar="HOW",
            help="changes nothing, except `quiet`, which is `-q`",
        ),
        switch("--rm", help=_NO_CONTAINER_STAYS),
        switch("--force-rm", help=_NO_CONTAINER_STAYS),
        switch("--load", help="changes nothing: every image is in the store"),
        title="as `docker build` has them",
    ),
    *(Argument(name, action=_Refuse, nargs="?", help=argparse.SUPPRESS) for name in _INSTEAD),
)
