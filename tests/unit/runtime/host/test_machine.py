"""The commands that a person is given fit the machine and the user."""

from __future__ import annotations

import subprocess

from runtime.host.machine import Machine


def test_root_types_the_command_itself_and_others_through_sudo(machine):
    assert "modprobe tun" == machine(uid=0).as_root("modprobe tun")
    assert "sudo modprobe tun" == machine().as_root("modprobe tun")


def test_a_command_with_a_redirection_is_all_roots(machine):
    typed = machine().as_root("""printf 'it\\'s' > /etc/x && true""".replace("\\'", "'\\''"))
    assert typed.startswith("sudo sh -c ")
    shown = subprocess.run(["sh", "-c", typed.replace("sudo sh -c", "printf %s")], capture_output=True, text=True, check=True)
    assert "printf 'it'\\''s' > /etc/x && true" == shown.stdout


def test_a_package_is_installed_by_what_this_system_has(machine):
    assert "sudo apt-get install -y uidmap" == machine(programs=("apt-get",)).installing("uidmap")


def test_other_systems_have_other_names(machine):
    assert "sudo dnf install -y shadow-utils" == machine(programs=("dnf",)).installing("uidmap")
    assert "sudo dnf install -y passt" == machine(programs=("dnf",)).installing("passt")


def test_an_unknown_system_gets_no_command(machine):
    assert "" == machine().installing("passt") == machine().booting_with("psi=1")


def test_the_kernels_command_line_is_changed_by_its_boot_loader(machine):
    assert "sudo grubby --update-kernel=ALL --args=psi=1" == machine(programs=("grubby",)).booting_with("psi=1")


def test_debians_boot_loader_keeps_what_was_there(machine, tmp_path):
    line = 'GRUB_CMDLINE_LINUX="quiet"\nGRUB_CMDLINE_LINUX_DEFAULT="splash"\n'
    command = machine({"/etc/default/grub": line}, programs=("update-grub",), uid=0).booting_with("psi=1")
    edit = command.replace("/etc/default/grub", str(tmp_path / "etc/default/grub")).replace("update-grub", "true")
    subprocess.run(["sh", "-c", edit], check=True)
    assert line.replace('LINUX="', 'LINUX="psi=1 ') == (tmp_path / "etc/default/grub").read_text()


def test_this_machine_is_the_default():
    assert Machine().text("/proc/sys/kernel/osrelease")
    assert Machine().text("/no/such/file") == ""
