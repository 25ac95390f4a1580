"""Calls of the `uv` program: where it is, in which environment it runs, and what its failures mean.

The only door to the `uv` package. uv reads the user's own settings itself (UV_* variables, uv.toml, netrc, proxies, CA
bundle); what is taken from it here are the few variables that would change *what* we ask for instead of where it looks.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from runtime.errors import NetworkError, ToolFailed, Unsupported

UV_CONCERN = frozenset(
    [
        "VIRTUAL_ENV",
        "CONDA_PREFIX",
        "PYTHONHOME",
        "PYTHONPATH",
        "UV_PYTHON",
        "UV_SYSTEM_PYTHON",
        "UV_BREAK_SYSTEM_PACKAGES",
        "UV_COMPILE_BYTECODE",
        "UV_LINK_MODE",
        "UV_REQUIRE_HASHES",
        "UV_NO_VERIFY_HASHES",
        "UV_NO_CACHE",
        "UV_CACHE_DIR",
        "UV_WORKING_DIR",
        "UV_PROJECT",
        "UV_CONSTRAINT",
        "UV_BUILD_CONSTRAINT",
        "UV_OVERRIDE",
        "UV_EXCLUDE",
        "UV_CUSTOM_COMPILE_COMMAND",
        "UV_ISOLATED",
        "UV_DRY_RUN",
        "UV_NO_BUILD",
        "UV_NO_BINARY",
    ]
)
"""Variables of the user that we set ourselves, pass as arguments, or that belong to another environment."""


def uv_binary() -> str:
    """Path of the uv program that the `uv` package brings."""
    try:
        from uv import find_uv_bin

        return os.fspath(find_uv_bin())
    except (ImportError, FileNotFoundError):
        raise Unsupported("the `uv` program is missing", hint="install the package `uv` beside launch") from None


def uv_environment(environ: Mapping[str, str], settings: Mapping[str, str]) -> dict[str, str]:
    """The user's environment without UV_CONCERN, and *settings* over it."""
    env = {name: value for name, value in environ.items() if name not in UV_CONCERN}
    env.update(settings)
    env.update(UV_NO_PROGRESS="1", NO_COLOR="1", LC_ALL="C.UTF-8")
    return env


def cache_arguments(cache_dir: Path | None, environ: Mapping[str, str]) -> list[str]:
    """`--cache-dir`: *cache_dir*, else the user's UV_CACHE_DIR, else uv's own default."""
    chosen = cache_dir or environ.get("UV_CACHE_DIR")
    return ["--cache-dir", os.fspath(chosen)] if chosen else []


def run_uv(
    arguments: Sequence[str],
    *,
    env: Mapping[str, str],
    cwd: Path,
    on_line: Callable[[str], None] | None = None,
) -> str:
    """Run uv to its end and return its standard output. *on_line* gets each line of its standard error as it comes.

    No timeout of ours: a download may take an hour, and uv gives up by itself on a silent server (UV_HTTP_TIMEOUT).
    """
    import subprocess
    import threading

    argv = [uv_binary(), *arguments]
    process = subprocess.Popen(
        argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=dict(env), cwd=cwd, text=True
    )
    assert process.stdout is not None
    assert process.stderr is not None
    words: list[str] = []

    def follow(stream: object) -> None:
        for line in stream:  # type: ignore[attr-defined]
            words.append(line)
            if on_line is not None:
                on_line(line.rstrip("\n"))

    reader = threading.Thread(target=follow, args=(process.stderr,), daemon=True)
    reader.start()
    try:
        output = process.stdout.read()
        returncode = process.wait()
        reader.join()
    except BaseException:
        process.kill()
        process.wait()
        raise
    finally:
        process.stdout.close()
        process.stderr.close()
    if returncode != 0:
        raise failure(arguments, returncode, "".join(words))
    return output


_NETWORK_SIGNS = ("Failed to fetch", "error sending request", "dns error", "Connection refused", "Network connectivity")
_SECRETS = "://[^/@\\s]+@"


def failure(arguments: Sequence[str], returncode: int, words: str) -> ToolFailed | NetworkError:
    """The error for uv's *words*: an address that can't be reached is a NetworkError. Credentials in addresses are cut out."""
    import re

    said = re.sub(_SECRETS, "://", _without_noise(words)).strip()
    if any(sign in said for sign in _NETWORK_SIGNS):
        return NetworkError(f"uv cannot reach the package index: {said}", hint="check proxy, CA bundle and index settings")
    shown = ["uv", *(word for word in arguments[:2])]
    return ToolFailed(shown, returncode, said)


_NOISE = ("Using CPython", "Resolved ", "Downloading ", " Downloaded ", "Building ", "hint: Build failures usually indicate")


def _without_noise(words: str) -> str:
    lines = [line for line in words.splitlines() if not line.startswith(_NOISE)]
    return "\n".join(line.removeprefix("error: ") for line in lines)


def this_interpreter() -> list[str]:
    """uv wants some interpreter even where it runs none: ours, so that none is searched for or downloaded."""
    return ["--python", sys.executable, "--no-python-downloads"]
