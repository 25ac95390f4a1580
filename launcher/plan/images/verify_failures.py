"""Why an image cannot be made again: which locked file is not to be had any more, and which setting brings it back."""

from __future__ import annotations

import re
import time

from launcher.errors import LaunchError
from launcher.plan.launch_plan import LaunchPlan
from runtime.errors import RuntimeFailure
from runtime.store.records import Image


def explained(error: RuntimeFailure, image: Image, plan: LaunchPlan | None) -> LaunchError:
    """*error* of the rebuild of *image*, with the way out."""
    from runtime.build.debian.apt_sources import MIRROR_VARIABLE
    from runtime.build.debian.archive_client import NotThere

    again = f"launch verify {image.names[0] if image.names else image.digest.short}"
    built = time.strftime("%Y-%m-%d", time.gmtime(image.created_at))
    if isinstance(error.__cause__, NotThere):
        return LaunchError(
            error.message,
            hint=f"a snapshot archive of {built} has it: `{again} image.mirror=ADDRESS`, or {MIRROR_VARIABLE}=ADDRESS",
        )
    files = _wheels_in(error.message, plan)
    if files or "`uv pip " in error.message:
        named = ", ".join(f"`{file}`" for file in files) or "all of the locked wheels"
        return LaunchError(
            f"the index does not give {named}: {error.message}",
            hint=f"name an index or directory that does: `{again} image.index.url=ADDRESS`, or `'image.index.find_links=[DIR]'`",
        )
    return LaunchError(f"the image cannot be made again: {error.message}", hint=error.hint)


def _wheels_in(words: str, plan: LaunchPlan | None) -> list[str]:
    """Locked files whose package uv's *words* name."""
    wheels = plan.lock.wheels if plan is not None and plan.lock is not None else ()
    return [
        wheel.filename
        for wheel in wheels
        if re.search(rf"(?<![\w.-]){re.escape(wheel.name)}(?![\w-])", words) or wheel.filename in words
    ]
