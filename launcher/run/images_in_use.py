"""Which images the active and the pinned runs use: nothing may take those away."""

from __future__ import annotations

from launcher.run.pins_and_removal import pinned_runs
from launcher.tracking.record.run_record import fold
from runtime.state_dir import StateDir


def images_in_use(state: StateDir) -> dict[str, str]:
    """Image digest → id of a run that uses it."""
    records = [fold(run_dir) for run_dir in (*pinned_runs(state), *state.active.runs())]
    return {record.image_digest: record.run_id for record in records if record is not None and record.image_digest}
