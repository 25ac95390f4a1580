"""What is asked of AppArmor and SELinux, and what is refused where they are off."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from runtime.errors import Unsupported
from runtime.oci.runtime_config import process_from_json
from runtime.oci_runtime.command_line import parse
from runtime.oci_runtime.commands import exec as exec_command
from runtime.oci_runtime.creation import read_bundle
from runtime.oci_runtime.process.security_labels import apparmor_is_on, apparmor_word, labels_of

PROCESS = {"args": ["true"], "cwd": "/"}
LABELS = {"apparmorProfile": "confined", "selinuxLabel": "system_u:system_r:container_t:s0"}


@pytest.mark.parametrize(
    ("current", "no_new_privileges", "word"),
    [
        pytest.param("unconfined\n", True, "exec", id="unconfined"),
        pytest.param("unconfined", False, "exec", id="unconfined, with privileges to gain"),
        pytest.param("engine (enforce)\n", False, "exec", id="confined"),
        pytest.param("engine (enforce)\n", True, "stack", id="confined without new privileges: only more may be added"),
        pytest.param("unconfined_engine (complain)\n", True, "stack", id="confined by a profile with a name like that"),
    ],
)
def test_a_profile_is_asked_for_as_the_kernel_allows_it(current: str, no_new_privileges: bool, word: str) -> None:
    assert word == apparmor_word(current, no_new_privileges=no_new_privileges)


def test_a_process_without_labels_asks_for_none() -> None:
    assert labels_of(process_from_json({**PROCESS, "apparmorProfile": "", "selinuxLabel": ""})) is None


@pytest.mark.skipif(apparmor_is_on(), reason="AppArmor is on here")
def test_a_profile_is_refused_where_nobody_would_enforce_it() -> None:
    with pytest.raises(Unsupported, match=r"`process\.apparmorProfile` is `confined`, and AppArmor is off"):
        labels_of(process_from_json({**PROCESS, "apparmorProfile": "confined"}))


@pytest.mark.skipif(os.path.exists("/sys/fs/selinux/enforce"), reason="SELinux is on here")
def test_a_label_is_refused_where_nobody_would_enforce_it() -> None:
    with pytest.raises(Unsupported, match=r"`process.selinuxLabel` is .*, and SELinux is off"):
        labels_of(process_from_json({**PROCESS, "selinuxLabel": "a:b:c"}))


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        pytest.param((), ("confined", LABELS["selinuxLabel"]), id="the container's"),
        pytest.param(("--apparmor", "other", "--process-label", "a:b:c"), ("other", "a:b:c"), id="those of the command line"),
    ],
)
def test_a_program_that_enters_has_the_labels_of(tmp_path: Path, words: tuple[str, ...], expected: tuple[str, str]) -> None:
    document = {"ociVersion": "1.2.0", "root": {"path": "rootfs"}, "process": {**PROCESS, **LABELS}}
    (tmp_path / "config.json").write_text(json.dumps(document))
    _content, config = read_bundle(tmp_path)
    given = parse([*words, "name", "true"], exec_command.COMMANDS["exec"].options, stop_at_word=True)
    process = exec_command._process(given, config)
    assert expected == (process.apparmor_profile, process.selinux_label)
