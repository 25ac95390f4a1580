"""Where an unavailable package was asked for: refusals of the archive and the index get the origin of the key behind them.

A package may be asked for by `image.apt`, a group of the image or `--with`; the refusal names the package, and so tells which.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from launcher.config.spec import Image
from launcher.errors import ConfigError
from launcher.plan.bases.debian_suites import DEBIAN_SUITES
from launcher.plan.origins import Where
from runtime.errors import NotAvailable
from runtime.suggestions import did_you_mean

_BOOTSTRAP = "bootstrap:debian/"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")


@contextmanager
def add_package_origin(image: Image, where: Where) -> Iterator[None]:
    """For the body, which pins the base of *image* and its packages: what is not available is a ConfigError with its origin."""
    try:
        yield
    except NotAvailable as error:
        key = apt_key(image, error.message) or apt_key(image, error.hint or "")
        hint = error.hint if key is not None else _another_suite(image, error.hint)
        raise ConfigError(error.message, hint=hint, origin=where(key or "image.base")) from error


@contextmanager
def add_requirement_origin(image: Image, where: Where) -> Iterator[None]:
    """For the body, which resolves the requirements of *image*: a refusal gets the origin of the one that it is about."""
    try:
        yield
    except ConfigError as error:
        if error.origin is None:
            error.origin = where(requirement_key(image, error.message))
        raise


def apt_key(image: Image, words: str) -> str | None:
    """The key that asks for the Debian package which *words* are about; None: it is the base that does."""
    for key, packages in _requesters(image.apt, {name: group.apt for name, group in image.groups.items()}, "apt"):
        if any(_mentions(words, package.partition("=")[0]) for package in packages):
            return key
    return None


def requirement_key(image: Image, words: str) -> str:
    """The key of the requirement that *words* are about: a group's where they name its package, else `image.requirements`."""
    own = "image.requirements"
    for key, lines in _requesters((), {name: group.requirements for name, group in image.groups.items()}, "requirements"):
        if any((name := _NAME.match(line.strip())) and _mentions(words, name[0]) for line in lines):
            return key
    return own


def _requesters(own: Sequence[str], groups: dict[str, tuple[str, ...]], kind: str) -> Iterator[tuple[str, Sequence[str]]]:
    yield f"image.{kind}", own
    for name, items in groups.items():
        yield f"image.groups.{name}.{kind}", items


def _mentions(words: str, name: str) -> bool:
    """Whether *name* is a word of *words*, whichever of `-`, `_` and `.` it is written with (PEP 503)."""
    pattern = re.sub(r"[-_.]+", "[-_.]+", re.escape(name).replace(r"\-", "-").replace(r"\.", "."))
    return re.search(rf"(?<![\w.+-]){pattern}(?![\w+-])", words, re.IGNORECASE) is not None


def _another_suite(image: Image, hint: str | None) -> str | None:
    suite = image.base.removeprefix(_BOOTSTRAP)
    if suite in DEBIAN_SUITES or suite == image.base:
        return hint
    known_to_work = " and ".join(f"`{_BOOTSTRAP}{known}`" for known in DEBIAN_SUITES)
    return did_you_mean(suite, DEBIAN_SUITES, prefix=_BOOTSTRAP) or f"{known_to_work} are suites that are known to work"
