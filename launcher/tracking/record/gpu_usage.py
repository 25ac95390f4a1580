"""What a run's GPUs cost: hours for which it held them, and their energy.

Hours follow from the journal: from a lease to the end of its attempt, idle or not, since nobody else could have them. Energy is
measured (`runtime.gpu.energy`) and kept in the run's directory, so that a supervisor that takes over goes on counting.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from launcher.journal.run_state import RunState
from runtime.gpu.energy import EnergyMeter
from runtime.state_dir import RunDir
from runtime.whole_file import replace_file


def load_meters(run_dir: RunDir) -> dict[str, EnergyMeter]:
    """What was measured for the run so far, by UUID."""
    try:
        stored = json.loads(run_dir.gpu_energy.read_bytes())
        return {uuid: EnergyMeter.from_json(document) for uuid, document in stored.items()}
    except (FileNotFoundError, ValueError, TypeError, AttributeError):
        return {}


def store_meters(run_dir: RunDir, meters: Mapping[str, EnergyMeter]) -> None:
    """Replaces what was there."""
    replace_file(run_dir.gpu_energy, json.dumps({uuid: meter.to_json() for uuid, meter in meters.items()}))


def gpu_usage(run_dir: RunDir, state: RunState, *, until: float) -> dict[str, float]:
    """For the journal's last word: nothing for a run without GPUs, no energy where none was measured."""
    hours = state.gpu_hours(until)
    if not hours:
        return {}
    measured = [meter.joules for meter in load_meters(run_dir).values() if meter.known]
    usage = {"gpu_hours": round(hours, 4)}
    return usage | ({"gpu_energy_wh": round(sum(measured) / 3600, 3)} if measured else {})
