"""`python onlooker.py UUID SECONDS`: the processes on a GPU meanwhile, as JSON: pid → its pids, outermost first."""

from __future__ import annotations

import json
import re
import sys
import time
from pathlib import Path

from runtime.gpu.inventory import read_gpus


def namespaced(pid: int) -> list[int]:
    try:
        found = re.search(r"^NSpid:\s+(.*)$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    except OSError:
        return []
    return [int(one) for one in found[1].split()] if found else []


def main(uuid: str, seconds: str) -> None:
    seen: dict[int, list[int]] = {}
    deadline = time.monotonic() + float(seconds)
    print("looking")
    while time.monotonic() < deadline:
        pids = [process.pid for gpu in read_gpus() if gpu.uuid == uuid for process in gpu.processes]
        seen |= {pid: namespaced(pid) for pid in pids if pid not in seen}
        time.sleep(0.2)
    print(json.dumps(seen))


if __name__ == "__main__":
    main(*sys.argv[1:])
