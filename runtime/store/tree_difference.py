"""What differs between two trees of files, path by path: what a container could tell apart, except times."""

from __future__ import annotations

import difflib
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from runtime.layer.tree import Tree, TreeEntry, printable
from runtime.light_dataclasses import dataclass, fields
from runtime.store.merged_tree import MergedTree

Aspect = Literal["type", "mode", "owner", "size", "content", "link", "device", "xattrs"]


@dataclass(frozen=True, slots=True)
class PathDifference:
    """One path that only one tree has, or that both have in another way."""

    path: str
    before: TreeEntry | None
    """None: the path was added."""
    after: TreeEntry | None
    """None: the path is gone."""
    aspects: tuple[tuple[Aspect, str, str], ...] = ()
    """(what, before, after) of a path that both have."""

    @property
    def kind(self) -> Literal["added", "removed", "changed"]:
        return "added" if self.before is None else "removed" if self.after is None else "changed"


def tree_difference(before: MergedTree, after: MergedTree) -> Iterator[PathDifference]:
    """Every difference, sorted by path."""
    for path in sorted({entry.path for entry in before} | {entry.path for entry in after}):
        old, new = before.get(path), after.get(path)
        if old is None or new is None:
            yield PathDifference(path, old, new)
        elif old != new:
            aspects = tuple(_aspects(old, before, new, after))
            if aspects:
                yield PathDifference(path, old, new, aspects)


def _aspects(old: TreeEntry, before: MergedTree, new: TreeEntry, after: MergedTree) -> Iterator[tuple[Aspect, str, str]]:
    if _kind(old) != _kind(new):
        yield "type", _kind(old), _kind(new)
    if old.mode != new.mode and "symlink" not in (old.type, new.type):
        yield "mode", f"{old.mode:04o}", f"{new.mode:04o}"
    if (old.uid, old.gid) != (new.uid, new.gid):
        yield "owner", f"{old.uid}:{old.gid}", f"{new.uid}:{new.gid}"
    if _kind(old) == _kind(new) == "file":
        then, now = before.file_of(old), after.file_of(new)
        if then.size != now.size:
            yield "size", str(then.size), str(now.size)
        if then.sha256 != now.sha256:
            yield "content", then.sha256, now.sha256
    if old.link != new.link and _kind(old) == _kind(new):
        yield "link", old.link, new.link
    if old.device != new.device:
        yield "device", _device(old), _device(new)
    if old.xattrs != new.xattrs:
        yield "xattrs", _xattrs(old), _xattrs(new)


def _kind(entry: TreeEntry) -> str:
    """A hard link is a file that has another name too."""
    return "file" if entry.type == "hardlink" else entry.type


def _device(entry: TreeEntry) -> str:
    return "" if entry.device is None else f"{entry.device[0]}:{entry.device[1]}"


def _xattrs(entry: TreeEntry) -> str:
    return " ".join(f"{name}={value.hex()}" for name, value in entry.xattrs)


_TEXT_BYTES = 1 << 18
_DIFF_LINES = 12
_LINE_LENGTH = 160
_CHUNK = 1 << 20


def layer_difference(before: Tree, after: Tree) -> list[PathDifference]:
    """Every path of two layers that differs, sorted; times too."""
    if before == after:
        return []
    old, new = ({entry.path: entry for entry in tree} for tree in (before, after))
    found = (PathDifference(path, old.get(path), new.get(path)) for path in sorted(old.keys() | new.keys()))
    return [difference for difference in found if difference.before != difference.after]


