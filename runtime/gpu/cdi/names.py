"""Names of CDI devices, `vendor.com/class=name` (SPEC.md, "CDI JSON Specification"; parser.go has the exact rules)."""

from __future__ import annotations

import re
from dataclasses import dataclass

_VENDOR_OR_CLASS = re.compile(r"[A-Za-z](?:[A-Za-z0-9_.-]*[A-Za-z0-9])?")
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_.:-]*[A-Za-z0-9])?")


@dataclass(frozen=True, slots=True, order=True)
class DeviceName:
    """`nvidia.com/gpu=0`."""

    kind: str
    """`vendor.com/class`."""
    name: str

    def __str__(self) -> str:
        return f"{self.kind}={self.name}"


def is_qualified(text: str) -> bool:
    """Whether *text* is meant as a CDI name, not as a path."""
    return "=" in text and not text.startswith("/")


def parse_device_name(text: str) -> DeviceName:
    """*text* as a CDI name. Raises ValueError with what is wrong about it."""
    kind, equals, name = text.partition("=")
    if not equals or text.startswith("/"):
        raise ValueError(f"`{text}` is not a device's name: it looks like `vendor.com/class=name`")
    check_kind(kind)
    if not _NAME.fullmatch(name):
        raise ValueError(f"`{name}` is not a device's name: letters, digits and `_ - . :`, a letter or digit at both ends")
    return DeviceName(kind, name)


def check_kind(kind: str) -> None:
    """Raises ValueError unless *kind* is `vendor/class`."""
    vendor, slash, device_class = kind.partition("/")
    if not slash:
        raise ValueError(f"`{kind}` is not `vendor/class`")
    for what, word in (("vendor", vendor), ("class", device_class)):
        if not _VENDOR_OR_CLASS.fullmatch(word):
            raise ValueError(f"`{word}` is not a {what}: a letter first, letters, digits and `_ - .`, a letter or digit last")


def is_device_name(name: str) -> bool:
    return _NAME.fullmatch(name) is not None
