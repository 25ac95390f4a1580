"""Every reader of foreign bytes, by name."""

from __future__ import annotations

import image_readers
import machine_readers
import package_readers
import requirement_readers
import run_readers
import text_readers
from harness import Harness

_ROOMS = (image_readers, package_readers, requirement_readers, text_readers, run_readers, machine_readers)

HARNESSES: dict[str, Harness] = {one.name: one for room in _ROOMS for one in room.HARNESSES}
