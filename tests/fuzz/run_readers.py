"""Harnesses of what a run's own program says: TensorBoard's files, lines of metrics, requests to the gateway; and of journals."""

from __future__ import annotations

import io
import json
import socket
import struct
import tempfile
from functools import cache
from pathlib import Path

from harness import Harness

from launcher.journal import events
from launcher.journal.run_state import RunState
from launcher.tracking.gateway import http_wire
from launcher.tracking.gateway.gateway import Gateway
from launcher.tracking.gateway.http_wire import BadMessage
from launcher.tracking.gateway.own_run import OwnRun
from launcher.tracking.metrics.event_format import BadEvents, masked_crc32c, records, scalars
from launcher.tracking.metrics.metric_files import metrics_of_line
from launcher.tracking.metrics.metric_log import MetricLog, metric
from launcher.tracking.mlflow.description import Description
from launcher.tracking.mlflow.rest import batches
from launcher.tracking.mlflow.sink import Sink
from runtime.state_dir import RunDir


def _event_file(content: bytes) -> None:
    for record, _ in records(content):
        for _ in scalars(record):
            pass


def _event(content: bytes) -> None:
    for _ in scalars(content):
        pass


def _journal(content: bytes) -> None:
    """Whatever stands in a journal, the run is something, and can be asked everything."""
    state = RunState()
    for line in content.split(b"\n"):
        entry = events.decode(line)
        if entry is not None:
            state.take_in(entry)
            events.decode(events.encode(entry))
    for name, value in vars(RunState).items():
        if isinstance(value, property):
            getattr(state, name)
    state.running_s(), state.gpu_hours(2e9), state.paused_s(2e9), state.placement_of("1.0")


def _metric_lines(content: bytes) -> None:
    for line in content.split(b"\n"):
        found = list(metrics_of_line(line))
        entries = [metric(one.key, one.value, step=one.step or 0, time_ms=one.time_ms or 0) for one in found]
        for batch in batches(entries):
            batch.request("r")


def _http(content: bytes) -> None:
    stream = io.BytesIO(content)
    while (head := http_wire.read_head(stream)) is not None:
        http_wire.length_of(head)
        for _ in http_wire.read_body(stream, head):
            pass


class GatewayFailed(Exception):
    """The gateway answered with a bug of its own."""


_TOKEN = "t"


class _Asked:
    """A gateway without a server behind it, asked through a socket as a program asks it."""

    def __init__(self) -> None:
        # The directory is the process's: harnesses have no end.
        self._kept = tempfile.TemporaryDirectory(dir="/dev/shm")
        run_dir = RunDir(Path(self._kept.name) / "runs" / "r")
        run_dir.root.mkdir(parents=True)
        run_dir.mlflow.write_text(json.dumps({"run_id": "r", "experiment_id": "1"}))
        description = Description("e", "name", "user", 1, uri="http://127.0.0.1:9", params={"lr": "0.1"})
        self._run_dir = run_dir
        sink = Sink(run_dir, description)
        self._gateway = Gateway(sink, OwnRun(description, MetricLog(run_dir), ignored=lambda _words: None), _TOKEN)
        self._listener = socket.create_server(("127.0.0.1", 0))

    def answer(self, request: bytes) -> bytes:
        with socket.create_connection(self._listener.getsockname()) as program:
            program.settimeout(20)
            self._gateway.accept(self._listener)
            answer = b""
            try:
                program.sendall(request)
                program.shutdown(socket.SHUT_WR)
                while piece := program.recv(1 << 16):
                    answer += piece
            except ConnectionError:
                pass  # refused before it was read to its end
        if self._run_dir.supervisor_log.exists():
            told = self._run_dir.supervisor_log.read_text()
            self._run_dir.supervisor_log.unlink()
            raise GatewayFailed(told)
        return answer


_gateway = cache(_Asked)


def _request(content: bytes) -> None:
    """The first line is method and target, the rest the body: what is around them is right, or nothing would get far."""
    first, _, body = content.partition(b"\n")
    head = b"%s HTTP/1.1\r\nauthorization: Bearer %s\r\ncontent-length: %d\r\n\r\n" % (first, _TOKEN.encode(), len(body))
    _gateway().answer(head + body)


def _field(number: int, kind: int, value: bytes) -> bytes:
    return bytes((number << 3 | kind,)) + (bytes((len(value),)) if kind == 2 else b"") + value


_SIMPLE = _field(1, 2, b"loss") + _field(2, 5, struct.pack("<f", 0.5))
_METADATA = _field(9, 2, _field(1, 2, _field(1, 2, b"scalars")))
_TENSOR = _field(1, 2, b"acc") + _field(8, 2, _field(1, 0, b"\x01") + _field(4, 2, struct.pack("<f", 1))) + _METADATA
_HALF = _field(1, 2, b"acc") + _field(8, 2, _field(1, 0, b"\x13") + _field(13, 0, b"\x01")) + _METADATA


def _event_of(value: bytes) -> bytes:
    return _field(1, 1, struct.pack("<d", 1e9)) + _field(2, 0, b"\x07") + _field(5, 2, _field(1, 2, value))


