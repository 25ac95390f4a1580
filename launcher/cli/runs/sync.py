"""`launch sync [RUN…]`: send to MLflow what it missed: metrics, final status, artifacts."""

from __future__ import annotations

from collections.abc import Sequence

from launcher.cli import render
from launcher.cli.failures import user_words
from launcher.errors import ConfigError, LaunchError
from launcher.tracking.record.find_runs import find_run, list_runs
from launcher.tracking.record.run_record import RunRecord, fold
from runtime.state_dir import state_dir


def sync_runs(references: Sequence[str]) -> int:
    from launcher.cli.cluster_run import settle_all
    from launcher.run.recover import recover_all
    from launcher.tracking.sync import is_synced, sync_run, words_of

    state = state_dir().ensure()
    settle_all(state)
    recover_all(state)
    records = [find_run(state, reference) for reference in references] or [
        r for r in list_runs(state) if r.run_dir.is_own and not is_synced(r.run_dir)
    ]
    failed = False
    for record in records:
        try:
            _refuse_others(record)
            sent = sync_run(record.run_dir)
            if not sent and record.exit_code is not None and not is_synced(record.run_dir):
                render.say(f"{record.run_id} is being sent: waiting for that")
                sent = sync_run(record.run_dir, wait=True)
        except (LaunchError, OSError) as error:
            # The next run may have another server.
            failed = True
            render.warn(f"{record.run_id} not sent: {words_of(error)}")
            continue
        render.say(f"{record.run_id} {_sent_words(record) if sent else 'is not tracked, or its own tracker is at it'}")
    if not records:
        render.say("nothing is left to send")
    return LaunchError.exit_code if failed else 0


def _refuse_others(record: RunRecord) -> None:
    """What root wrote into another user's run, and into his server's files, he could not write any more. Raises ConfigError."""
    if not record.run_dir.is_own:
        owner = user_words(record.run_dir.root.stat().st_uid)
        raise ConfigError(f"it belongs to {owner}, who sends it: `launch sync {record.run_id}` as that user")


def _sent_words(record: RunRecord) -> str:
    """Of a run that was sent: its end, too?"""
    now = fold(record.run_dir)
    return "sent so far: it has not ended" if now is not None and now.exit_code is None else "sent"
