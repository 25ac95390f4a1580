"""The three networks a container can have."""

from __future__ import annotations

from typing import Literal

NetworkMode = Literal["none", "host", "bridge"]