def in_words(difference: PathDifference) -> list[str]:
    """What differs, one aspect each: `mode 0644 → 0755`, `content 12 → 14 bytes`."""
    before, after = difference.before, difference.after
    if before is None or after is None:
        return [f"only {'recorded' if after is None else 'rebuilt'}: {_name_of_kind(before or after)}"]
    if before.type != after.type:
        return [f"{_name_of_kind(before)} → {_name_of_kind(after)}"]
    words = []
    if before.mode != after.mode:
        words.append(f"mode {before.mode:04o} → {after.mode:04o}")
    if (before.uid, before.gid) != (after.uid, after.gid):
        words.append(f"owner {before.uid}:{before.gid} → {after.uid}:{after.gid}")
    if before.sha256 != after.sha256:
        sizes = f"{before.size} → {after.size} bytes" if before.size != after.size else f"{before.size} bytes"
        words.append(f"content ({sizes})")
    if before.link != after.link:
        words.append(f"leads to `{printable(before.link)}` → `{printable(after.link)}`")
    if before.xattrs != after.xattrs:
        names = sorted({name for name, _ in set(before.xattrs) ^ set(after.xattrs)})
        words.append(f"extended attributes {', '.join(names)}")
    named = {"path", "type", "mode", "uid", "gid", "sha256", "size", "link", "xattrs"}
    for field in fields(TreeEntry):
        old, new = getattr(before, field.name), getattr(after, field.name)
        if field.name not in named and old != new:
            words.append(f"{field.name} {old} → {new}")
    return words


def _name_of_kind(entry: TreeEntry | None) -> str:
    if entry is None:
        return "nothing"
    names = {
        "dir": "directory",
        "symlink": "link",
        "hardlink": "hard link",
        "char": "device",
        "block": "device",
        "whiteout": "deletion",
    }
    return names.get(entry.type, entry.type)


def content_in_words(difference: PathDifference, before_root: Path, after_root: Path) -> list[str]:
    """More about two contents of one path; empty when they are the same, or no files."""
    before, after = difference.before, difference.after
    if before is None or after is None or (before.type, after.type) != ("file", "file") or before.sha256 == after.sha256:
        return []
    old, new = before_root / difference.path, after_root / difference.path
    heads = [_head(path) for path in (old, new)]
    if difference.path.endswith(".pyc"):
        return [_bytecode(*heads)]
    if all(head.startswith(b"\x7fELF") for head in heads):
        return [f"ELF: {_first_difference(old, new)}"]
    if max(before.size, after.size) <= _TEXT_BYTES:
        texts = [_text(path) for path in (old, new)]
        if texts[0] is not None and texts[1] is not None:
            return list(_text_diff(texts[0], texts[1]))
    return [_first_difference(old, new)]


def _bytecode(before: bytes, after: bytes) -> str:
    """What a .pyc's header (PEP 552) tells."""
    names = ("magic number", "flags", "source's mtime or hash", "source's size or hash")
    if min(len(before), len(after)) < 16:
        return "bytecode: cut off"
    header = [
        name
        for name, old, new in zip(names, *(struct.unpack("<4I", head[:16]) for head in (before, after)), strict=True)
        if old != new
    ]
    return f"bytecode: {', '.join(header)} in its header" if header else "bytecode: compiled to other code"


def _first_difference(old: Path, new: Path) -> str:
    offset = 0
    with old.open("rb") as one, new.open("rb") as other:
        while True:
            ours, theirs = one.read(_CHUNK), other.read(_CHUNK)
            if ours != theirs:
                pairs = zip(ours, theirs, strict=False)
                shared = next((at for at, (one_byte, other_byte) in enumerate(pairs) if one_byte != other_byte), None)
                return f"differs from byte {offset + (min(len(ours), len(theirs)) if shared is None else shared)} on"
            if not ours:
                return "the same now"
            offset += len(ours)


def _text_diff(old: str, new: str) -> Iterator[str]:
    lines = list(difflib.unified_diff(old.splitlines(), new.splitlines(), lineterm="", n=0))[2:]
    lines = [line for line in lines if not line.startswith("@@")]
    for line in lines[:_DIFF_LINES]:
        text = line[0] + printable(line[1:])
        yield text if len(text) <= _LINE_LENGTH else f"{text[:_LINE_LENGTH]}…"
    if len(lines) > _DIFF_LINES:
        yield f"… {len(lines) - _DIFF_LINES} lines more"
    if not lines:
        yield "only the ends of lines differ"


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(16)


def _text(path: Path) -> str | None:
    content = path.read_bytes()
    try:
        return None if b"\0" in content else content.decode()
    except UnicodeDecodeError:
        return None
