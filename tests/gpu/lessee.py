"""A launcher as far as a lease sees it: `python lessee.py RUN [COMMAND …]` waits for one GPU (`RUN:0.5`: for half of one) and
runs COMMAND, which holds the lease as the container's init does. Says `waiting: …`, `leased UUID`, `job PID`, `ended CODE`."""

from __future__ import annotations

import subprocess
import sys

from gpu_racers import plan_for

from launcher.run.gpus.gpu_queue import wait_for_gpus
from launcher.run.supervisor.signal_inbox import SignalInbox
from runtime.gpu.leases.lease import release


def main(run: str, *command: str) -> None:
    run, _, part = run.partition(":")
    found = wait_for_gpus(
        plan_for(float(part or 1)), run, SignalInbox(()), lambda place, of, text: print("waiting:", place, of, text)
    )
    print("leased", *found.lease.uuids)
    if command:
        job = subprocess.Popen(command, pass_fds=found.lease.fds, stdout=subprocess.DEVNULL)
        print("job", job.pid)
        print("ended", job.wait())
    release(found.lease)


if __name__ == "__main__":
    main(*sys.argv[1:])
