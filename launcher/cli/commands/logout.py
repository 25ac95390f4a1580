"""`launch logout HOST`: forget the credentials of a registry, wherever docker, podman and we look for them."""

from __future__ import annotations

import os
from collections.abc import Sequence

from launcher.cli import arguments as args
from launcher.cli import render
from launcher.cli.commands.login import registry_host
from runtime.oci.reference import DOCKER_HUB


def main(arguments: Sequence[str]) -> int:
    parser = args.Parser("logout", "Forget the credentials of a registry.", usage="[HOST]")
    parser.add_argument("host", nargs="?", default=DOCKER_HUB, metavar="HOST", help="the registry (default: Docker Hub)")
    args.add_debug_options(parser)
    options = parser.parse_args(arguments)
    args.apply_debug(options)
    host = registry_host(options.host)
    from runtime.registry.credential_store import forget_credentials

    forgotten = forget_credentials(host, os.environ)
    if not forgotten:
        render.say(f"nobody was logged in to {host}")
        return 0
    render.say(f"forgot {host} in {', '.join(forgotten)}")
    return 0
