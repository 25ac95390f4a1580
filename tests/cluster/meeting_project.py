"""A project whose program finds its other ranks, adds a number with them, and then ends as it is told."""

from __future__ import annotations

from pathlib import Path

from launch_command import write_project

PROGRAM = """\
import json, os, signal, socket, sys, time

how = sys.argv[1]
rank, size, node = (int(os.environ[name]) for name in ("RANK", "WORLD_SIZE", "NODE_RANK"))
meeting = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])


def total(mine):
    if rank == 0:
        with socket.create_server(meeting) as server:
            others = [server.accept()[0] for _ in range(size - 1)]
            result = mine + sum(int(each.recv(64)) for each in others)
            for each in others:
                each.sendall(str(result).encode())
        return result
    while True:
        try:
            with socket.create_connection(meeting, timeout=30) as link:
                link.sendall(str(mine).encode())
                return int(link.recv(64))
        except ConnectionRefusedError:
            time.sleep(0.02)


print(f"rank {rank} of {size} on node {node}: {total(10 ** rank)}", flush=True)
if how == "env":
    print(json.dumps(dict(os.environ)), flush=True)
if how == "rank 1 fails" and rank == 1:
    sys.exit(7)
if how in ("sleep", "rank 1 fails", "leave a child"):
    if how == "leave a child" and os.fork() == 0:
        os.setsid()
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        time.sleep(600)
    signal.signal(signal.SIGTERM, lambda *_: (print("saving", flush=True), sys.exit(0)))
    print("ready", flush=True)
    time.sleep(600)
if how == "log":
    import urllib.request
    body = {"run_id": os.environ["MLFLOW_RUN_ID"], "key": "rank", "value": rank, "timestamp": int(time.time() * 1000), "step": 0}
    headers = {"Content-Type": "application/json", "Authorization": "Bearer " + os.environ["MLFLOW_TRACKING_TOKEN"]}
    place = os.environ["MLFLOW_TRACKING_URI"] + "/api/2.0/mlflow/runs/log-metric"
    urllib.request.urlopen(urllib.request.Request(place, json.dumps(body).encode(), headers), timeout=10).close()
    time.sleep(3)
"""

EXPERIMENT = """\
# @package _global_
description: ranks that meet
image: {requirements: []}
code: {root: experiments/meet}
command: [python3, meet.py, "${params.how}"]
params: {how: "0"}
nodes: 2
cpus: 1
memory: 256MiB
grace: 2s
tracking: null
"""

TRACKED = """\
# @package _global_
defaults: [meet, _self_]
tracking: {system_metrics: 500ms}
"""


def write_meeting(directory: Path) -> Path:
    write_project(directory, "meet", experiment=EXPERIMENT, program=PROGRAM)
    (directory / "conf/experiment/tracked.yaml").write_text(TRACKED)
    return directory
