"""Options before and after a command's name, as runc and crun take them."""

from __future__ import annotations

import json

import pytest

from runtime.oci.resource_config import resources_from_json
from runtime.oci_runtime.cgroups.systemd_unit import cgroup_path, limit_properties, scope_of
from runtime.oci_runtime.command_line import Option, UsageError, parse
from runtime.oci_runtime.commands.control import signal_number
from runtime.oci_runtime.main import COMMANDS, GLOBAL_OPTIONS, main

KNOWN = (Option("bundle", "b", True), Option("detach", "d", False), Option("env", "e", True))


@pytest.mark.parametrize(
    "words", [["--bundle", "x"], ["--bundle=x"], ["-b", "x"], ["-bx"], ["-b=x"], ["-bundle", "x"]], ids=" ".join
)
def test_a_value_may_be_written_in_every_usual_way(words: list[str]) -> None:
    assert ("x", ["id"]) == (parse([*words, "id"], KNOWN).value("bundle"), parse([*words, "id"], KNOWN).words)


def test_short_flags_may_be_joined() -> None:
    given = parse(["-db", "x", "id"], KNOWN)
    assert (True, "x", ["id"]) == (given.flag("detach"), given.value("bundle"), given.words)


def test_a_flag_can_be_said_to_be_false() -> None:
    assert [True, True, False] == [
        parse([word], KNOWN).flag("detach") for word in ("--detach", "--detach=true", "--detach=false")
    ]


def test_options_of_another_program_are_its_own() -> None:
    given = parse(["-e", "A=1", "-e", "B=2", "id", "ls", "-d", "--bundle"], KNOWN, stop_at_word=True)
    assert (["A=1", "B=2"], ["id", "ls", "-d", "--bundle"]) == (given.values("env"), given.words)
    assert not given.flag("detach")


@pytest.mark.parametrize("words", [["--moon"], ["-x"], ["--bundle"]], ids=" ".join)
def test_what_makes_no_sense_is_refused(words: list[str]) -> None:
    with pytest.raises(UsageError):
        parse(words, KNOWN)


def test_every_command_says_what_it_takes(capsys: pytest.CaptureFixture[str]) -> None:
    for name in COMMANDS:
        assert 0 == main([name, "--help"])
        assert f"usage: python -m runtime {name} " in capsys.readouterr().out


def test_an_unknown_command_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert 2 == main(["fly"])
    assert "error: unknown command `fly`" in capsys.readouterr().err


def test_options_of_all_commands_have_one_name_each() -> None:
    assert len(GLOBAL_OPTIONS) == len({option.name for option in GLOBAL_OPTIONS})


def test_the_features_name_what_can_be_written_in_a_bundle(capsys: pytest.CaptureFixture[str]) -> None:
    assert 0 == main(["features"])
    features = json.loads(capsys.readouterr().out)
    assert {"rbind", "rro", "tmpcopyup", "idmap", "rprivate"} <= set(features["mountOptions"])
    assert "createContainer" in features["hooks"]
    assert "time" in features["linux"]["namespaces"]


@pytest.mark.parametrize(("text", "number"), [("9", 9), ("KILL", 9), ("SIGTERM", 15), ("sigusr1", 10), ("SIGRTMIN+3", 37)])
def test_signals_have_names_and_numbers(text: str, number: int) -> None:
    assert number == signal_number(text)


@pytest.mark.parametrize("text", ["0", "SIGMOON", "_DFL", "999", ""])
def test_what_is_no_signal_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        signal_number(text)


def test_a_slice_is_as_deep_as_its_dashes() -> None:
    assert "/user.slice/user-1000.slice/podman-abc.scope" == cgroup_path("user-1000.slice:podman:abc", "x")
    assert "/system.slice/launch-x.scope" == cgroup_path(None, "x")
    assert "/launch-x.scope" == cgroup_path("-.slice:launch:x", "x")


def test_systemd_hears_of_the_limits() -> None:
    assert ("user.slice", "podman-abc.scope") == scope_of("user.slice:podman:abc", "x")
    document = {"memory": {"limit": 100, "swap": 150}, "cpu": {"quota": 20000, "period": 100000}, "pids": {"limit": -1}}
    found = {name: value for name, _kind, value in limit_properties(resources_from_json(document))}
    assert {"TasksMax": 2**64 - 1, "MemoryMax": 100, "MemorySwapMax": 50, "CPUQuotaPerSecUSec": 200000} == found
