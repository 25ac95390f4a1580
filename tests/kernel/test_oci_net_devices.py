"""Network devices of the machine that a bundle wants inside (`linux.netDevices`)."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from pyroute2 import IPRoute

from tests.kernel.oci_bundle import Runtime, configuration, facts, python_configuration, write_bundle

pytestmark = pytest.mark.requires("root", "netns", "proc")

CODE = """
import fcntl, socket, struct
def asked(request):
    with socket.socket() as any_socket:
        return socket.inet_ntoa(fcntl.ioctl(any_socket, request, struct.pack('256s', b'inner'))[20:24])
mtu = open('/sys/class/net/inner/mtu').read().strip()
answer = [sorted(os.listdir('/sys/class/net')), mtu, asked(0x8915), asked(0x8919), asked(0x891b)]
"""


@pytest.fixture
def device() -> Iterator[str]:
    """One end of a pair, with an address; the other stays here."""
    name = f"ot{os.getpid() % 10**8}"
    with IPRoute() as here:
        here.link("add", ifname=name, kind="veth", peer=f"{name}-peer")
        index = here.link_lookup(ifname=name)[0]
        here.addr("add", index=index, address="198.51.100.3", prefixlen=24, broadcast="198.51.100.77")
        here.link("set", index=index, mtu=1400)
        yield name
        for left in here.link_lookup(ifname=f"{name}-peer"):
            here.link("del", index=left)


def addresses_here(name: str) -> list[str]:
    with IPRoute() as here:
        return [
            one.get_attr("IFA_ADDRESS") for one in here.get_addr(index=here.link_lookup(ifname=name)[0], family=socket.AF_INET)
        ]


def test_a_device_is_inside_with_its_address_and_mtu_under_the_wanted_name(tmp_path: Path, device: str) -> None:
    document = python_configuration(CODE)
    document["linux"]["netDevices"] = {device: {"name": "inner"}}
    seen = facts(tmp_path, document, device)
    assert [["inner", "lo"], "1400", "198.51.100.3", "198.51.100.77", "255.255.255.0"] == seen


@pytest.mark.parametrize(
    ("devices", "words"),
    [
        pytest.param({"DEVICE": {"name": "lo"}}, "has a network device `lo` already", id="a name that is taken inside"),
        pytest.param({"DEVICE": {"name": "a/b"}}, "not a name for a network device", id="a name that is none"),
        pytest.param({"nowhere0": {}}, "there is no network device `nowhere0`", id="a device that is not there"),
    ],
)
def test_a_device_that_cannot_be_moved_stays_where_it_was(
    tmp_path: Path, device: str, devices: dict[str, dict[str, str]], words: str
) -> None:
    document = configuration("true")
    document["linux"]["netDevices"] = {device if name == "DEVICE" else name: value for name, value in devices.items()}
    runtime = Runtime(tmp_path)
    assert words in runtime.run("run", "--bundle", str(write_bundle(tmp_path, document)), device, code=1)
    assert ["198.51.100.3"] == addresses_here(device)
    assert "[]" == runtime.run("list", "--format", "json").strip()


def test_a_device_needs_a_namespace_to_go_to(tmp_path: Path, device: str) -> None:
    document = configuration("true", namespaces=("mount", "pid"))
    document["linux"]["netDevices"] = {device: {}}
    said = Runtime(tmp_path).run("run", "--bundle", str(write_bundle(tmp_path, document)), device, code=1)
    assert "no `network` namespace of its own" in said
