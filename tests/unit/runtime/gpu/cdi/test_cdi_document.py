"""CDI specifications are read as strictly as the reference implementation reads them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from runtime.errors import BadContent
from runtime.gpu.cdi.document import needed_version, parse_device_name, specification
from runtime.gpu.cdi.files import read_specification


def document(edits: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    edits = {"env": ["A=1"]} if edits is None else edits
    return {"cdiVersion": "1.1.0", "kind": "vendor.com/class", "devices": [{"name": "dev", "containerEdits": edits}], **changes}


def test_every_field_is_read() -> None:
    found = specification(
        document(
            {
                "env": ["A=1"],
                "deviceNodes": [
                    {"path": "/dev/a", "hostPath": "/dev/b", "type": "c", "major": 1, "minor": 3, "permissions": "rw"}
                ],
                "netDevices": [{"hostInterfaceName": "eth1", "name": "net0"}],
                "mounts": [{"hostPath": "/a", "containerPath": "/b", "type": "bind", "options": ["ro"]}],
                "hooks": [{"hookName": "createContainer", "path": "/bin/x", "args": ["x", "y"], "env": ["B=2"], "timeout": 3}],
                "additionalGids": [44],
                "intelRdt": {"closID": "group", "schemata": ["L3:0=f"], "enableMonitoring": True},
            },
            annotations={"a": "b"},
        )
    )
    edits = found.devices[0].edits
    assert ("/dev/b", 1, 3) == (edits.nodes[0].host_path, edits.nodes[0].major, edits.nodes[0].minor)
    assert ("eth1", "/b", ("x", "y"), (44,)) == (
        edits.net_devices[0].host_name,
        edits.mounts[0].container_path,
        edits.hooks[0].args,
        edits.additional_gids,
    )


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        pytest.param(document(shape="round"), "unknown key `shape`", id="unknown key at the top"),
        pytest.param(document({"env": ["A=1"], "envs": []}), "unknown key `envs`", id="unknown key in edits"),
        pytest.param(document({"env": [3]}), "list of texts", id="a number in env"),
        pytest.param(document({"env": ["=1"]}), "NAME=value", id="env without a name"),
        pytest.param(document({}), "changes nothing", id="empty edits of a device"),
        pytest.param(document(containerEdits=[]), "not an object", id="edits as the prose of the standard shows them"),
        pytest.param(document(devices=[]), "no devices", id="no devices"),
        pytest.param(document(kind="vendor"), "not `vendor/class`", id="kind without a class"),
        pytest.param(document(kind="1vendor/class"), "is not a vendor", id="vendor that starts with a digit"),
        pytest.param(document(cdiVersion="9.0.0"), "unknown", id="unknown version"),
        pytest.param(document({"additionalGids": [44]}, cdiVersion="0.6.0"), "came with 0.7.0", id="version that is too low"),
        pytest.param(document({"deviceNodes": [{"path": "/dev/a", "permissions": "x"}]}), "permissions", id="permissions"),
        pytest.param(document({"deviceNodes": [{"path": "/dev/a", "type": "q"}]}), "type", id="type of a node"),
        pytest.param(document({"deviceNodes": [{"path": "/dev/a", "fileMode": "0666"}]}), "integer", id="mode as a text"),
        pytest.param(document({"mounts": [{"hostPath": "/a"}]}), "containerPath` is missing", id="mount without a target"),
        pytest.param(document({"hooks": [{"hookName": "later", "path": "/x"}]}), "not one of prestart", id="name of a hook"),
        pytest.param(document({"additionalGids": [-1]}), "group", id="negative group"),
        pytest.param(document({"intelRdt": {"closID": "../x"}}), "closID", id="class of service with a slash"),
        pytest.param([], "not an object", id="a list"),
    ],
)
def test_what_breaks_a_rule_is_refused_with_its_place(changed: Any, words: str) -> None:
    with pytest.raises(BadContent, match=words):
        specification(changed)


def test_a_leading_v_of_the_version_is_taken() -> None:
    assert "0.5.0" == specification(document(cdiVersion="v0.5.0")).version


def test_two_devices_of_one_name_are_refused() -> None:
    twice = [{"name": "a", "containerEdits": {"env": ["A=1"]}}] * 2
    with pytest.raises(BadContent, match="two devices `a`"):
        specification(document(devices=twice))


@pytest.mark.parametrize(
    ("edits", "changes", "version"),
    [
        ({"env": ["A=1"]}, {}, "0.3.0"),
        ({"mounts": [{"hostPath": "/a", "containerPath": "/b", "type": "bind"}]}, {}, "0.4.0"),
        ({"deviceNodes": [{"path": "/dev/a", "hostPath": "/dev/b"}]}, {}, "0.5.0"),
        ({"env": ["A=1"]}, {"annotations": {"a": "b"}}, "0.6.0"),
        ({"env": ["A=1"]}, {"kind": "vendor.com/gpu.coherent"}, "0.6.0"),
        ({"additionalGids": [44]}, {}, "0.7.0"),
        ({"intelRdt": {"closID": "x"}}, {}, "0.7.0"),
        ({"intelRdt": {"closID": "x", "enableMonitoring": True}}, {}, "1.1.0"),
        ({"netDevices": [{"hostInterfaceName": "a", "name": "b"}]}, {}, "1.1.0"),
    ],
)
def test_the_lowest_version_is_that_of_the_newest_field(edits: dict[str, Any], changes: dict[str, Any], version: str) -> None:
    assert version == needed_version(specification(document(edits, **changes)))


def test_json_and_yaml_say_the_same(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps(document()))
    (tmp_path / "a.yaml").write_text(
        "cdiVersion: 1.1.0\nkind: vendor.com/class\ndevices:\n- name: dev\n  containerEdits: {env: [A=1]}\n"
    )
    assert read_specification(tmp_path / "a.json") == read_specification(tmp_path / "a.yaml")


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("a.yaml", "kind: a\nkind: b\n", "line 2: key `kind` is there twice"),
        ("a.json", '{"kind": "a", "kind": "b"}', "key `kind` is there twice"),
        ("a.yaml", "1: a\n", "not a text"),
        ("a.yaml", "a: [", "not YAML"),
        ("a.yaml", "!!python/object/apply:os.system [id]", "not YAML"),
        ("a.json", "{", "not JSON"),
        ("a.json", b"\xff", "not UTF-8"),
    ],
    ids=["key twice", "key twice in JSON", "number as key", "broken YAML", "a program in YAML", "broken JSON", "no UTF-8"],
)
def test_what_is_no_strict_document_is_refused(tmp_path: Path, name: str, text: str | bytes, words: str) -> None:
    (tmp_path / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(BadContent, match=words):
        read_specification(tmp_path / name)


@pytest.mark.parametrize("name", ["nvidia.com/gpu=0", "nvidia.com/gpu=0:1", "a/b=c", "amd.com/gpu=GPU-a1_b.c"])
def test_names_of_devices(name: str) -> None:
    assert name == str(parse_device_name(name))


@pytest.mark.parametrize(
    "name", ["gpu0", "/dev/kvm", "nvidia.com=0", "nvidia.com/gpu=", "nvidia.com/gpu=-0", "1n/gpu=0", "n./gpu=0", "n/g/x=0"]
)
def test_what_is_no_name_of_a_device(name: str) -> None:
    with pytest.raises(ValueError, match="is not"):
        parse_device_name(name)
