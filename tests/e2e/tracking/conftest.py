"""One local MLflow server for all tests here."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from server_peer import Server, stop_server
from unwell_proxy import Between

from launcher.tracking.mlflow import local_server
from runtime.state_dir import StateDir


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    state = StateDir(tmp_path_factory.mktemp("mlflow-home")).ensure()
    local_server.ui(state)
    yield Server(state)
    stop_server(state)


@pytest.fixture
def between(server: Server) -> Iterator[Between]:
    made = Between(local_server.ui(server.state))
    yield made
    made.close()
