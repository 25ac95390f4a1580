"""Keep and forget credentials where both docker and podman look.

That is docker's file ($DOCKER_CONFIG, or ~/.docker/config.json), which podman reads after its own, unless $REGISTRY_AUTH_FILE
names another. What podman's own files say of the registry is changed too, since podman (and we) would believe it first. Other
entries stay as they are; a file is replaced in one step and is for its owner alone.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from runtime.errors import StoreError, error_words
from runtime.registry.credential_helper import erase_with_helper, store_with_helper
from runtime.registry.credentials import (
    AuthFile,
    Credentials,
    auth_files,
    auth_key,
    docker_config,
    host_of_key,
    read_auth_file,
)
from runtime.whole_file import replace_file


def store_credentials(host: str, credentials: Credentials, environ: Mapping[str, str]) -> str:
    """Keep *credentials* for *host*. Returns where: a file, or a helper's name."""
    target = _target(environ)
    with _locked(target):
        file = read_auth_file(target) or AuthFile(target, {})
        kept_by = _store_in(file, host, credentials, environ)
    for other in auth_files(environ):
        if other != target and other.exists():
            with _locked(other):
                known = read_auth_file(other)
                if known is not None and _keys_of(known, host):
                    _store_in(known, host, credentials, environ)
    return kept_by


def forget_credentials(host: str, environ: Mapping[str, str]) -> tuple[str, ...]:
    """Forget *host* everywhere. Returns from where: files and helpers; empty when nobody knew it."""
    forgotten: list[str] = []
    for path in auth_files(environ):
        if path.exists():
            with _locked(path):
                forgotten += _forget_in(path, host, environ)
    return tuple(forgotten)


def _forget_in(path: Path, host: str, environ: Mapping[str, str]) -> Iterator[str]:
    file = read_auth_file(path)
    if file is None:
        return
    helper, keys = file.helper_of(host) or file.store, _keys_of(file, host)
    # A helper for all registries is only asked where docker has noted that it knows this one.
    if helper and (keys or file.helper_of(host)):
        erase_with_helper(helper, auth_key(host), environ)
        yield f"docker-credential-{helper}"
    if keys:
        auths = {key: entry for key, entry in file.entries("auths").items() if key not in keys}
        _write(path, {**file.document, "auths": auths})
        yield str(path)


def _target(environ: Mapping[str, str]) -> Path:
    if named := environ.get("REGISTRY_AUTH_FILE"):
        return Path(named)
    path = docker_config(environ)
    if path is None:
        raise StoreError("there is no place for credentials", hint="set HOME, DOCKER_CONFIG or REGISTRY_AUTH_FILE")
    return path


def _store_in(file: AuthFile, host: str, credentials: Credentials, environ: Mapping[str, str]) -> str:
    helper = file.helper_of(host) or file.store
    if helper:
        store_with_helper(helper, auth_key(host), *credentials.for_helper(), environ)
        entry: dict[str, Any] = {}
        where = f"docker-credential-{helper}"
    else:
        # With an identity token docker leaves the password out.
        password = "" if credentials.identity_token else credentials.password
        entry = {"auth": base64.b64encode(f"{credentials.user}:{password}".encode()).decode()}
        if credentials.identity_token:
            entry["identitytoken"] = credentials.identity_token
        where = str(file.path)
    stale = _keys_of(file, host)
    auths = {key: known for key, known in file.entries("auths").items() if key not in stale}
    _write(file.path, {**file.document, "auths": {**auths, auth_key(host): entry}})
    return where


def _keys_of(file: AuthFile, host: str) -> set[str]:
    """Every spelling of *host* in the file."""
    return {key for key in file.entries("auths") if host_of_key(key) == host}


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Two logins at the same time keep each other's entry. docker and podman have no lock that we could share."""
    import fcntl

    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise _not_writable(path, error) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _write(path: Path, document: Mapping[str, Any]) -> None:
    # A link (dotfiles in a repository) stays a link.
    path = Path(os.path.realpath(path))
    try:
        replace_file(path, json.dumps(document, indent=2) + "\n", sync=True)
    except OSError as error:
        raise _not_writable(path, error) from error


def _not_writable(path: Path, error: OSError) -> StoreError:
    return StoreError(f"cannot write the credentials to `{path}`: {error_words(error)}")
