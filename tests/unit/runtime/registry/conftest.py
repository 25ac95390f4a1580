"""A real registry for the tests of a module, a wire to it for each test, and a store to push from or pull into."""

from __future__ import annotations

from collections.abc import Iterator

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
