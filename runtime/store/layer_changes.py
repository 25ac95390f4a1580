"""In what two layers, or trees, differ: path by path, in words; the content of small text as a diff."""

from __future__ import annotations

import difflib
import struct
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path

from runtime.layer.tree import Tree, TreeEntry, shown

_TEXT_BYTES = 1 << 18
_DIFF_LINES = 12
_LINE_LENGTH = 160
_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class PathChange:
    """One path that is not the same in both."""

    path: str
    before: TreeEntry | None
    """None: only *after* has it."""
    after: TreeEntry | None


def changes(before: Tree, after: Tree) -> list[PathChange]:
    """Every path that differs, sorted."""
    if before == after:
        return []
    old, new = ({entry.path: entry for entry in tree} for tree in (before, after))
    found = (PathChange(path, old.get(path), new.get(path)) for path in sorted(old.keys() | new.keys()))
    return [change for change in found if change.before != change.after]


def in_words(change: PathChange) -> list[str]:
    """What differs, one aspect each: `mode 0644 → 0755`, `content 12 → 14 bytes`."""
    before, after = change.before, change.after
    if before is None or after is None:
        return [f"only {'recorded' if after is None else 'rebuilt'}: {_kind(before or after)}"]
    if before.type != after.type:
        return [f"{_kind(before)} → {_kind(after)}"]
    words = []
    if before.mode != after.mode:
        words.append(f"mode {before.mode:04o} → {after.mode:04o}")
    if (before.uid, before.gid) != (after.uid, after.gid):
        words.append(f"owner {before.uid}:{before.gid} → {after.uid}:{after.gid}")
    if before.sha256 != after.sha256:
        sizes = f"{before.size} → {after.size} bytes" if before.size != after.size else f"{before.size} bytes"
        words.append(f"content ({sizes})")
    if before.link != after.link:
        words.append(f"leads to `{shown(before.link)}` → `{shown(after.link)}`")
    if before.xattrs != after.xattrs:
        names = sorted({name for name, _ in set(before.xattrs) ^ set(after.xattrs)})
        words.append(f"extended attributes {', '.join(names)}")
    named = {"path", "type", "mode", "uid", "gid", "sha256", "size", "link", "xattrs"}
    for field in fields(TreeEntry):
        old, new = getattr(before, field.name), getattr(after, field.name)
        if field.name not in named and old != new:
            words.append(f"{field.name} {old} → {new}")
    return words


def _kind(entry: TreeEntry | None) -> str:
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


def content_in_words(change: PathChange, before_root: Path, after_root: Path) -> list[str]:
    """More about two contents of one path; empty when they are the same, or no files."""
    before, after = change.before, change.after
    if before is None or after is None or (before.type, after.type) != ("file", "file") or before.sha256 == after.sha256:
        return []
    old, new = before_root / change.path, after_root / change.path
    heads = [_head(path) for path in (old, new)]
    if change.path.endswith(".pyc"):
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
        text = line[0] + shown(line[1:])
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
