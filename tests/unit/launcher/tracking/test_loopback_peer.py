"""Who owns the other end of a loopback connection."""

from __future__ import annotations

import os
import socket

from launcher.tracking.mlflow.server_main import owner_of


def test_the_other_end_of_a_connection_is_ours() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = listener.getsockname()
        with socket.create_connection(server) as client:
            peer, address = listener.accept()
            with peer:
                assert os.geteuid() == owner_of(address, server)
                assert client.getsockname() == address


def test_a_connection_that_is_not_there_has_no_owner() -> None:
    assert owner_of(("127.0.0.1", 1), ("127.0.0.1", 2)) is None
