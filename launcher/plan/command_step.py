"""What every command has in common that an experiment runs in its image (`image.run`, apt on an imported base)."""

from __future__ import annotations

DIFFERS_EACH_TIME = (
    "var/cache/ldconfig/aux-cache",
    "var/cache/apt/**",
    "var/lib/apt/lists/**",
    "var/log/**",
    "root/.cache/**",
    "tmp/**",
)
"""What commands leave behind that is not part of their result."""

RUN_NETWORK = "host"
"""`image.run` and apt may download. One value for all machines, since it is part of the step's key."""
