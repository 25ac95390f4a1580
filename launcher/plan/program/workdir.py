"""Where a program works, and where its code lies: the same directory, unless that is `/outputs`.

Whoever says `workdir: /outputs` wants what the program writes to be its results. That place is the run's, not the image's, so the
code lies where it always does, and links in the working directory lead to it (`launcher.run.supervisor.workspace_files`).
"""

from __future__ import annotations

import os

from runtime.build.plan import WORKDIR

OUTPUTS = "/outputs"


def is_in_outputs(workdir: str) -> bool:
    path = os.path.normpath(workdir)
    return path == OUTPUTS or path.startswith(f"{OUTPUTS}/")


def workspace_of(workdir: str) -> str:
    """Where the code lies of a program that works in *workdir*."""
    return WORKDIR if is_in_outputs(workdir) else workdir
