"""What runs use now: `launch stats`, a table that renews itself on a terminal, one line a run and look otherwise; and the
processes of one, `launch top`."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from typing import Any

from launcher.cli import render
from launcher.cli.command import Options
from launcher.run.live_usage import Sample, processes_of, sample
from launcher.run.running_runs import living_run
from launcher.tracking.record.find_runs import active_records
from launcher.tracking.record.run_record import RunRecord, fold
from runtime.state_dir import StateDir, state_dir

_HEADER = ("RUN", "EXPERIMENT", "CPU", "MEMORY", "LIMIT", "%", "PROCESSES", "NET IN/OUT", "DISK R/W", "GPU")
_FIRST_AFTER_S = 0.5
"""The first two looks, whose difference is the use of processors."""
_HOME_AND_CLEAR = "\x1b[H\x1b[J"
_CLEAR = "\x1b[2J"


def show_stats(options: Options) -> int:
    from launcher.run.recover import recover_all

    state = state_dir()
    if not options.runs:
        recover_all(state)
    try:
        return _show_looks(state, options)
    except KeyboardInterrupt:
        return 0


def _show_looks(state: StateDir, options: Options) -> int:
    named = _named_runs(state, options.runs)
    live = sys.stdout.isatty() and not options.json and not options.once
    before: dict[str, Sample] = {}
    looks = 0
    if live:
        render.screen(sys.stdout).write(_CLEAR)
    while True:
        records = [record for record in (_if_running(one) for one in named or active_records(state)) if record is not None]
        if not records and (named or not live):
            if not before:
                render.say("nothing is running")
            return 0
        gpus = _gpu_load(records)
        now = {record.run_id: sample(record, gpus=gpus) for record in records}
        looks += 1
        if looks == 1:
            # The use of processors is a difference: the first look alone shows none.
            before = now
            time.sleep(min(_FIRST_AFTER_S, options.interval))
            continue
        if options.json:
            _print_json(records, now, before)
        else:
            _print_table(records, now, before, live=live, with_header=looks == 2)
        before = now
        if options.once:
            return 0
        time.sleep(options.interval)


def _named_runs(state: StateDir, references: Sequence[str]) -> list[RunRecord]:
    return [living_run(state, reference) for reference in references]


def _if_running(record: RunRecord) -> RunRecord | None:
    """*record* as it is now; None when its program does not run."""
    now = fold(record.run_dir)
    return now if now is not None and now.exit_code is None and now.started_at is not None else None


def _gpu_load(records: Sequence[RunRecord]) -> Sequence[dict[str, Any]]:
    if not any(record.gpus for record in records):
        return ()
    from runtime.errors import GpuError
    from runtime.gpu.inventory import read_load

    try:
        return read_load()
    except GpuError:
        return ()  # a table without a column is better than none; `launch doctor` says what is wrong


def _print_json(records: Sequence[RunRecord], now: dict[str, Sample], before: dict[str, Sample]) -> None:
    for record in records:
        print(json.dumps(_document(record, now[record.run_id], before.get(record.run_id))))
    sys.stdout.flush()


def _print_table(
    records: Sequence[RunRecord], now: dict[str, Sample], before: dict[str, Sample], *, live: bool, with_header: bool
) -> None:
    table = render.table(_HEADER, [_row(record, now[record.run_id], before.get(record.run_id)) for record in records])
    render.screen(sys.stdout).write(_HOME_AND_CLEAR if live else "")
    print(table if live or with_header else table.partition("\n")[2], flush=True)


def _row(record: RunRecord, now: Sample, before: Sample | None) -> tuple[str, ...]:
    cores, memory, limit = now.cores_since(before), now.memory_bytes, now.memory_limit_bytes
    return (
        record.run_id,
        record.experiment,
        "paused" if now.paused else "-" if cores is None else f"{100 * cores:.1f} %",
        "-" if memory is None else render.size(memory),
        "-" if limit is None else render.size(limit),
        "-" if memory is None or not limit else f"{100 * memory / limit:.1f}",
        "-" if now.processes is None else str(now.processes),
        _sizes(None if now.traffic is None else (now.traffic.received_bytes, now.traffic.sent_bytes)),
        _sizes(now.disk_bytes),
        "  ".join(_gpu_words(gpu) for gpu in now.gpus),
    )


def _sizes(pair: tuple[int, int] | None) -> str:
    return "-" if pair is None else " / ".join(map(render.size, pair))


def _gpu_words(gpu: dict[str, Any]) -> str:
    """`2: 93 % 42 GB of 80 GB 412 W 61 °C`, by the number that `launch gpus` shows; what isn't told is left out."""
    used = gpu.get("used_bytes")
    words = [
        "-" if gpu.get("busy_percent") is None else f"{gpu['busy_percent']} %",
        "" if used is None else f"{render.size(used)} of {render.size(gpu['memory_bytes'])}",
        "" if gpu.get("power_w") is None else f"{gpu['power_w']:.0f} W",
        "" if gpu.get("temperature_c") is None else f"{gpu['temperature_c']:.0f} °C",
    ]
    return f"{gpu['index']}: {' '.join(filter(None, words))}"


def _document(record: RunRecord, now: Sample, before: Sample | None) -> dict[str, Any]:
    cores = now.cores_since(before)
    return {
        "time": round(time.time(), 3),
        "run_id": record.run_id,
        "experiment": record.experiment,
        "paused": now.paused,
        "cpu_percent": None if cores is None else round(100 * cores, 2),
        "cpu_seconds": None if now.cpu_s is None else round(now.cpu_s, 3),
        "memory_bytes": now.memory_bytes,
        "memory_limit_bytes": now.memory_limit_bytes,
        "processes": now.processes,
        "net_received_bytes": None if now.traffic is None else now.traffic.received_bytes,
        "net_sent_bytes": None if now.traffic is None else now.traffic.sent_bytes,
        "disk_read_bytes": None if now.disk_bytes is None else now.disk_bytes[0],
        "disk_written_bytes": None if now.disk_bytes is None else now.disk_bytes[1],
        "gpus": [dict(gpu) for gpu in now.gpus],
    }


def print_processes(reference: str, *, node: int, as_json: bool) -> int:
    processes = processes_of(living_run(state_dir(), reference, node=node))
    if as_json:
        render.print_json([one._asdict() for one in processes])
        return 0
    rows = [
        (
            one.pid,
            one.pid_inside,
            one.uid,
            one.state,
            one.threads,
            render.duration(one.cpu_s),
            render.size(one.memory_bytes),
            render.printable(one.command)[:120],
        )
        for one in processes
    ]
    print(render.table(("PID", "INSIDE", "UID", "STATE", "THREADS", "CPU TIME", "MEMORY", "COMMAND"), rows))
    return 0
