"""What is known of a container between two commands: a directory below `--root`, named by the container's id.

state.json    what it is (below); written when it is complete, so that whoever reads it finds a container
config.json   the bundle's configuration as it was at `create`
gate          socket at which PID 1 waits for `start`; gone once it was started
"""

from __future__ import annotations

import json
import os
import signal
import time
from contextlib import suppress
from pathlib import Path

from runtime.cgroup.cgroup import Cgroup
from runtime.cgroup.freezer import is_frozen
from runtime.errors import ContainerError
from runtime.kernel.process_identity import start_time
from runtime.kernel.processes import is_root_of_machine
from runtime.light_typing import Any, NamedTuple
from runtime.oci.runtime_config import RuntimeConfig, config_from_json
from runtime.whole_file import replace_file

OCI_VERSION = "1.2.0"
_LETTERS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_+.-")

CREATING, CREATED, RUNNING, PAUSED, STOPPED = "creating", "created", "running", "paused", "stopped"


class Record(NamedTuple):
    """One container."""

    directory: Path
    container_id: str
    pid: int
    started: int
    """When PID started, in clock ticks since boot: tells a number that was given out again."""
    bundle: str
    created_at: str
    owner: str
    cgroup: Cgroup
    annotations: dict[str, str]

    @property
    def gate(self) -> Path:
        return self.directory / "gate"

    def config(self) -> RuntimeConfig:
        """The configuration it was created with."""
        return config_from_json(json.loads((self.directory / "config.json").read_bytes()))

    def alive(self) -> bool:
        """Whether its process is there and no zombie."""
        return self.pid > 0 and start_time(self.pid) == self.started

    def status(self) -> str:
        """One of the five words (runtime.md, "State"; `paused` is ours and everybody's)."""
        if self.pid == 0:
            return CREATING
        if not self.alive():
            return STOPPED
        if self.gate.exists():
            return CREATED
        return PAUSED if is_frozen(self.cgroup) else RUNNING

    def state(self, *, status: str | None = None) -> dict[str, Any]:
        """The document of `state`, which hooks get too."""
        status = status or self.status()
        document: dict[str, Any] = {
            "ociVersion": OCI_VERSION,
            "id": self.container_id,
            "status": status,
            "pid": 0 if status == STOPPED else self.pid,
            "bundle": self.bundle,
        }
        if self.annotations:
            document["annotations"] = self.annotations
        return document

    def signal(self, number: int) -> None:
        """Send a signal to its process. Raises ContainerError when there is none."""
        try:
            pidfd = os.pidfd_open(self.pid)
        except (ProcessLookupError, OSError) as error:
            raise ContainerError(f"container `{self.container_id}` is not running") from error
        try:
            if not self.alive():
                raise ContainerError(f"container `{self.container_id}` is not running")
            signal.pidfd_send_signal(pidfd, number)
        finally:
            os.close(pidfd)

    def write(self) -> None:
        """Make this what others read."""
        document = self._asdict()
        del document["directory"], document["cgroup"]
        every = {**self.cgroup.controllers, **({"": self.cgroup.unified} if self.cgroup.unified is not None else {})}
        document["cgroups"] = {controller: str(directory) for controller, directory in every.items()}  # `` is the v2 hierarchy
        replace_file(self.directory / "state.json", json.dumps(document))

    def remove(self) -> None:
        """Forget it."""
        with suppress(FileNotFoundError):  # somebody else deletes it, too
            for name in os.listdir(self.directory):
                (self.directory / name).unlink(missing_ok=True)
            self.directory.rmdir()


def default_root() -> Path:
    """Where records lie unless `--root` says so."""
    if is_root_of_machine():
        return Path("/run/launch-oci")
    runtime_dir = os.environ.get("XDG_RUNTIME_DIR")
    return Path(runtime_dir, "launch-oci") if runtime_dir else Path(f"/tmp/launch-oci-{os.geteuid()}")


def _is_name(text: str) -> bool:
    return _LETTERS.issuperset(text) and text not in ("", ".", "..") and not text.startswith("-")


def check_id(container_id: str) -> str:
    """A name that is safe as a file's. Raises ContainerError."""
    if not _is_name(container_id) or len(container_id) > 1024:
        raise ContainerError(
            f"not a container id: `{container_id}`", hint="letters, digits, `_`, `+`, `-` and `.`, not beginning with `-`"
        )
    return container_id


def claim(root: Path, container_id: str) -> Path:
    """Make the directory of a new container. Raises ContainerError when there is one of that name."""
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    directory = root / check_id(container_id)
    try:
        directory.mkdir(mode=0o711)
    except FileExistsError as error:
        raise ContainerError(f"container `{container_id}` already exists") from error
    return directory


def read(root: Path, container_id: str) -> Record:
    """The container *container_id*. Raises ContainerError when there is none."""
    directory = root / check_id(container_id)
    try:
        document = json.loads((directory / "state.json").read_bytes())
    except FileNotFoundError as error:
        if directory.is_dir():
            return Record(directory, container_id, 0, 0, "", "", "", Cgroup(container_id), {})
        raise ContainerError(f"container `{container_id}` does not exist") from error
    except NotADirectoryError as error:
        raise ContainerError(f"container `{container_id}` does not exist") from error
    controllers = {controller: Path(place) for controller, place in document.pop("cgroups").items()}
    unified = controllers.pop("", None)
    return Record(directory, cgroup=Cgroup(container_id, controllers, unified), **document)


def read_all(root: Path) -> list[Record]:
    """Every container below *root*, by name."""
    try:
        names = sorted(entry.name for entry in os.scandir(root) if entry.is_dir() and _is_name(entry.name))
    except FileNotFoundError:
        return []
    found = []
    for name in names:
        try:
            found.append(read(root, name))
        except ContainerError:
            continue  # deleted meanwhile
    return found


def now() -> str:
    """RFC 3339, UTC."""
    seconds = time.time()
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{int(seconds % 1 * 1e9):09d}Z"
