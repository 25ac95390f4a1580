"""Who owns the other end of a loopback connection."""

from __future__ import annotations

import os
import socket

from launcher.tracking.mlflow.loopback_peer import Peer, is_outside_containers, peer_of


def test_the_other_end_of_a_connection_is_ours() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = listener.getsockname()
        with socket.create_connection(server) as client:
            peer, address = listener.accept()
            with peer:
                found = peer_of(address, server)
                assert Peer(os.geteuid(), os.fstat(client.fileno()).st_ino) == found
                assert is_outside_containers(found)
                assert client.getsockname() == address


def test_a_connection_that_is_not_there_has_no_owner() -> None:
    assert peer_of(("127.0.0.1", 1), ("127.0.0.1", 2)) is None


def test_who_sends_and_goes_is_nobody() -> None:
    """Older kernels list a closed socket as root's: any user of the machine could have had a run deleted so."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = listener.getsockname()
        with socket.create_connection(server) as client:
            client.sendall(b"POST /api/2.0/mlflow/runs/delete HTTP/1.1\r\n\r\n")
            peer, address = listener.accept()
        with peer:
            assert peer.recv(4) == b"POST"
            assert peer_of(address, server) is None
