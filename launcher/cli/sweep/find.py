"""The sweep that a word on the command line means: its parent's id or name, `@last`, or one of its trials."""

from __future__ import annotations

from launcher.errors import ConfigError
from launcher.tracking.record.run_record import RunRecord, find_run, list_runs
from runtime.state_dir import StateDir


def find_sweep(state: StateDir, reference: str) -> RunRecord:
    """`@last` is the latest sweep, whatever ran since. Raises ConfigError."""
    if reference == "@last":
        sweeps = [record for record in list_runs(state) if record.is_sweep]
        if not sweeps:
            raise ConfigError("there are no sweeps yet", hint="`launch -m experiment=NAME params.lr=0.1,0.01` runs one")
        return sweeps[-1]
    record = find_run(state, reference)
    if record.sweep_id is None:
        hint = "`launch runs --where 'sweep is not null'` lists those that do"
        raise ConfigError(f"run `{record.run_id}` belongs to no sweep", hint=hint)
    return record if record.is_sweep else find_run(state, record.sweep_id)
