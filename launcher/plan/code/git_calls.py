"""Ask the git program: which files are the code's, and does the work tree differ from HEAD.

Started by posix_spawn(3) and read through pipes instead of `subprocess`, whose import costs as much as both calls; both run
while the files are looked at. git refuses repositories of other users (`safe.directory`): that is its protection against
their configuration, so it is not overridden here; the caller falls back on `code_listing.py` and `git_index.py`.
"""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Sequence

_TIMEOUT_S = 20.0
_DIFF_LIMIT_BYTES = 1_000_000

# Set when launch is called from a git hook; they would point git at another repository or index.
_REDIRECTING = frozenset(
    ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_COMMON_DIR", "GIT_NAMESPACE", "GIT_PREFIX")
)


class GitCall:
    """One git process whose output is read later. `output()` reaps it; call it exactly once."""

    def __init__(self, arguments: Sequence[str], *, directory: str, git: str = "git") -> None:
        argv = [git, "-C", directory, "--no-pager", *arguments]
        environ = {key: value for key, value in os.environ.items() if key not in _REDIRECTING}
        environ |= {"LC_ALL": "C", "GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0"}
        self._read_end, write_end = os.pipe()
        try:
            self._pid = os.posix_spawnp(
                git,
                argv,
                environ,
                file_actions=[
                    (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                    (os.POSIX_SPAWN_DUP2, write_end, 1),
                    (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0),
                ],
            )
        except BaseException:
            os.close(self._read_end)
            raise
        finally:
            os.close(write_end)

    def output(self, *, limit_bytes: int | None = None) -> bytes | None:
        """What git printed; None when it failed or did not end in time. More than *limit_bytes* is cut off."""
        deadline = time.monotonic() + _TIMEOUT_S
        chunks: list[bytes] = []
        size = 0
        ended = False
        poll = select.poll()
        poll.register(self._read_end, select.POLLIN)
        while not ended and (limit_bytes is None or size < limit_bytes):
            if not poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
                break
            chunk = os.read(self._read_end, 1 << 16)
            ended = not chunk
            chunks.append(chunk)
            size += len(chunk)
        os.close(self._read_end)
        if not ended:
            os.kill(self._pid, signal.SIGKILL)
        _, status = os.waitpid(self._pid, 0)
        content = b"".join(chunks)
        if limit_bytes is not None and size >= limit_bytes:
            return content[:limit_bytes]
        return content if ended and os.waitstatus_to_exitcode(status) == 0 else None


def start_listing(directory: str) -> GitCall:
    """Tracked files, and untracked ones that are not ignored, below *directory*."""
    return GitCall(["ls-files", "-z", "-t", "--cached", "--others", "--exclude-standard"], directory=directory)


def start_status(directory: str) -> GitCall:
    """Changes of tracked files, anywhere in the work tree. What is untracked in it is not looked for: that may be a lot."""
    # What is untracked in a submodule makes it another one, whatever its configuration says.
    arguments = ["status", "--porcelain=v2", "-z", "--untracked-files=no", "--ignore-submodules=none"]
    return GitCall(arguments, directory=directory)


def listed_files(output: bytes) -> tuple[list[str], bool]:
    """Names that `start_listing` printed, once each (a conflict lists a file up to three times), and whether one is untracked.

    A nested clone ends in `/`. Untracked files elsewhere in the work tree are not part of the code.
    """
    lines = {os.fsdecode(line) for line in output.split(b"\0") if line}  # each begins with a letter, `?` for untracked ones
    return sorted({line[2:] for line in lines}), any(line.startswith("? ") for line in lines)


def has_changes(output: bytes) -> bool:
    """Whether `start_status` shows a change of a tracked file. Lines with `#` tell of other things (`status.showStash`)."""
    return any(entry and not entry.startswith(b"#") for entry in output.split(b"\0"))


def diff_to_head(directory: str) -> str | None:
    """`git diff HEAD` of the whole work tree, cut at 1 MB; None when git has no answer."""
    # External diff drivers and textconv programs named in the configuration would change what is recorded.
    arguments = ["diff", "--no-color", "--no-ext-diff", "--no-textconv", "--binary", "HEAD"]
    output = GitCall(arguments, directory=directory).output(limit_bytes=_DIFF_LIMIT_BYTES)
    return None if output is None else output.decode("utf-8", errors="replace")
