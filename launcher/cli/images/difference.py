"""`launch diff IMAGE IMAGE`: what the second image has, lacks or has in another way: packages, configuration, files."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from launcher.cli import render
from launcher.plan.images.image_difference import Collapsed, ConfigDifference, ImageDifference, PackageDifference, collapse
from runtime.layer.tree import printable
from runtime.plurals import counted
from runtime.store.records import Image
from runtime.store.store import Store

_MOST_FILES = 20


def diff_images(before: Image, after: Image, store: Store, *, all_files: bool, as_json: bool) -> int:
    from launcher.plan.images.image_difference import image_difference

    found = image_difference(before, after, store)
    if as_json:
        render.print_json(found.to_json())
    else:
        for line in _lines(found, all_files=all_files):
            print(line)
    return 0


def _lines(found: ImageDifference, *, all_files: bool) -> Iterator[str]:
    yield f"{found.before.digest.short} → {found.after.digest.short}: {_summary(found)}"
    yield from render.section("packages", [_package_line(each) for each in found.packages])
    yield from render.section("configuration", [_config_line(each) for each in found.config])
    listed = [Collapsed(each) for each in found.files] if all_files else collapse(found.files)
    shown_files = listed if all_files else listed[:_MOST_FILES]
    more = len(listed) - len(shown_files)
    rest = [f"… and {more} more; `--files` lists all"] if more else []
    yield from render.section("files", [*(_file_line(each) for each in shown_files), *rest])


def _summary(found: ImageDifference) -> str:
    if found.before.digest == found.after.digest:
        return "the same image"
    if found.is_empty:
        return "a container sees no difference; history, times or the split into layers differ"
    counts = found.counts()
    files = ", ".join(f"{number} {kind}" for kind, number in counts.items() if number) or "the same"
    return "; ".join(
        (
            f"{counted(len(found.packages), 'package')}, {counted(len(found.config), 'setting')}",
            f"files: {files}",
            f"{render.size(found.before.size_bytes)} → {render.size(found.after.size_bytes)}",
            f"{found.shared_layers} of {counted(len(found.after.layers), 'layer')} shared",
        )
    )


def _package_line(each: PackageDifference) -> str:
    return f"{render.change(each.name, ', '.join(each.before) or None, ', '.join(each.after) or None)}  ({each.kind})"


def _config_line(each: ConfigDifference) -> str:
    return render.change(each.name, _value(each.before), _value(each.after))


def _value(value: Any) -> str | None:
    if value is True:
        return ""
    return value if value is None or isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _file_line(each: Collapsed) -> str:
    difference = each.difference
    entry = difference.after or difference.before
    line = f"{render.sign(difference.before, difference.after)} {printable(difference.path)}"
    if entry is not None and entry.type == "dir":
        line += "/"
    if each.files_below:
        line += f"  ({counted(each.files_below, 'file')}, {render.size(each.bytes_below)})"
    words = [
        what if what in ("content", "xattrs") else f"{what} {before or '-'} → {after or '-'}"
        for what, before, after in difference.aspects
    ]
    return line + (f"  {', '.join(words)}" if words else "")
