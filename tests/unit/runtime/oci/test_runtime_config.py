"""A bundle's configuration is read strictly where it is used, and nothing in it is a traceback."""

from __future__ import annotations

from typing import Any

import pytest

from runtime.errors import BadContent
from runtime.oci.resource_config import DeviceRule
from runtime.oci.runtime_config import config_from_json


def document(**changes: Any) -> dict[str, Any]:
    return {
        "ociVersion": "1.2.0",
        "process": {"args": ["true"], "cwd": "/", "user": {"uid": 1, "gid": 2, "additionalGids": [3]}, "env": ["A=b"]},
        "root": {"path": "rootfs", "readonly": True},
        **changes,
    }


def test_the_least_configuration_is_enough() -> None:
    config = config_from_json({"ociVersion": "1.0.0"})
    assert (None, None, ()) == (config.process, config.root_path, config.linux.namespaces)


def test_process_and_root_are_read() -> None:
    config = config_from_json(document())
    assert config.process is not None
    assert (("true",), "/", (1, 2, (3,))) == (
        config.process.args,
        config.process.cwd,
        (config.process.user.uid, config.process.user.gid, config.process.user.additional_gids),
    )
    assert ("rootfs", True) == (config.root_path, config.readonly_root)


def test_null_is_absent_as_go_programs_write_it() -> None:
    config = config_from_json(document(mounts=None, hooks=None, linux={"devices": None, "resources": None}))
    assert ((), ()) == (config.mounts, config.linux.devices)


def test_hooks_keep_their_order_and_their_time() -> None:
    hooks = {"prestart": [{"path": "/a", "timeout": 5}, {"path": "/b", "args": ["b", "c"], "env": []}]}
    first, second = config_from_json(document(hooks=hooks)).hooks.prestart
    assert ("/a", 5, None) == (first.path, first.timeout_s, first.env)
    assert ("/b", None, ()) == (second.path, second.timeout_s, second.env)


def test_device_rules_leave_out_what_stands_for_all() -> None:
    resources = {"devices": [{"allow": False, "access": "rwm"}, {"allow": True, "type": "c", "major": 1, "minor": -1}]}
    rules = config_from_json(document(linux={"resources": resources})).linux.resources.devices
    assert (DeviceRule(False, "a", None, None, "rwm"), DeviceRule(True, "c", 1, None, "rwm")) == rules


PROCESS = {"args": ["a"], "cwd": "/"}
WRONG: tuple[tuple[str, dict[str, Any], str], ...] = (
    ("no version", {"ociVersion": None}, "`ociVersion` is missing"),
    ("a version to come", {"ociVersion": "2.0.0"}, "`ociVersion` is `2.0.0`"),
    ("a relative directory", {"process": {"args": ["a"], "cwd": "tmp"}}, "`process.cwd` is not an absolute path"),
    ("no program", {"process": {"args": [], "cwd": "/"}}, "`process.args` names no program"),
    ("a number for a text", {"root": {"path": 1}}, "`root.path` is not a text"),
    ("a zero byte", {"linux": {"cgroupsPath": "/a\0b"}}, "`linux.cgroupsPath` is not a text"),
    (
        "true for a number",
        {"process": {**PROCESS, "user": {"uid": True}}},
        "`process.user.uid` is not an integer",
    ),
    ("an id that is none", {"process": {**PROCESS, "user": {"uid": -1}}}, "`process.user.uid` is not between"),
    ("a kind of namespace", {"linux": {"namespaces": [{"type": "moon"}]}}, "names an unknown type: `moon`"),
    ("one kind twice", {"linux": {"namespaces": [{"type": "pid"}, {"type": "pid"}]}}, "names `pid` twice"),
    ("a relative namespace", {"linux": {"namespaces": [{"type": "pid", "path": "x"}]}}, "is not absolute: `x`"),
    ("a relative hook", {"hooks": {"prestart": [{"path": "x"}]}}, "`hooks.prestart[0].path` is not an absolute path"),
    (
        "a score out of range",
        {"process": {**PROCESS, "oomScoreAdj": 1001}},
        "`process.oomScoreAdj` is not between",
    ),
    ("a file elsewhere", {"linux": {"resources": {"unified": {"../x": "1"}}}}, "names no file of a cgroup"),
    ("a way to propagate", {"linux": {"rootfsPropagation": "loud"}}, "`linux.rootfsPropagation` is none of"),
)


@pytest.mark.parametrize(("changes", "said"), [pytest.param(changes, said, id=name) for name, changes, said in WRONG])
def test_what_is_wrong_is_named_by_its_place(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(BadContent) as refused:
        config_from_json(document(**changes))
    assert said in refused.value.message


def test_a_list_is_no_configuration() -> None:
    with pytest.raises(BadContent):
        config_from_json([])
