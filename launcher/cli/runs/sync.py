"""`launch sync [RUN…]`: send to MLflow what it missed: metrics, final status, artifacts."""

from __future__ import annotations

from collections.abc import Sequence

from launcher.cli import render
from launcher.errors import LaunchError
from launcher.tracking.record.find_runs import find_run, list_runs
from launcher.tracking.record.run_record import RunRecord, fold
from runtime.state_dir import state_dir


def sync_runs(references: Sequence[str]) -> int:
    from launcher.cli.cluster_run import settle_all
    from launcher.run.recover import recover_all
    from launcher.tracking.sync import is_synced, sync_run

    state = state_dir().ensure()
    settle_all(state)
    recover_all(state)
    records = [find_run(state, reference) for reference in references] or [
        r for r in list_runs(state) if not is_synced(r.run_dir)
    ]
    failed = False
    for record in records:
        try:
            sent = sync_run(record.run_dir)
        except LaunchError as error:
            # The next run may have another server.
            failed = True
            render.warn(f"{record.run_id} not sent: {error.message}")
            continue
        render.say(f"{record.run_id} {_sent_words(record) if sent else 'is not tracked, or its own tracker is at it'}")
    if not records:
        render.say("nothing is left to send")
    return LaunchError.exit_code if failed else 0


def _sent_words(record: RunRecord) -> str:
    """Of a run that was sent: its end, too?"""
    now = fold(record.run_dir)
    return "sent so far: it has not ended" if now is not None and now.exit_code is None else "sent"
