"""A real registry for the tests of a module, a wire to it for each test, and a store to push from or pull into."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from registry_server import RegistryServer, Wire, registry_server, wire_to


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RegistryServer]:
    with registry_server(tmp_path_factory.mktemp("registry")) as running:
        yield running


@pytest.fixture
def wire(server: RegistryServer) -> Iterator[Wire]:
    """A wire of its own is a registry of its own for whoever remembers by address; the files are shared."""
    with wire_to(server.port) as running:
        yield running


@pytest.fixture(autouse=True)
def no_credentials_of_the_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the machine has filed for whoever runs the tests is read by nobody, skopeo included: it may be unreadable."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "runtime"))