def _record(content: bytes) -> bytes:
    length = struct.pack("<Q", len(content))
    return length + struct.pack("<I", masked_crc32c(length)) + content + struct.pack("<I", masked_crc32c(content))


_EVENTS = tuple(map(_event_of, (_SIMPLE, _TENSOR, _HALF)))
_JOURNAL = (
    b'{"event":"created","at":1.0,"run_id":"r","experiment":"e","argv":["a"],"params":{"a":1},"version":1}\n'
    b'{"event":"queued","at":2.0,"facts":{"cpu":"x"}}\n'
    b'{"event":"leased","at":3.0,"gpus":["GPU-1"],"shares":[0.5],"numa_nodes":[0]}\n'
    b'{"event":"started","at":4,"attempt":1,"init_pid":9,"ports":["a"]}\n'
    b'{"event":"joined","at":4,"node":1,"about":{"name":"n"}}\n'
    b'{"event":"paused","at":5}\n{"event":"unpaused","at":6}\n'
    b'{"event":"placed","at":7,"job":"17","placement":"17.0"}\n'
    b'{"event":"note","at":8,"text":"x","superseded":["17.0"],"xid":79,"gpu":"GPU-1","facts":{}}\n'
    b'{"event":"left","at":9,"node":1,"ending":{"exit_code":0}}\n'
    b'{"event":"attempt","at":9,"attempt":1,"reason":"failed"}\n'
    b'{"event":"finished","at":10,"reason":"completed","exit_code":0,"usage":{"cpu_seconds":1}}\n'
    b'{"event":"resumed","at":11,"by":["launch"]}'
)
_METRIC = {"key": "a", "value": 1.5, "step": 1, "timestamp": 2}
_TAG = {"key": "k", "value": "v"}
_BODIES = (
    (b"POST", b"runs/log-batch", {"run_id": "r", "metrics": [_METRIC], "params": [], "tags": [_TAG]}),
    (b"POST", b"runs/log-metric", {"run_id": "r", "key": "a", "value": "NaN"}),
    (b"POST", b"runs/log-parameter", {"run_id": "r", "key": "p", "value": "1"}),
    (b"POST", b"runs/set-tag", {"run_uuid": "r", "key": "t", "value": "1"}),
    (b"POST", b"runs/update", {"run_id": "r", "status": "FINISHED", "run_name": "n"}),
    (b"POST", b"runs/delete-tag", {"run_id": "r", "key": "t"}),
    (b"POST", b"runs/log-inputs", {"run_id": "r", "datasets": [{"dataset": {"name": "d", "digest": "1"}, "tags": [_TAG]}]}),
    (b"POST", b"runs/outputs", {"run_id": "r", "models": [{"model_id": "m-1", "step": 1}]}),
    (b"POST", b"runs/create", {"experiment_id": "1", "tags": [{"key": "mlflow.parentRunId", "value": "r"}]}),
    (b"POST", b"runs/search", {"experiment_ids": ["1"], "filter": "", "max_results": 1}),
    (b"POST", b"experiments/search", {"filter": "x"}),
    (b"POST", b"logged-models", {"source_run_id": "r", "name": "m"}),
    (b"GET", b"runs/get?run_id=r", {}),
    (b"GET", b"experiments/get-by-name?experiment_name=e", {}),
    (b"GET", b"artifacts/list?run_id=r&path=a", {}),
)
_REQUESTS = tuple(
    method + b" /api/2.0/mlflow/" + endpoint + b"\n" + (json.dumps(body).encode() if body else b"")
    for method, endpoint, body in _BODIES
)
_ARTIFACTS = (
    b"PUT /api/2.0/mlflow-artifacts/artifacts/1/r/artifacts/a.txt\nx",
    b"GET /api/2.0/mlflow-artifacts/artifacts?path=1/r/artifacts\n",
)
_POINTS = b'{"loss":0.1,"step":3,"time":1e9}'
_HTTP = (
    b"POST /x HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\nabcGET / HTTP/1.1\r\n\r\n",
    b"PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
)

HARNESSES = (
    Harness("TensorBoard file", _event_file, (BadEvents,), (b"".join(map(_record, _EVENTS)),)),
    Harness("TensorBoard event", _event, (BadEvents,), _EVENTS),
    Harness(
        "journal",
        _journal,
        (),
        (_JOURNAL,),
        tuple(f'"{field}":'.encode() for field in ("at", "event", "attempt", "node", "gpus", "placement")),
    ),
    Harness("journal line", _journal, (), tuple(_JOURNAL.split(b"\n")), is_json=True),
    Harness(
        "metrics.jsonl",
        _metric_lines,
        (ValueError, OverflowError, RecursionError),
        (_POINTS,),
        is_json=True,
    ),
    Harness(
        "HTTP message",
        _http,
        (BadMessage,),
        _HTTP,
        (b"\r\n", b"content-length: ", b"transfer-encoding: chunked\r\n", b"0x", b"-1"),
    ),
    Harness(
        "gateway request",
        _request,
        (),
        (*_REQUESTS, *_ARTIFACTS),
        (b"?", b"&", b"%2e%2e", b"%00", b"run_id=", b"/../"),
        is_json=True,
    ),
)
