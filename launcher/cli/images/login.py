"""`launch login HOST`: check the credentials of a registry, and keep them where docker and podman look; `launch logout HOST`."""

from __future__ import annotations

import os
import sys

from launcher.cli import render
from launcher.cli.command import Options
from launcher.errors import ConfigError
from runtime.errors import BadContent
from runtime.oci.reference import DOCKER_HUB, Remote, parse_reference
from runtime.registry.client import Registry
from runtime.registry.credential_store import forget_credentials, store_credentials
from runtime.registry.credentials import Credentials, host_of_key
from runtime.registry.refusals import RegistryRefusal


def log_in(options: Options) -> int:
    if options.password is not None:
        hint = "`--password-stdin < FILE`, or leave it out to be asked: on a command line others read it in the list of processes"
        raise ConfigError("`--password` is not supported", hint=hint)
    host = _registry_host(options.host)
    if options.password_stdin and not options.username:
        raise ConfigError("`--password-stdin` needs a user", hint="`launch login HOST -u USER --password-stdin < FILE`")
    user = options.username or _ask(f"user at {host}: ")
    password = sys.stdin.read().rstrip("\r\n") if options.password_stdin else _ask_password(user, host)
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


def log_out(text: str | None) -> int:
    """Forget the credentials wherever docker, podman and we look for them."""
    host = _registry_host(text)
    forgotten = forget_credentials(host, os.environ)
    if not forgotten:
        render.say(f"no user was logged in to {host}")
        return 0
    render.say(f"forgot {host} in {', '.join(forgotten)}")
    return 0


def _registry_host(text: str | None) -> str:
    """`HOST[:PORT]` of what somebody types: an address, or one of the names that Docker Hub has; None is Docker Hub."""
    if text is None:
        return DOCKER_HUB
    host = host_of_key(text.strip())
    try:
        # A name without a dot and a port is a registry here, which it isn't in front of an image's name.
        parsed = parse_reference(f"{host}/image" if set(host) & set(".:") or host == "localhost" else f"{host}:443/image")
    except BadContent:
        parsed = None
    if not isinstance(parsed, Remote) or "/" in host:
        raise ConfigError(f"`{text}` is no registry", hint="`HOST[:PORT]`, as in `launch login localhost:5000`")
    return host


def _ask(prompt: str) -> str:
    _refuse_without_terminal()
    print(prompt, end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip()


def _ask_password(user: str, host: str) -> str:
    from getpass import getpass

    _refuse_without_terminal()
    return getpass(f"password of {user} at {host}: ", stream=sys.stderr)


def _refuse_without_terminal() -> None:
    if not sys.stdin.isatty():
        hint = "`launch login HOST -u USER --password-stdin < FILE`"
        raise ConfigError("there is no terminal to ask for user and password", hint=hint)
