"""Who we are at a registry: the files of docker and podman, and the helpers that they name.

Looked through in podman's order (containers-auth.json(5)); the first that knows the registry is taken:

    $REGISTRY_AUTH_FILE                          and nothing else, when it is set
    ${XDG_RUNTIME_DIR}/containers/auth.json      (/run/containers/UID/auth.json)
    $XDG_CONFIG_HOME/containers/auth.json
    $DOCKER_CONFIG/config.json                   (~/.docker/config.json)

In each file `credHelpers` of the host is asked first, then `auths`, then `credsStore`. podman's entries may be for a part of a
registry (`quay.io/team`): the longest that fits is taken. Writing is `credential_store.py`.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from runtime.errors import BadContent, error_words
from runtime.light_dataclasses import dataclass, field
from runtime.oci.reference import DOCKER_HUB
from runtime.registry.credential_helper import TOKEN_USER, ask_helper

HUB_KEY = f"https://index.{DOCKER_HUB}/v1/"
"""Under which docker files Docker Hub's credentials."""
_LIMIT = 4 << 20


@dataclass(frozen=True, slots=True)
class Credentials:
    """A user's password, or the identity token that was given for one."""

    user: str
    password: str = field(repr=False)
    identity_token: str = field(default="", repr=False)

    @classmethod
    def from_helper(cls, user: str, secret: str) -> Credentials:
        return cls("", "", identity_token=secret) if user == TOKEN_USER else cls(user, secret)

    def for_helper(self) -> tuple[str, str]:
        """User and secret, as a credential helper keeps them."""
        return (TOKEN_USER, self.identity_token) if self.identity_token else (self.user, self.password)


@dataclass(frozen=True, slots=True)
class AuthFile:
    """A file of credentials, as it was read."""

    path: Path
    document: dict[str, Any] = field(repr=False)

    def entries(self, section: str) -> dict[str, Any]:
        """`auths` or `credHelpers`."""
        entries = self.document.get(section)
        return entries if isinstance(entries, dict) else {}

    def helper_of(self, host: str) -> str:
        """The helper for *host* alone; "" for none."""
        helpers = {host_of_key(key): name for key, name in self.entries("credHelpers").items() if isinstance(name, str)}
        return helpers.get(host, "")

    @property
    def store(self) -> str:
        """The helper for every registry; "" for none."""
        name = self.document.get("credsStore")
        return name if isinstance(name, str) else ""


def find_credentials(host: str, repository: str, environ: Mapping[str, str]) -> Credentials | None:
    """What is filed for *repository* at *host*; None: nobody has logged in."""
    for path in auth_files(environ):
        file = read_auth_file(path)
        if file is not None and (found := _in_file(file, host, repository, environ)) is not None:
            return found
    return None


def auth_files(environ: Mapping[str, str]) -> Iterator[Path]:
    """Where credentials may lie, the first to be asked first."""
    if named := environ.get("REGISTRY_AUTH_FILE"):
        yield Path(named)
        return
    runtime_dir = environ.get("XDG_RUNTIME_DIR")
    yield Path(runtime_dir or f"/run/containers/{os.getuid()}") / ("containers/auth.json" if runtime_dir else "auth.json")
    home = environ.get("HOME")
    if config := environ.get("XDG_CONFIG_HOME") or (home and f"{home}/.config"):
        yield Path(config) / "containers/auth.json"
    if docker := docker_config(environ):
        yield docker


def docker_config(environ: Mapping[str, str]) -> Path | None:
    """docker's own file, there or not; None where there is no home."""
    directory = environ.get("DOCKER_CONFIG") or (environ.get("HOME") and f"{environ['HOME']}/.docker")
    return Path(directory) / "config.json" if directory else None


def read_auth_file(path: Path) -> AuthFile | None:
    """The file at *path*; None when there is none. Raises BadContent when it cannot be understood."""
    try:
        with open(path, "rb") as file:
            content = file.read(_LIMIT)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise BadContent(f"cannot read the credentials in `{path}`: {error_words(error)}") from error
    try:
        document = json.loads(content) if content.strip() else {}
    except (ValueError, RecursionError) as error:
        raise BadContent(f"the credentials in `{path}` are not valid JSON: {error}") from error
    if not isinstance(document, dict):
        raise BadContent(f"the credentials in `{path}` are not a JSON object")
    return AuthFile(path, document)


def auth_key(host: str) -> str:
    """The key that docker and podman use for *host*."""
    return HUB_KEY if host == DOCKER_HUB else host


def host_of_key(key: str) -> str:
    """`HOST[:PORT][/PATH]` that a key of `auths` means: old ones are addresses (`https://HOST/v1/`)."""
    plain = key.removeprefix("https://").removeprefix("http://")
    host, _, path = plain.partition("/")
    if host in (f"index.{DOCKER_HUB}", f"registry-1.{DOCKER_HUB}", DOCKER_HUB):
        host = DOCKER_HUB
    is_address = plain != key or path.rstrip("/") in ("", "v1", "v2")
    return host if is_address else f"{host}/{path}"


def _in_file(file: AuthFile, host: str, repository: str, environ: Mapping[str, str]) -> Credentials | None:
    if (helper := file.helper_of(host)) and (found := _ask_helper(helper, host, environ)) is not None:
        return found
    entries = {host_of_key(key): (key, entry) for key, entry in file.entries("auths").items() if isinstance(entry, dict)}
    for name in _from_special_to_general(host, repository):
        if name in entries and (found := _from_entry(*entries[name], file.path)) is not None:
            return found
    return _ask_helper(file.store, host, environ) if file.store else None


def _ask_helper(helper: str, host: str, environ: Mapping[str, str]) -> Credentials | None:
    known = ask_helper(helper, auth_key(host), environ)
    return None if known is None else Credentials.from_helper(*known)


def _from_special_to_general(host: str, repository: str) -> Iterator[str]:
    name = f"{host}/{repository}" if repository else host
    while name != host:
        yield name
        name = name.rpartition("/")[0]
    yield host


def _from_entry(key: str, entry: dict[str, Any], path: Path) -> Credentials | None:
    """None for the empty entry that docker writes beside a helper."""
    token = entry.get("identitytoken") or ""
    user, password = entry.get("username") or "", entry.get("password") or ""
    if encoded := entry.get("auth"):
        try:
            user, colon, password = base64.b64decode(encoded, validate=True).decode().partition(":")
        except (ValueError, TypeError) as error:
            raise BadContent(f"the credentials for `{key}` in `{path}` are damaged", hint=f"`launch login {key}`") from error
        if not colon:
            raise BadContent(f"the credentials for `{key}` in `{path}` are damaged", hint=f"`launch login {key}`")
    if not isinstance(token, str) or not isinstance(user, str) or not isinstance(password, str):
        raise BadContent(f"the credentials for `{key}` in `{path}` are damaged", hint=f"`launch login {key}`")
    return Credentials(user, password.strip("\0"), token) if user or token else None
