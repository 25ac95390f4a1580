"""Programs `docker-credential-NAME` that keep credentials: get, store, erase (docker-credential-helpers, "Development")."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping
from typing import TYPE_CHECKING

from runtime.errors import BadContent, ToolFailed, Unsupported

if TYPE_CHECKING:
    import subprocess

_NAME = re.compile(r"[A-Za-z0-9_.-]+")
_TIMEOUT_S = 60.0
TOKEN_USER = "<token>"
"""The user that a helper names when it has an identity token instead of a password."""
_NOT_FOUND = "credentials not found"


def ask_helper(name: str, server: str, environ: Mapping[str, str]) -> tuple[str, str] | None:
    """User and secret that helper *name* knows for *server*; None when it knows nothing."""
    done = _run(name, "get", server, environ)
    if done.returncode != 0:
        if _NOT_FOUND in _words(done):
            return None
        raise ToolFailed(done.args, done.returncode, _words(done), hint=f"it is asked for the credentials of `{server}`")
    try:
        document = json.loads(done.stdout)
        user, secret = document["Username"], document["Secret"]
    except (ValueError, TypeError, KeyError) as error:
        raise BadContent(f"`{_program(name)} get` answers with something that is not credentials") from error
    if not isinstance(user, str) or not isinstance(secret, str):
        raise BadContent(f"`{_program(name)} get` answers with something that is not credentials")
    return (user, secret) if secret else None


def store_with_helper(name: str, server: str, user: str, secret: str, environ: Mapping[str, str]) -> None:
    """Let helper *name* keep *secret*, which is the password of *user*, or a token of TOKEN_USER."""
    document = {"ServerURL": server, "Username": user, "Secret": secret}
    done = _run(name, "store", json.dumps(document), environ)
    if done.returncode != 0:
        raise ToolFailed(done.args, done.returncode, _words(done), hint="the credentials are not stored")


def erase_with_helper(name: str, server: str, environ: Mapping[str, str]) -> None:
    """Let helper *name* forget *server*. Idempotent."""
    done = _run(name, "erase", server, environ)
    if done.returncode != 0 and _NOT_FOUND not in _words(done):
        raise ToolFailed(done.args, done.returncode, _words(done), hint="the credentials may still be stored")


def _run(name: str, verb: str, text: str, environ: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    import subprocess  # few registries have a helper

    program = _program(name)
    found = shutil.which(program, path=environ.get("PATH"))
    if found is None:
        hint = f"`credsStore` or `credHelpers` names it: install `{program}`, or take it out of that file"
        raise Unsupported(f"the credential helper `{program}` is not installed", hint=hint)
    try:
        return subprocess.run(
            [found, verb], input=text, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False, env=dict(environ)
        )
    except subprocess.TimeoutExpired as error:
        raise ToolFailed([found, verb], -1, f"no answer within {_TIMEOUT_S:g} s") from error
    except (OSError, UnicodeDecodeError) as error:
        raise Unsupported(f"the credential helper `{found}` cannot be used: {error}") from error


def _program(name: str) -> str:
    if _NAME.fullmatch(name) is None:
        raise BadContent(f"`{name[:80]}` is no name of a credential helper")
    return f"docker-credential-{name}"


def _words(done: subprocess.CompletedProcess[str]) -> str:
    # Helpers say what is wrong on stdout.
    return (done.stdout.strip() or done.stderr.strip())[:300]
