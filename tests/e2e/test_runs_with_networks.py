"""Runs with networks: two that meet by name, ports that this machine offers, and what is left when a supervisor was killed."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import urllib.request
from pathlib import Path

import pytest
from launch_command import Launch
from waiting import eventually

pytestmark = pytest.mark.requires("root", "overlayfs", "userns", "proc", "bridge")

PROGRAM = """\
import os, socket, sys, time
if sys.argv[1] == "rendezvous":
    with socket.create_server(("", 29400)) as server:
        print("waiting at", socket.gethostbyname(socket.gethostname()), flush=True)
        connection, peer = server.accept()
        with connection:
            connection.sendall(b"welcome")
            print("met", peer[0], flush=True)
elif sys.argv[1] == "join":
    deadline = time.monotonic() + 30
    while True:
        try:
            with socket.create_connection((sys.argv[2], 29400), timeout=5) as connection:
                print(connection.recv(100).decode(), flush=True)
            break
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
else:
    import http.server
    server = http.server.HTTPServer(("127.0.0.1", 8000), http.server.SimpleHTTPRequestHandler)
    print("serving", flush=True)
    server.serve_forever()
"""

EXPERIMENT = """\
# @package _global_
image: {requirements: []}
code: {root: experiments/net}
command: [python3, net.py, "${params.what}", "${params.where}"]
params: {what: serve, where: nowhere}
cpus: 0.5
memory: 256MiB
grace: 2s
tracking: null
"""


@pytest.fixture(scope="session")
def net_project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    project = tmp_path_factory.mktemp("net")
    (project / "conf/experiment").mkdir(parents=True)
    (project / "experiments/net").mkdir(parents=True)
    (project / "conf/experiment/net.yaml").write_text(EXPERIMENT)
    (project / "experiments/net/net.py").write_text(PROGRAM)
    (project / "experiments/net/index.html").write_text("a page\n")
    return project


@pytest.fixture
def net(session_home: Path, net_project: Path) -> Launch:
    return Launch(session_home, net_project)


def started(launch: Launch, *arguments: str, says: str) -> str:
    """The id of a detached run that has said *says*."""
    run_id = launch("experiment=net", "-d", *arguments).stdout.strip()
    eventually(lambda: says in launch("logs", run_id).stdout)
    return run_id


def bridges() -> list[str]:
    return [name for _, name in socket.if_nameindex() if re.match(r"launch\d|ln-|lc-", name)]


def fetched(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/index.html", timeout=10) as answer:
        return str(answer.read().decode())


def test_two_runs_meet_by_name_on_a_network_of_their_own(net):
    run_id = started(net, "network=meeting", "params.what=rendezvous", "--name", "Trainer 1", says="waiting at")
    joined = net("experiment=net", "network=meeting", "params.what=join", "params.where=trainer-1")
    assert "welcome" in joined.stdout
    net("wait", run_id)
    said = net("logs", run_id).stdout
    assert "waiting at 10." in said or "waiting at 172." in said
    assert "met 10." in said or "met 172." in said
    eventually(lambda: "ln-meeting" not in bridges())


def test_a_published_port_is_shown_and_answers(net):
    run_id = started(net, "publish=[127.0.0.1::8000]", says="serving")
    shown = net("ps").stdout
    found = re.search(r"127\.0\.0\.1:(\d+) → 8000", shown)
    assert found, shown
    assert "a page\n" == fetched(int(found[1]))
    assert [f"127.0.0.1:{found[1]} → 8000"] == net.record(run_id)["ports"]
    net("stop", run_id)
    with pytest.raises(OSError, match="refused"):
        fetched(int(found[1]))


def test_a_port_in_use_ends_the_run_with_the_reason(net):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = taken.getsockname()[1]
        refused = net("experiment=net", f"publish=[127.0.0.1:{number}:8000]", check=125)
    assert f"port {number} of 127.0.0.1 is in use" in refused.stderr
    assert "publish=8000" in refused.stderr


def test_what_cannot_be_published_is_refused_with_its_place(net):
    for words, message in (
        (("publish=[8000/sctp]",), "only TCP and UDP ports can be published"),
        (("publish=[80-90:80]",), "ranges of ports are not supported"),
        (("publish=[8000]", "network=host"), "`publish` means nothing with `network: host`"),
        (("network=bridgee",), "did you mean `bridge`?"),
    ):
        assert message in net("experiment=net", *words, check=2).stderr


@pytest.mark.requires("patience")
def test_ports_and_the_name_of_a_network_do_not_make_another_experiment(net):
    digests = set()
    for words in (("network=bridge",), ("network=bridge", "publish=[8000]"), ("network=other",)):
        run_id = started(net, *words, says="serving")
        net("stop", run_id)
        digests.add(net.record(run_id)["spec_digest"])
    assert 1 == len(digests)


def test_after_a_kill_of_the_supervisor_the_port_answers_and_the_next_command_puts_things_right(net):
    run_id = started(net, "network=bridge", "publish=[127.0.0.1::8000]", says="serving")
    port = int(net.record(run_id)["ports"][0].split(" ")[0].rpartition(":")[2])
    lock = net.home / "runs" / run_id / "supervisor.lock"
    os.kill(int(re.search(r"\d+", lock.read_text())[0]), signal.SIGKILL)  # type: ignore[index]
    assert "a page\n" == fetched(port)
    net("ps")
    look = json.loads(net("stats", "--once", "--json", run_id).stdout)
    assert min(look[name] for name in ("net_received_bytes", "net_sent_bytes", "disk_read_bytes", "disk_written_bytes")) >= 0
    assert "a page\n" == fetched(port)
    net("stop", run_id)
    with pytest.raises(OSError, match="refused"):
        fetched(port)
    eventually(lambda: "launch0" not in bridges())
