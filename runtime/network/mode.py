"""The networks that a container can have."""

from __future__ import annotations

from typing import Literal

NetworkMode = Literal["none", "host", "bridge", "pasta"]
"""Nothing but loopback; the host's own; a veth pair to a bridge (root); a user-mode stack by the program `pasta`. A named network
is a bridge of its own whose members may talk to each other: `bridge` and a name."""
