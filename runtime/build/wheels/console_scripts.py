"""Scripts of wheels: entry points become files in bin/, and scripts of a wheel get our interpreter's `#!` line.

Formats: "Entry points specification" and "Binary distribution format" (PyPA). Names and targets come from outside: each must
be a plain name or a dotted identifier, since it becomes a path or Python source.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from runtime.errors import BadContent

_NAME = re.compile(r"[^\s/\\=\x00-\x1f][^/\\=\x00-\x1f]*")
_TARGET = re.compile(r"(?P<module>[^\W\d]\w*(?:\.[^\W\d]\w*)*)\s*:\s*(?P<attr>[^\W\d]\w*(?:\.[^\W\d]\w*)*)\s*(?:\[[^\]]*\]\s*)?")


def entry_point_scripts(entry_points: str, *, wheel: str, prefix: str) -> Iterator[tuple[str, str]]:
    """(name, text) of each console and GUI script that *entry_points* (the text of entry_points.txt) declares, for the
    virtual environment at *prefix*."""
    section = ""
    for line in entry_points.splitlines():
        line = line.strip()
        if not line or line.startswith(("#", ";")):
            continue
        if line.startswith("["):
            section = line.strip("[]").strip()
            continue
        if section not in ("console_scripts", "gui_scripts"):
            continue
        name, _, target = line.partition("=")
        name = name.strip()
        match = _TARGET.fullmatch(target.strip())
        if match is None or not is_script_name(name):
            raise BadContent(f"wheel `{wheel}` declares a script that is not `name = module:function`: `{line[:120]}`")
        yield name, _script(match["module"], match["attr"], prefix)


def is_script_name(name: str) -> bool:
    """Whether *name* can be a file in bin/ without leaving it."""
    return _NAME.fullmatch(name) is not None and name not in (".", "..")


def _script(module: str, attr: str, prefix: str) -> str:
    first = attr.split(".")[0]
    return (
        f"{_shebang(prefix)}\nimport sys\n\nfrom {module} import {first}\n\n"
        f'if __name__ == "__main__":\n    sys.argv[0] = sys.argv[0].removesuffix(".exe")\n    sys.exit({attr}())\n'
    )


def _shebang(prefix: str) -> str:
    return f"#!{prefix}/bin/python3"


def with_our_interpreter(content: bytes, *, prefix: str) -> bytes:
    """A script of a wheel's `.data/scripts`: `#!python` (with or without arguments) names *prefix*'s interpreter."""
    match = re.match(rb"#!pythonw?([ \t][^\r\n]*)?(\r?\n|$)", content)
    if match is None:
        return content
    arguments = (match[1] or b"").rstrip()
    return _shebang(prefix).encode() + arguments + (match[2] or b"") + content[match.end() :]
