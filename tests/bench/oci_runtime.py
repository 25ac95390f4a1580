"""`run` of a bundle with `true`, the whole process, beside runc and crun on the same bundle. Needs root and runc.

    python tests/bench/oci_runtime.py

Ours is started as docs/guides/oci-runtime.md says (`-I -S`: no site-packages). It starts twice: the second time from a read-only
mount of the interpreter's file. crun refuses to start on a machine with both cgroup versions mounted; then it is left out.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from paired import Case, measure, parser, timed

from tests.kernel.oci_bundle import Runtime, configuration, write_bundle

HYBRID = Path("/sys/fs/cgroup/unified")


def main() -> None:
    options = parser(__doc__, rounds=30)
    chosen = options.parse_args()
    if os.geteuid() != 0 or shutil.which("runc") is None:
        options.error("this needs root, and runc (`apt-get install runc`)")
    with tempfile.TemporaryDirectory(prefix="launch-bench-") as scratch:
        directory = Path(scratch)
        directory.chmod(0o755)
        bundle = str(write_bundle(directory, configuration("true")))
        ours = Runtime(directory).argv("run", "--bundle", bundle, "bench-ours")
        cases = [Case("runc run", _once("runc", "--root", f"{scratch}/runc", "run", "--bundle", bundle, "bench-runc"))]
        if shutil.which("crun") is not None and not HYBRID.exists():
            cases.append(Case("crun run", _once("crun", "--root", f"{scratch}/crun", "run", "--bundle", bundle, "bench-crun")))
        whole = [Path("/usr/bin/python3"), Path(sys.executable)]
        for python in dict.fromkeys(one.resolve() for one in whole if one.exists()):
            argv = [str(python), *ours[1:-1], f"bench-{python.name}"]
            cases.append(Case(f"launch oci run, {python.name}", _once(*argv)))
        measure("OCI runtime: run of `true`", cases, rounds=chosen.rounds, warmups=3)


def _once(*argv: str) -> Callable[[], float]:
    return lambda: timed(lambda: subprocess.run(argv, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL))


if __name__ == "__main__":
    main()
