"""What differs between the code of two runs, as unified diffs; contents come from their `code.tar`."""

from __future__ import annotations

import tarfile
from collections.abc import Collection, Mapping
from difflib import unified_diff
from pathlib import Path

from runtime.light_dataclasses import dataclass

_LARGEST_DIFFED = 1_000_000


@dataclass(frozen=True, slots=True)
class RecordedCode:
    """The code of one run, as its record has it."""

    archive: Path
    """`code.tar`, with the files where the image has them."""
    workdir: str
    """Where that is: `/workspace`."""
    files: Mapping[str, tuple[int, str]]
    """Path → mode and sha256, as the snapshot lists them."""

    def texts(self, paths: Collection[str]) -> dict[str, str]:
        """The contents of those of *paths* that are text, not too large to compare, and kept."""
        prefix = f"{self.workdir.strip('/')}/".lstrip("/")
        found: dict[str, str] = {}
        try:
            with tarfile.open(self.archive) as archive:
                for member in archive:
                    path = member.name.removeprefix(prefix)
                    if path not in paths or not member.isfile() or member.size > _LARGEST_DIFFED:
                        continue
                    file = archive.extractfile(member)
                    content = b"" if file is None else file.read()
                    if b"\0" not in content:
                        found[path] = content.decode(errors="replace")
        except (FileNotFoundError, tarfile.TarError):
            return found
        return found


@dataclass(frozen=True, slots=True)
class FileDifference:
    """One file of the code."""

    path: str
    kind: str
    """added, removed, changed."""
    patch: tuple[str, ...]
    """Lines of a unified diff; empty where a content is not text, too large or not kept, and where only the mode changed."""


def code_difference(before: RecordedCode, after: RecordedCode) -> tuple[FileDifference, ...]:
    """Files that came, went or changed, by path."""
    old, new = before.files, after.files
    different = [path for path in sorted(old.keys() | new.keys()) if old.get(path) != new.get(path)]
    if not different:
        return ()
    old_texts, new_texts = before.texts(different), after.texts(different)
    return tuple(
        FileDifference(
            path, _kind(path in old, path in new), _patch(path, _side(path, old, old_texts), _side(path, new, new_texts))
        )
        for path in different
    )


def _kind(was: bool, now: bool) -> str:
    return "changed" if was and now else "added" if now else "removed"


def _side(path: str, files: Collection[str], texts: Mapping[str, str]) -> str | None:
    """The text on one side: empty where there is no such file, None where it is not known."""
    return texts.get(path) if path in files else ""


def _patch(path: str, before: str | None, after: str | None) -> tuple[str, ...]:
    if before is None or after is None:
        return ()
    return tuple(unified_diff(before.splitlines(), after.splitlines(), f"a/{path}", f"b/{path}", lineterm=""))
