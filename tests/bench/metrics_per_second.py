"""What logging 1,000 metrics a second through the gateway costs a program, and whether one is lost.

    python tests/bench/metrics_per_second.py

The same program takes turns: it computes for a fixed amount of work, ten steps a second, and logs 100 metrics after each step:

    nowhere    not at all
    mlflow     with MLflow's client, in one call, as a training with MLflow does it
    deaf       the same, to a server beside it that reads, says what it has to and does nothing: what the client takes by itself
    file       as a line of `$LAUNCH_METRICS`

What counts is the program's own seconds from the first step to the last; what the gateway costs is `mlflow` against `deaf`. After
a run every point is asked from MLflow: all are there, in order, none twice; one that isn't ends the measurement.
"""

from __future__ import annotations

import json
from pathlib import Path

import launches
from paired import Case, measure, parser

from launcher.tracking.mlflow_address import LocalAddress
from launcher.tracking.mlflow_rest import Mlflow

METRICS = 100
STEP_S = 0.1

EXPERIMENT = """\
# @package _global_
description: Logs as fast as it is told
image: {requirements: [mlflow-skinny]}
code: {root: experiments/chatter}
command: [python3, chatter.py, "${params.how}", "${params.steps}", "${params.work}"]
params: {how: nowhere, steps: 600, work: 0}
cpus: 1
memory: 512MiB
"""

PROGRAM = f"""\
import json, os, sys, time

how, steps, work = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
metrics = {{f"metric_{{number:03}}": number for number in range({METRICS})}}
if how in ("mlflow", "deaf"):
    if how == "deaf":
        import http.server, multiprocessing, urllib.request

        uri, run_id, token = (os.environ[f"MLFLOW_{{name}}"] for name in ("TRACKING_URI", "RUN_ID", "TRACKING_TOKEN"))
        headers = {{"Authorization": f"Bearer {{token}}"}}
        asked = urllib.request.Request(f"{{uri}}/api/2.0/mlflow/runs/get?run_id={{run_id}}", headers=headers)
        known = urllib.request.urlopen(asked).read()

        class Deaf(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True
            wbufsize = -1

            def do_GET(self):
                self.answer(known)

            def do_POST(self):
                self.rfile.read(int(self.headers["Content-Length"]))
                self.answer(b"{{}}")

            def answer(self, content):
                self.send_response(200)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *words):
                pass

        server = http.server.HTTPServer(("127.0.0.1", 0), Deaf)
        multiprocessing.get_context("fork").Process(target=server.serve_forever, daemon=True).start()
        os.environ["MLFLOW_TRACKING_URI"] = f"http://127.0.0.1:{{server.server_port}}"
    import mlflow

    def log(metrics, step):
        mlflow.log_metrics(metrics, step=step, run_id=os.environ["MLFLOW_RUN_ID"])
elif how == "file":
    lines = open(os.environ["LAUNCH_METRICS"], "a", buffering=1)

    def log(metrics, step):
        lines.write(json.dumps({{"step": step, **metrics}}) + "\\n")
else:

    def log(metrics, step):
        pass


def computed(work):
    number = 1
    for _ in range(work):
        number = number * 1103515245 + 12345 & 0x7FFFFFFF
    return number


if not work:
    begun = time.perf_counter()
    computed(1_000_000)
    print(int(1_000_000 * {STEP_S} / (time.perf_counter() - begun)))
    sys.exit()
log(metrics, step=0)  # opens the connection, which a training does once
begun = time.perf_counter()
for step in range(1, steps):
    computed(work)
    log(metrics, step=step)
print(time.perf_counter() - begun)
"""


def main() -> None:
    options = parser(__doc__, rounds=3)
    launches.add_options(options)
    options.add_argument("--seconds", type=float, default=60, help="how long a program computes (60)")
    chosen = options.parse_args()
    project = _project(chosen.home / "chatter")
    steps = round(chosen.seconds / STEP_S)
    cases: list[Case] = []
    for launch in launches.launches(chosen):
        here = launches.Launch(launch.command, launch.home, project)
        work = int(here.output("experiment=chatter").split()[-1])
        for how in ("nowhere", "mlflow", "deaf", "file"):
            cases += launches.cases([here], how, lambda here, how=how, work=work: _seconds(here, how, steps, work))
    measure(f"{METRICS} metrics, ten times a second", cases, rounds=chosen.rounds, warmups=0)


def _seconds(launch: launches.Launch, how: str, steps: int, work: int) -> float:
    words = (f"params.how={how}", f"params.steps={steps}", f"params.work={work}")
    seconds = float(launch.output("experiment=chatter", *words).split()[-1])
    if how in ("mlflow", "file"):
        _check(launch, steps)
    return seconds


def _check(launch: launches.Launch, steps: int) -> None:
    """Every point is in MLflow, once and in order."""
    run_id = json.loads(launch.output("runs", "show", "@last", "--json"))["mlflow_run_id"]
    client = Mlflow(LocalAddress(launch.home))
    for number in range(METRICS):
        history = client.get("metrics/get-history", run_id=run_id, metric_key=f"metric_{number:03}")
        found = [int(point.get("step", 0)) for point in history["metrics"]]
        if found != list(range(steps)):
            raise SystemExit(f"metric {number} has {len(found)} points of {steps}: {found[:5]} … {found[-5:]}")


def _project(directory: Path) -> Path:
    (directory / "conf/experiment").mkdir(parents=True, exist_ok=True)
    (directory / "experiments/chatter").mkdir(parents=True, exist_ok=True)
    (directory / "conf/experiment/chatter.yaml").write_text(EXPERIMENT)
    (directory / "experiments/chatter/chatter.py").write_text(PROGRAM)
    return directory


if __name__ == "__main__":
    main()
