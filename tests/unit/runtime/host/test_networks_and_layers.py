"""Kernel modules, programs and devices that networks and layers need."""

from __future__ import annotations

from pathlib import Path

from runtime.host.networks import without_bridges, without_pasta
from runtime.host.overlays import private, without_overlay
from runtime.state_dir import StateDir


def test_pasta_is_installed_first(machine):
    found = without_pasta(machine(programs=("apt-get",)))
    assert "sudo apt-get install -y passt" == found.command


def test_then_its_device_is_made(machine):
    found = without_pasta(machine(programs=("pasta",)))
    assert "sudo sh -c" in found.command
    assert "modprobe -a tun" in found.command
    assert "/etc/modules-load.d/launch-tun.conf" in found.command


def test_then_its_device_is_opened(machine):
    found = without_pasta(machine({"/dev/net/tun": ""}, programs=("pasta",)))
    assert "sudo chmod 0666 /dev/net/tun" == found.command


def test_root_loads_what_a_bridge_needs_and_others_are_not_told_to(machine):
    assert "modprobe -a bridge veth nf_tables nft_masq nft_chain_nat" in without_bridges(machine(uid=0)).command
    assert "" == without_bridges(machine()).command


def test_overlayfs_is_a_module(machine):
    assert "modprobe -a overlay" in without_overlay(machine({"/proc/filesystems": "nodev\tsysfs\n\text4\n"})).command


def test_overlayfs_that_is_there_fails_for_another_reason(machine):
    found = without_overlay(machine({"/proc/filesystems": "nodev\tsysfs\nnodev\toverlay\n"}))
    assert ("", "") == (found.command, found.advice)


def test_a_store_that_others_may_enter(machine, tmp_path: Path):
    state = StateDir(tmp_path / "home")
    state.store.mkdir(parents=True)
    state.store.chmod(0o755)
    found = private(machine(), state=state)
    assert (False, f"chmod go= {state.store}") == (found.ok, found.command)
    state.store.chmod(0o700)
    assert private(machine(), state=state).ok
