"""Byte-compile Python files. Runs inside the image's container, under the image's own interpreter (3.9 or newer).

    PYTHONHASHSEED=0 python3 -s -S -B compile_worker.py JOBS WORKERS

JOBS: one JSON object {"mtime": seconds, "files": [[path, name in tracebacks], …]}. A file that doesn't compile (a template,
Python 2) is left out, as pip does. Single-threaded processes, since threads make marshal's reference flags differ from run to
run. The pyc are checked by mtime and size (PEP 552's timestamp form), under a mtime that is told and not read.

One more thing depends on what a process compiled before: whether two functions share an equal set constant. CPython
(codeobject.c, intern_constants) makes a new frozenset when a string in it was interned already by somebody else, and keeps
the shared one otherwise. So a file in which two functions have an equal set is compiled a second time while the first result
is alive: then all its strings are interned, whatever came before.
"""

from __future__ import annotations

import importlib.util
import json
import marshal
import os
import struct
import sys
import warnings
from types import CodeType
from typing import Any


def pyc_of(path: str, shown: str, mtime: int) -> bytes | None:
    """The content of the .pyc for the source *path*; None when it doesn't compile."""
    with open(path, "rb") as file:
        source = file.read()
    try:
        code = compile(source, shown, "exec", dont_inherit=True, optimize=0)
        if may_share_a_set(code):
            first, code = code, compile(source, shown, "exec", dont_inherit=True, optimize=0)
            del first
    except (SyntaxError, ValueError, RecursionError, MemoryError, OverflowError):
        return None
    header = struct.pack("<4sLLL", importlib.util.MAGIC_NUMBER, 0, mtime & 0xFFFFFFFF, len(source) & 0xFFFFFFFF)
    return header + marshal.dumps(code)


def may_share_a_set(code: CodeType) -> bool:
    """Whether two functions of *code* have an equal set among their constants."""
    seen: set[frozenset[Any]] = set()
    pending = [code]
    while pending:
        for constant in pending.pop().co_consts:
            if isinstance(constant, CodeType):
                pending.append(constant)
            elif isinstance(constant, frozenset):
                # Before 3.11 marshal wrote a set in the order of its table, and a new frozenset may have another one.
                if constant in seen or sys.version_info < (3, 11):
                    return True
                seen.add(constant)
    return False


def compile_one(path: str, shown: str, mtime: int) -> None:
    content = pyc_of(path, shown, mtime)
    if content is None:
        return
    target = importlib.util.cache_from_source(path, optimization="")
    os.makedirs(os.path.dirname(target), mode=0o755, exist_ok=True)
    with open(target, "wb") as file:
        file.write(content)


def work(queue: int, jobs: dict[str, Any]) -> None:
    """Take numbers of files from the pipe *queue* until it is empty. Reads of 4 bytes never interleave (pipe(7))."""
    warnings.simplefilter("ignore")
    while True:
        number = os.read(queue, 4)
        if len(number) < 4:
            return
        path, shown = jobs["files"][int.from_bytes(number, "little")]
        compile_one(path, shown, jobs["mtime"])


def main(jobs_path: str, workers: int) -> int:
    with open(jobs_path, encoding="utf-8") as file:
        jobs = json.load(file)
    read_end, write_end = os.pipe()
    children = []
    for _ in range(workers):
        child = os.fork()
        if child == 0:
            os.close(write_end)
            status = 1
            try:
                work(read_end, jobs)
                status = 0
            finally:
                os._exit(status)
        children.append(child)
    os.close(read_end)
    try:
        for number in range(len(jobs["files"])):
            os.write(write_end, number.to_bytes(4, "little"))
    except BrokenPipeError:
        print("every compile worker died", file=sys.stderr)
    os.close(write_end)
    ends = [os.waitpid(child, 0)[1] for child in children]
    return 0 if not any(ends) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2])))
