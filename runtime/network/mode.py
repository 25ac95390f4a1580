"""The networks that a container can have, and what works for those who may have no bridge."""

from __future__ import annotations

from typing import Literal

from runtime.errors import Unsupported

NetworkMode = Literal["none", "host", "bridge", "pasta"]
"""Nothing but loopback; the host's own; a veth pair to a bridge (root); a user-mode stack by the program `pasta`. A named network
is a bridge of its own whose members may talk to each other: `bridge` and a name."""

WITHOUT_ROOT = (
    "`network=pasta` is a network of the run's own without root, `network=host` shares the host's, `network=none` needs nothing"
)


def needs_root(network: str) -> Unsupported:
    """The refusal of a bridge to an ordinary user."""
    return Unsupported(f"`network: {network}` needs root", hint=WITHOUT_ROOT)
