"""`notify`: who is told when a run, or a sweep, has ended. A process of its own tells it, which nobody waits for.

Whom to tell stands in a file of the run's directory, and in no plan or record (`config.spec.to_record`): nobody who runs a record
again executes a command of its. The end is told after the journal's last word and before the run leaves the list of those that
have not ended: if a supervisor is killed in between, whoever takes over tells it, perhaps for the second time.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from launcher.run.start.supervisor_start import NOTIFY, spawn_logged, supervisor_argv
from runtime.state_dir import RunDir
from runtime.whole_file import replace_file

if TYPE_CHECKING:
    from launcher.tracking.record.run_record import RunRecord


class NotToldError(Exception):
    """Why nobody was told, in words."""


def keep_receiver(run_dir: RunDir, receiver: str | tuple[str, ...] | None) -> None:
    """Have the run's end told to *receiver*, an address or a command, which is executed where we are now; None: to nobody."""
    if receiver is not None:
        replace_file(run_dir.notify, json.dumps({"receiver": receiver, "cwd": os.getcwd()}))
    else:
        run_dir.notify.unlink(missing_ok=True)


def start_notifier(run_dir: RunDir) -> None:
    """Have somebody told that the run has ended, if that was asked for. What becomes of it stands in the supervisor's log."""
    if not run_dir.notify.exists():
        return
    notifier = spawn_logged([*supervisor_argv(NOTIFY), os.fspath(run_dir.root)], run_dir.supervisor_log)
    if "SLURM_JOB_ID" in os.environ:  # it would end with the job
        os.waitpid(notifier, 0)


def notify(run_dir: RunDir, *, answer_within_s: float = 15.0, command_ends_within_s: float = 60.0) -> None:
    """The notifier's whole life."""
    from launcher.tracking.record.run_record import fold

    kept, record = json.loads(run_dir.notify.read_bytes()), fold(run_dir)
    assert record is not None
    facts, receiver = end_facts(record), kept["receiver"]
    try:
        if isinstance(receiver, str):
            _post(receiver, facts, within_s=answer_within_s)
        else:
            _execute(receiver, facts, cwd=kept["cwd"], within_s=command_ends_within_s)
    except NotToldError as error:
        print(f"warning: nobody was told of the end of `{run_dir.run_id}` (`notify`): {error}", file=sys.stderr)


def end_facts(record: RunRecord) -> dict[str, Any]:
    """What a receiver is told: the body of a POST, and in capitals, behind `LAUNCH_`, the variables of a command."""
    kind = "sweep" if record.is_sweep else "run"
    why = record.message or f"{record.reason}, exit code {record.exit_code}"
    words = "finished" if record.exit_code == 0 else f"ended as {record.status}: {why}"
    return {
        "run_id": record.run_id,
        "kind": kind,
        "experiment": record.experiment,
        "run_name": record.name,
        "status": str(record.status),
        "reason": record.reason,
        "exit_code": record.exit_code,
        "message": record.message,
        "duration_s": None if record.duration_s is None else round(record.duration_s, 3),
        "host": record.host,
        "text": f"{kind} {record.run_id} ({record.name or record.experiment}) {words}",
    }


def _post(url: str, facts: Mapping[str, Any], *, within_s: float) -> None:
    """One POST. Redirects are not followed, and nothing is tried twice."""
    from runtime.errors import RuntimeFailure
    from runtime.http.connections import Connections
    from runtime.http.proxies import redact_url
    from runtime.http.trust import tls_context

    whom = "/".join(redact_url(url).split("/")[:3])  # the path of a web hook is its password
    connections = Connections(os.environ, timeout_s=within_s, tls=lambda _: tls_context(os.environ))
    headers = {"Content-Type": "application/json", "User-Agent": "launch"}
    try:
        with (
            _at_most(within_s),
            connections.request("POST", url, headers=headers, body=json.dumps(facts).encode()) as answer,
        ):
            status = answer.status
    except (OSError, ValueError, RuntimeFailure) as error:
        raise NotToldError(f"`{whom}` does not answer: {error}") from error
    if not 200 <= status < 300:
        raise NotToldError(f"`{whom}` answered {status}")


@contextmanager
def _at_most(seconds: float) -> Iterator[None]:
    """Raises TimeoutError in a body that takes longer, also with a server that sends a byte now and then."""

    def give_up(*_: object) -> None:
        raise TimeoutError(f"timed out after {seconds:g} s")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _execute(argv: list[str], facts: Mapping[str, Any], *, cwd: str, within_s: float) -> None:
    """*argv* as this user, in *cwd*; what it says goes into our log. One that takes too long is killed, with what it started."""
    import subprocess  # each supervisor has this module

    told = {f"LAUNCH_{name.upper()}": "" if value is None else str(value) for name, value in facts.items()}
    try:
        command = subprocess.Popen(
            argv, cwd=cwd, env={**os.environ, **told}, stdin=subprocess.DEVNULL, stdout=sys.stderr, start_new_session=True
        )
    except (OSError, ValueError) as error:
        raise NotToldError(f"`{argv[0]}` cannot be executed: {error}") from error
    try:
        code = command.wait(within_s)
    except subprocess.TimeoutExpired:
        os.killpg(command.pid, signal.SIGKILL)
        raise NotToldError(f"`{argv[0]}` was killed: it had not ended after {within_s:g} s") from None
    if code != 0:
        raise NotToldError(f"`{argv[0]}` exited with {code}")
