"""What is not there, or not supported, is refused before anything is built."""

from __future__ import annotations

import os

import pytest

from launcher.config.spec import ExperimentSpec, Mount, Sweep
from launcher.errors import ConfigError, Origin
from launcher.plan.machine_share import MachineCapacity, check_memory, check_network, cpu_share
from launcher.plan.origins import origin_of
from launcher.plan.program.command import ranks, thread_count
from launcher.plan.program.container_plan import network_of
from launcher.plan.refusals import refuse_missing, refuse_one_port_for_many, refuse_unsupported
from runtime.light_dataclasses import replace

SPEC = ExperimentSpec(name="x", command=("true",))
MACHINE = MachineCapacity(cpus=2.0, memory_bytes=8 << 30)


def where(key):
    return Origin(file="conf/x.yaml", line=len(key))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param({"publish": ("80",), "network": "host"}, "`publish` means nothing with `network: host`", id="publish"),
    ],
)
def test_unsupported_keys_are_named_with_their_line(change, message):
    with pytest.raises(ConfigError) as caught:
        refuse_unsupported(replace(SPEC, **change), where)
    assert caught.value.message.startswith(message)
    assert caught.value.origin is not None
    assert caught.value.exit_code == 2


def test_trials_side_by_side_do_not_share_a_port():
    with pytest.raises(ConfigError, match="cannot all publish port 6006") as refused:
        refuse_one_port_for_many(replace(SPEC, publish=("6006:6007",)))
    assert "publish=[6007]" in refused.value.hint
    refuse_one_port_for_many(replace(SPEC, publish=("6007",)))
    refuse_one_port_for_many(replace(SPEC, publish=("6006:6007",), sweep=Sweep(parallel=1)))


def test_an_ordinary_experiment_passes():
    refuse_unsupported(SPEC, where)
    refuse_missing(SPEC, where, environ={})


def test_missing_data_is_named(tmp_path):
    spec = replace(SPEC, data={"cifar10": Mount(str(tmp_path / "nope"))})
    with pytest.raises(ConfigError, match=r"data\.cifar10: `.*/nope` does not exist"):
        refuse_missing(spec, where, environ={})


def test_a_command_to_tell_that_is_not_there_is_named_before_the_run():
    with pytest.raises(ConfigError, match="notify: this machine has no command `no-such-program`"):
        refuse_missing(replace(SPEC, notify=("no-such-program", "done")), where, environ={})
    refuse_missing(replace(SPEC, notify=("sh",)), where, environ={})


def test_a_secret_that_is_not_set_is_named():
    with pytest.raises(ConfigError, match="secret `HF_TOKEN` is not in the environment"):
        refuse_missing(replace(SPEC, secrets=("HF_TOKEN",)), where, environ={})
    refuse_missing(replace(SPEC, secrets=("HF_TOKEN",)), where, environ={"HF_TOKEN": ""})


@pytest.mark.parametrize("target", ["/outputs", "/outputs/", "/", "/run/launch", "/data/other"])
def test_two_things_at_one_place_are_refused(tmp_path, target):
    data = {"other": Mount(str(tmp_path)), "d": Mount(str(tmp_path), target=target)}
    with pytest.raises(ConfigError, match="is taken by"):
        refuse_missing(replace(SPEC, data=data), where, environ={})


def test_more_cpus_than_present_are_refused():
    with pytest.raises(ConfigError, match="not enough cpus: 8 requested, 2 present"):
        cpu_share(8, machine=MACHINE)


def test_more_memory_than_present_is_refused():
    with pytest.raises(ConfigError, match=r"not enough memory: 64\.0 GiB requested, 8\.0 GiB present"):
        check_memory(64 << 30, machine=MACHINE)


@pytest.mark.parametrize("network", ["none", "host"])
def test_everybody_gets_no_network_and_the_machines(network, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    check_network(network)


def test_only_root_gets_a_network_with_others_and_others_are_told_what_works(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(ConfigError, match="`network: rendezvous` needs root") as refused:
        check_network("rendezvous")
    assert "network=pasta" in refused.value.hint
    assert "network=host" in refused.value.hint


@pytest.mark.parametrize(("uid", "network"), [(0, "bridge"), (1000, "pasta")])
def test_an_ordinary_users_bridge_is_pastas(uid, network, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: uid)
    assert (network, None) == network_of("bridge")
    assert ("bridge", "rendezvous") == network_of("rendezvous")


def test_an_ordinary_user_without_pasta_is_told_how_to_have_a_bridge(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(ConfigError, match=r"`network: bridge` needs root, or else pasta: .* needs the program") as refused:
        check_network("bridge")
    assert "passt" in refused.value.hint


def test_without_pasta_its_package_is_named(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(ConfigError, match="needs the program `pasta`") as refused:
        check_network("pasta")
    assert "passt" in refused.value.hint


def test_cpus_default_to_the_machine_or_to_the_gpus_share_of_it():
    assert cpu_share(None, machine=MACHINE) == 2.0
    assert cpu_share(None, machine=MachineCapacity(64.0, 1), gpus=2, gpus_present=8) == 16.0
    assert cpu_share(None, machine=MachineCapacity(2.0, 1), gpus=1, gpus_present=8) == 1.0


@pytest.mark.parametrize(("cpus", "processes", "threads"), [(8.0, 2, 4), (2.5, 1, 2), (0.5, 1, 1), (2.0, 4, 1)])
def test_threads_share_the_cores(cpus, processes, threads):
    assert threads == thread_count(cpus=cpus, processes=processes)


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (["torchrun", "train.py"], 4),
        (["/opt/venv/bin/torchrun", "train.py"], 4),
        (["python3", "-m", "torch.distributed.run", "train.py"], 4),
        (["python3", "train.py"], 1),
    ],
)
def test_torchruns_workers_share_the_cores(argv, expected):
    assert expected == ranks(argv, processes=1, gpus=4)


def test_origins_are_found_for_a_key_or_the_mapping_around_it():
    origins = {"data": "conf/a.yaml:3", "gpus": "command line: gpus=2"}
    assert origin_of(origins, "data.cifar10") == Origin(file="conf/a.yaml", line=3)
    assert origin_of(origins, "gpus") == Origin(override="gpus=2")
    assert origin_of(origins, "memory") is None
