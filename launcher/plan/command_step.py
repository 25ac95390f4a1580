"""What every command has in common that an experiment runs in its image (`image.run`, apt on an imported base)."""

from __future__ import annotations

LEFT_OVERS = (
    "var/cache/apt/archives/**",
    "var/lib/apt/lists/**",
    "root/.cache/**",
    "tmp/**",
)
"""What such commands leave behind that is large and not their result. Each is whole by itself; instructions of a Dockerfile
are not and may build upon each other's caches. What differs from run to run is `runtime.build.run_residue`."""

RUN_NETWORK = "host"
"""`image.run` and apt may download. One value for all machines, since it is part of the step's key."""
