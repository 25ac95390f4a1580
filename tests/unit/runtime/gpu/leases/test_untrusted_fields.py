"""Anybody may have written anything into the file of a lock."""

from __future__ import annotations

import json
import os

import pytest

from launcher.schedule.device_request import DeviceRequest, QueuedRun, from_document, to_document
from runtime.gpu.leases.lock_files import UntrustedFields, write_hint

HONEST = json.loads(json.dumps(to_document(QueuedRun(DeviceRequest(("GPU-a",)), "a1b2", "ann", 7, 0, 1, 1.0, 2.0))))


def test_what_moves_the_cursor_is_written_out() -> None:
    assert UntrustedFields({"run": "\x1b[31mred\n"}).text("run") == r"\x1b[31mred\n"
    assert UntrustedFields({"run": "x" * 9999}).text("run") == "x" * 100


@pytest.mark.parametrize("value", ["NaN", "Infinity", "1e999", "1" + "0" * 400, "true", '"1"', "null"])
def test_no_moment_is_none(value: str) -> None:
    assert UntrustedFields({"since": json.loads(value)}).seconds("since") is None
    assert UntrustedFields({"pid": json.loads(value)}).whole("pid") is None


@pytest.mark.parametrize("change", [{"since": 10**400}, {"lasts_s": 10**400}, {"priority": 10**400}, {"number": None}])
def test_a_place_with_numbers_from_nowhere_is_nobodys(change: dict[str, object]) -> None:
    assert from_document(UntrustedFields(HONEST)) is not None
    assert from_document(UntrustedFields(HONEST | change)) is None


def test_a_place_is_read_by_the_version_before() -> None:
    assert {"want", "run", "user", "pid", "priority", "number", "since", "lasts_s"} == set(HONEST)
    assert {"offers", "count", "slots", "linked", "least_memory"} == set(HONEST["want"])


def test_a_full_file_system_costs_a_hint_and_no_lease() -> None:
    fd = os.open("/dev/full", os.O_RDWR)
    write_hint(fd, {"run": "a1b2"})
    os.close(fd)
