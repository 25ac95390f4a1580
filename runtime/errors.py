"""What can go wrong in `runtime`, as values a caller can show.

    RuntimeFailure            a failure that somebody can act on; shown without a traceback
    ├── Unsupported           this machine lacks something (names the feature and what to do)
    ├── BadContent            content from outside (tar, wheel, index, JSON) breaks its format or is hostile
    ├── BuildError            a build step failed
    │   └── NotAvailable      a package, version or suite that was asked for is nowhere to be had
    ├── StoreError            the store is damaged, full or not writable
    ├── ContainerError        a container could not be made or started
    ├── NetworkError          an address could not be reached, or a link could not be made
    ├── GpuError              NVML or the driver refused
    └── ToolFailed            an external program exited non-zero; its own words are kept

A failed system call is `runtime.kernel.libc.KernelError` (an OSError). Anything else is a bug.
"""

from __future__ import annotations

from collections.abc import Sequence


def error_words(error: BaseException) -> str:
    """*error* in words: of a failed system call those of errno(3), in lower case."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return str(error) or type(error).__name__


def place_and_words(error: OSError) -> str:
    """`error_words`, and on what: ``/home/ada/x`: permission denied`."""
    return error_words(error) if error.filename is None else f"`{error.filename}`: {error_words(error)}"


class RuntimeFailure(Exception):
    """A failure with a message (lower case, no final period) and, where we know one, a way out."""

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class Unsupported(RuntimeFailure):
    """This machine cannot do it."""


class BadContent(RuntimeFailure):
    """Content that came from outside is malformed, does not match its digest, or tries to escape."""

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        # What a stranger's document says must not begin a line that looks like ours.
        super().__init__(message.replace("\n", "\\n"), hint=hint)


class BuildError(RuntimeFailure):
    """A step of a build plan failed."""


class NotAvailable(BuildError):
    """What was asked for cannot be had: whoever asked has to ask for something else. The archive itself answered."""


class StoreError(RuntimeFailure):
    """The store below LAUNCH_HOME cannot be read or written."""


class NoSuchImage(StoreError):
    """The store has no image of this name or digest."""


class ContainerError(RuntimeFailure):
    """A container could not be created or started."""


class NetworkError(RuntimeFailure):
    """A remote address or a local link failed."""


class GpuError(RuntimeFailure):
    """NVML, a device node or a lease failed."""


class ToolFailed(RuntimeFailure):
    """An external program exited non-zero."""

    def __init__(self, argv: Sequence[str], returncode: int, words: str, *, hint: str | None = None) -> None:
        super().__init__(f"`{' '.join(argv)}` exited with {returncode}: {words}", hint=hint)
        self.argv = tuple(argv)
        self.returncode = returncode
        self.words = words
