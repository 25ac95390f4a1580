"""A run's energy, from counters that begin anew and from power."""

from __future__ import annotations

import pytest

from runtime.gpu.energy import EnergyMeter


def test_energy_is_the_difference_of_two_readings_of_the_counter() -> None:
    meter = EnergyMeter()
    meter.feed(0, counter_j=5_000, power_w=300)
    assert not meter.known
    meter.feed(10, counter_j=8_000, power_w=300)
    assert meter.known
    assert 3_000 == meter.joules


def test_a_counter_that_began_anew_adds_what_it_has_counted_since() -> None:
    meter = EnergyMeter()
    for at, counter in enumerate((9_000, 9_500, 200, 300)):
        meter.feed(at, counter_j=counter, power_w=None)
    assert 500 + 200 + 100 == meter.joules


def test_a_reading_that_failed_is_made_up_for_by_the_next() -> None:
    meter = EnergyMeter()
    meter.feed(0, counter_j=1_000, power_w=None)
    meter.feed(10, counter_j=None, power_w=None)
    meter.feed(20, counter_j=4_000, power_w=None)
    assert 3_000 == meter.joules


def test_without_a_counter_power_is_integrated() -> None:
    meter = EnergyMeter()
    for at, watts in ((0, 100), (10, 300), (20, 300)):
        meter.feed(at, counter_j=None, power_w=watts)
    assert 2_000 + 3_000 == pytest.approx(meter.joules)


def test_power_says_nothing_about_an_hour_without_readings() -> None:
    meter = EnergyMeter()
    meter.feed(0, counter_j=None, power_w=300)
    meter.feed(3_600, counter_j=None, power_w=300)
    assert 0 == meter.joules


def test_another_attempt_does_not_count_what_others_used_in_between() -> None:
    meter = EnergyMeter()
    meter.feed(0, counter_j=0, power_w=None)
    meter.feed(10, counter_j=1_000, power_w=None)
    meter.begin_anew()
    meter.feed(100, counter_j=50_000, power_w=None)
    meter.feed(110, counter_j=50_500, power_w=None)
    assert 1_500 == meter.joules


def test_a_stored_meter_goes_on() -> None:
    meter = EnergyMeter()
    meter.feed(0, counter_j=1_000, power_w=None)
    again = EnergyMeter.from_json(meter.to_json())
    again.feed(60, counter_j=4_000, power_w=None)
    assert 3_000 == again.joules
