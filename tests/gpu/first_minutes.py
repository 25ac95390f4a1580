"""The first minutes on a machine with a GPU: `python tests/gpu/first_minutes.py [DIRECTORY]`, as root or as whoever you are.

Writes first-minutes.json and first-minutes.md below DIRECTORY (here): what the machine says of itself, what launch makes of it
beside nvidia-smi, and the acceptance list of this directory; as root twice, the second time as an ordinary user. Takes five
minutes and leaves nothing behind but the two files. Exits 0 when nothing failed, 1 when something did, 77 without a GPU.
"""

from __future__ import annotations

import json
import os
import pwd
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parents[1]
NOT_RUN = 77

PARTS = """\
evidence        nvidia-smi -q -x, its topology and NVLink, nodes, /proc/driver/nvidia, mounts, libraries, CDI files
inventory       what launch reads of each GPU, beside what nvidia-smi says
NVML            each call that launch makes: its answer, its time, its shape beside the made machine's
containers      cuInit, memory, PTX compiled at run time, torch where it is installed; no other GPU's node; as root and as a user
numbers         what CUDA_VISIBLE_DEVICES=N is to CUDA and to launch
leases          who comes second, kill -9 of launcher and job, halves of a GPU, processes from outside
faults          an illegal address (Xid 31), memory that runs out, a library of another version
load            a minute of it: energy, clocks, pids
steps           their time in a container, beside a bare process"""


def main(directory: str = ".") -> int:
    sys.path[:0] = [str(HERE), str(REPOSITORY)]
    from machine_evidence import machine_evidence

    why_not, gpus = _gpus()
    if why_not is not None:
        print(f"not run: {why_not}\n\nIt would look at\n\n{PARTS}")
        return NOT_RUN
    found: dict[str, Any] = {"evidence": machine_evidence(), "gpus": gpus, "acceptance": {}}
    for who, become in _users():
        print(f"the acceptance list as {who} …", flush=True)
        found["acceptance"][who] = become if isinstance(become, str) else _acceptance(become)
    target = Path(directory)
    (target / "first-minutes.json").write_text(json.dumps(found, indent=1))
    (target / "first-minutes.md").write_text(page := _page(found))
    print(page)
    return int(any(_outcomes(tests, "failed") for tests in found["acceptance"].values()))


def _gpus() -> tuple[str | None, list[dict[str, Any]]]:
    """What launch reads of the GPUs here, or why there is nothing to do."""
    from runtime.errors import GpuError
    from runtime.gpu.inventory import read_all_gpus
    from runtime.light_dataclasses import asdict

    try:
        gpus = [gpu for gpu in read_all_gpus() if gpu.vendor == "nvidia"]
    except GpuError as error:
        return error.message, []
    return None if gpus else "there is no NVIDIA GPU here", [asdict(gpu) for gpu in gpus]


def _users() -> Iterable[tuple[str, list[str] | str]]:
    """Who tries it, and how to become that user, or why not."""
    if os.geteuid() != 0:
        return [(f"the user {os.geteuid()}", [])]
    people = [one for one in pwd.getpwall() if one.pw_uid >= 1000 and "nologin" not in one.pw_shell]
    user = next((one for one in people if str(one.pw_uid) == os.environ.get("SUDO_UID")), people[0] if people else None)
    if user is None:
        return [("root", []), ("an ordinary user", "this machine has none")]
    become = ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--init-groups"]
    readable = (os.path.realpath(sys.executable), str(HERE / "conftest.py"))
    closed = [path for path in readable if subprocess.run([*become, "test", "-r", path], check=False).returncode]
    why = f"not readable for others: {', '.join(closed)}"
    return [("root", []), (f"the user {user.pw_name}", why if closed else become)]


def _acceptance(become: list[str]) -> dict[str, Any] | str:
    """Name of a test → its outcome and what it saw; the end of pytest's words where it has written no report."""
    with tempfile.TemporaryDirectory(prefix="first-minutes-") as directory:
        os.chmod(directory, 0o777)
        report = Path(directory, "report.json")
        done = subprocess.run(
            [*become, sys.executable, "-m", "pytest", "-q", "-m", "gpu", "-p", "no:cacheprovider", str(HERE)],
            env={**os.environ, "HOME": directory, "LAUNCH_GPU_REPORT": str(report), "PYTHONDONTWRITEBYTECODE": "1"},
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            check=False,
        )
        if not report.exists():
            return (done.stdout + done.stderr)[-4000:]
        tests: dict[str, Any] = json.loads(report.read_text())["tests"]
        return tests


def _outcomes(tests: dict[str, Any] | str, outcome: str) -> list[str]:
    return [] if isinstance(tests, str) else [name for name, one in tests.items() if one.get("outcome") == outcome]


def _page(found: dict[str, Any]) -> str:
    lines = ["# The first minutes", "", found["evidence"]["uname"], "", "| GPU | launch | nvidia-smi |", "| --- | --- | --- |"]
    smi = _as_nvidia_smi_says(found["evidence"]["nvidia-smi -q -x"])
    for gpu in found["gpus"]:
        ours = f"{gpu['model']}, {(gpu['memory_bytes'] or 0) >> 20} MiB, minor {gpu['minor']}, {gpu['trouble'] or 'well'}"
        lines.append(f"| {gpu['uuid']} | {ours} | {smi.get(gpu['uuid'], 'not told')} |")
    for who, tests in found["acceptance"].items():
        lines += ["", f"## As {who}", ""]
        lines += [f"not run: {tests}"] if isinstance(tests, str) else _results(tests)
    return "\n".join([*lines, ""])


def _results(tests: dict[str, Any]) -> Iterable[str]:
    yield ", ".join(f"{len(_outcomes(tests, one))} {one}" for one in ("passed", "failed", "skipped"))
    yield from ("", "| test | outcome | |", "| --- | --- | --- |")
    for name, one in sorted(tests.items()):
        numbers = {key: value for key, value in one.get("seen", {}).items() if isinstance(value, int | float)}
        said = ", ".join(f"{key} {value:.6g}" for key, value in numbers.items())
        why = one.get("why", "").strip().rpartition("Skipped: ")[2].splitlines()[-1:]
        sentence = name.removeprefix("test_").replace("_", " ")
        yield f"| {sentence} | {one.get('outcome')} | {' '.join([said, *why]).strip()[:150]} |"


def _as_nvidia_smi_says(text: str) -> dict[str, str]:
    """UUID → model, memory and minor."""
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError:
        return {}
    fields = ("product_name", "fb_memory_usage/total", "minor_number")
    return {str(one.findtext("uuid")): ", ".join(str(one.findtext(field)) for field in fields) for one in root.iter("gpu")}


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:2]))
