"""`launch diff`: packages, configuration and files of two images."""

from __future__ import annotations

import json

from image_maker import image_of

from launcher.plan.images.image_difference import collapse, image_difference
from runtime.store.store import Store

DPKG = "Package: {}\nStatus: install ok installed\nArchitecture: amd64\nVersion: {}\n\n"


def test_packages_by_version(store: Store) -> None:
    before = image_of(store, {"var/lib/dpkg/status": DPKG.format("git", "1") + DPKG.format("old", "1")})
    after = image_of(
        store,
        {"var/lib/dpkg/status": DPKG.format("git", "2"), "lib/humanize-4.dist-info/METADATA": "Name: humanize\nVersion: 4\n"},
    )
    found = image_difference(before, after, store).packages
    assert [("deb", "git", ("1",), ("2",)), ("deb", "old", ("1",), ()), ("python", "humanize", (), ("4",))] == [
        (each.kind, each.name, each.before, each.after) for each in found
    ]


def test_settings_one_by_one(store: Store) -> None:
    files = {"a": "1"}
    before = image_of(store, files, config={"Env": ["A=1", "B=1"], "Cmd": ["sh"], "Labels": {"x": "1"}, "Volumes": {"/v": {}}})
    after = image_of(
        store,
        files,
        config={"Env": ["A=2", "C=1"], "Entrypoint": ["python3"], "Labels": {"x": "2"}, "User": ""},
        architecture="arm64",
    )
    found = image_difference(before, after, store)
    assert {
        "Env A": ("1", "2"),
        "Env B": ("1", None),
        "Env C": (None, "1"),
        "Cmd": (["sh"], None),
        "Entrypoint": (None, ["python3"]),
        "Labels x": ("1", "2"),
        "Volumes /v": (True, None),
        "architecture": ("amd64", "arm64"),
    } == {each.name: (each.before, each.after) for each in found.config}
    assert ((), (), 1) == (found.packages, found.files, found.shared_layers)


def test_files_are_those_of_the_whole_image_and_not_of_its_layers(store: Store) -> None:
    """The same files in one layer or in two are no difference."""
    before = image_of(store, {"a": "1", "b": "2"})
    after = image_of(store, {"a": "old"}, {"a": "1", "b": "2"})
    found = image_difference(before, after, store)
    assert found.is_empty
    assert before.digest != after.digest


def test_a_directory_that_came_whole_is_one_line(store: Store) -> None:
    before = image_of(store, {"d/a": "1", "gone/x/y": "123"})
    after = image_of(store, {"d/a": "2", "d-new": "1", "d/new/a": "12", "d/new/b/c": "3"})
    found = collapse(image_difference(before, after, store).files)
    assert [
        ("added", "d-new", 0, 0),
        ("changed", "d/a", 0, 0),
        ("added", "d/new", 2, 3),
        ("removed", "gone", 1, 3),
    ] == [(each.difference.kind, each.difference.path, each.files_below, each.bytes_below) for each in found]


def test_json_has_the_summary_and_every_path(store: Store) -> None:
    before, after = image_of(store, {"a": "1"}), image_of(store, {"a": "2", "d/b": "1"})
    document = json.loads(json.dumps(image_difference(before, after, store).to_json()))
    assert {"added": 2, "removed": 0, "changed": 1} == document["summary"]["files"]
    assert ["a", "d", "d/b"] == [each["path"] for each in document["files"]]
    assert {"content"} == set(document["files"][0]["changes"])
