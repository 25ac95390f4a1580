"""`launch login HOST`: check the credentials of a registry, and keep them where docker and podman look too."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from launcher.cli import arguments as args
from launcher.cli import render
from launcher.errors import ConfigError
from runtime.oci.reference import DOCKER_HUB


def main(arguments: Sequence[str]) -> int:
    parser = args.Parser(
        "login",
        "Check credentials for a registry and keep them where docker and podman look.",
        usage="[HOST] [-u USER] [--password-stdin]",
        epilog="HOST[:PORT] as it stands in image names; without one it is Docker Hub.",
    )
    parser.add_argument("host", nargs="?", default=DOCKER_HUB, metavar="HOST", help="the registry (default: Docker Hub)")
    parser.add_argument("-u", "--username", metavar="USER", help="asked for when it is left out")
    parser.add_argument("-p", "--password", metavar="PASSWORD", help=argparse.SUPPRESS)
    parser.add_argument("--password-stdin", action="store_true", help="read the password, or an access token, from stdin")
    args.add_debug_options(parser)
    options = parser.parse_args(arguments)
    args.apply_debug(options)
    if options.password is not None:
        hint = "`--password-stdin < FILE`, or leave it out to be asked: on a command line others read it in the list of processes"
        raise ConfigError("`--password` is not supported", hint=hint)
    host = registry_host(options.host)
    from runtime.registry.client import Registry
    from runtime.registry.credential_store import store_credentials
    from runtime.registry.credentials import Credentials
    from runtime.registry.refusals import RegistryRefusal

    if options.password_stdin and not options.username:
        raise ConfigError("`--password-stdin` needs a user", hint="`launch login HOST -u USER --password-stdin < FILE`")
    user = options.username or _asked(f"user at {host}: ")
    password = sys.stdin.read().rstrip("\r\n") if options.password_stdin else _password(user, host)
    if not user or not password:
        raise ConfigError(f"no {'password' if user else 'user'} was given for `{host}`")
    credentials = Credentials(user, password)
    try:
        Registry(host, credentials=credentials).check_login()
    except RegistryRefusal as error:
        if error.status in (401, 403):
            error.hint = "check user and password; many registries want an access token in the password's place"
        raise
    where = store_credentials(host, credentials, os.environ)
    render.say(f"logged in to {host} as {user}; kept in {where}")
    if not where.startswith("docker-credential-"):
        render.say("the password stands there readable for you and root; a credential helper (`credsStore`) would lock it away")
    return 0


def registry_host(text: str) -> str:
    """`HOST[:PORT]` of what somebody types: an address, or one of the names that Docker Hub has."""
    from runtime.errors import BadContent
    from runtime.oci.reference import Remote, parse_reference
    from runtime.registry.credentials import host_of_key

    host = host_of_key(text.strip())
    try:
        # A name without a dot and a port is a registry here, which it isn't in front of an image's name.
        parsed = parse_reference(f"{host}/image" if set(host) & set(".:") or host == "localhost" else f"{host}:443/image")
    except BadContent:
        parsed = None
    if not isinstance(parsed, Remote) or "/" in host:
        raise ConfigError(f"`{text}` is no registry", hint="`HOST[:PORT]`, as in `launch login localhost:5000`")
    return host


def _asked(prompt: str) -> str:
    _refuse_without_terminal()
    print(prompt, end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip()


def _password(user: str, host: str) -> str:
    from getpass import getpass

    _refuse_without_terminal()
    return getpass(f"password of {user} at {host}: ", stream=sys.stderr)


def _refuse_without_terminal() -> None:
    if not sys.stdin.isatty():
        hint = "`launch login HOST -u USER --password-stdin < FILE`"
        raise ConfigError("there is no terminal to ask for user and password", hint=hint)
