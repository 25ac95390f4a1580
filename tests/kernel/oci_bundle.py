"""Bundles for tests: this machine's /usr read-only below an empty root, run by our OCI runtime in a process of its own.

`Runtime` is the command line; `facts` runs a few lines of Python in a container and returns what they assigned to `answer`.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from tests.kernel.userland import PYTHON, base_layer, userland

_START = "import sys; sys.path.insert(0, {path!r}); from runtime.oci_runtime.entry import exit_now, main; exit_now(main())"
REPOSITORY = Path(__file__).resolve().parents[2]

NAMESPACES = ("cgroup", "ipc", "mount", "network", "pid", "uts")
CLOSED = ["nosuid", "noexec", "nodev"]


class Runtime:
    """Our runtime with records below *directory*."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def argv(self, *words: str) -> list[str]:
        start = _START.format(path=str(REPOSITORY))
        return [sys.executable, "-I", "-S", "-c", start, "--root", str(self.directory / "records"), *words]

    def run(self, *words: str, code: int = 0, **options: Any) -> str:
        """Run a command that is to exit with *code*; what it said on stdout, or on stderr when it failed."""
        # Files and not pipes: a container that goes on has them, too.
        with TemporaryFile("w+") as out, TemporaryFile("w+") as err:
            streams: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": out, "stderr": err}
            ended = subprocess.run(self.argv(*words), timeout=60, check=False, **streams, **options).returncode
            out.seek(0)
            err.seek(0)
            said, complained = out.read(), err.read()
        assert code == ended, (words, ended, said, complained)
        return complained if code else said

    def state(self, container_id: str) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self.run("state", container_id))
        return document


def configuration(*args: str, namespaces: tuple[str, ...] = NAMESPACES, **process: Any) -> dict[str, Any]:
    """A configuration that runs *args*; *process* are more fields of `process`."""
    binds = [
        {"destination": one.target, "type": "bind", "source": str(one.source), "options": ["rbind", "ro"]} for one in userland()
    ]
    return {
        "ociVersion": "1.2.0",
        "process": {"args": list(args), "cwd": "/", "env": ["PATH=/usr/bin:/bin"], "user": {"uid": 0, "gid": 0}, **process},
        "root": {"path": "rootfs", "readonly": False},
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755"]},
            {"destination": "/dev/pts", "type": "devpts", "options": ["newinstance", "ptmxmode=0666", "mode=0620"]},
            {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": [*CLOSED, "ro"]},
            *binds,
        ],
        "linux": {"namespaces": [{"type": kind} for kind in namespaces]},
    }


def write_bundle(directory: Path, document: dict[str, Any]) -> Path:
    """The bundle's directory."""
    bundle = directory / "bundle"
    if not bundle.exists():
        bundle.mkdir(parents=True)
        base_layer(bundle / "rootfs")
        for parent in (directory, bundle, bundle / "rootfs"):
            parent.chmod(0o755)
    (bundle / "config.json").write_text(json.dumps(document))
    return bundle


def python_configuration(code: str, **changes: Any) -> dict[str, Any]:
    return configuration(PYTHON, "-I", "-c", f"import json, os\n{code}\nprint(json.dumps(answer))", **changes)


def facts(directory: Path, document: dict[str, Any], name: str) -> Any:
    """What the container of *document* (`python_configuration`) reports."""
    bundle = write_bundle(directory, document)
    return json.loads(Runtime(directory).run("run", "--bundle", str(bundle), name))
