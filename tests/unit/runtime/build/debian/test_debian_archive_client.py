"""Fetching, against a real HTTP server on loopback: kept connections, redirects, retries, proxies, limits."""

from __future__ import annotations

import base64
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from runtime.build.debian.archive_client import ArchiveClient, NotThere
from runtime.errors import BadContent, NetworkError, Unsupported


class Archive(ThreadingHTTPServer):
    """Answers by path, and remembers who asked for what."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.requests: list[tuple[str, int, str | None]] = []
        self.failures_left = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Archive

    def do_GET(self) -> None:
        credentials = self.headers.get("Authorization") or self.headers.get("Proxy-Authorization")
        self.server.requests.append((self.path, self.client_address[1], credentials))
        path = self.path.removeprefix("http://far.example")
        if path == "/flaky" and self.server.failures_left:
            self.server.failures_left -= 1
            self._answer(503, b"")
        elif path == "/cut" and self.server.failures_left:
            self.server.failures_left -= 1
            self.send_response(200)
            self.send_header("Content-Length", "100")
            self.end_headers()
            self.wfile.write(b"half")
            self.close_connection = True
        elif path == "/moved":
            self._answer(302, b"", Location="/file")
        elif path == "/loop":
            self._answer(302, b"", Location="/loop")
        elif path == "/gone":
            self._answer(404, b"no")
        else:
            self._answer(200, b"content")

    def _answer(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        return


@pytest.fixture
def server() -> Iterator[Archive]:
    server = Archive()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> ArchiveClient:
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    return ArchiveClient({})


def test_one_connection_serves_several_files(server: Archive, client: ArchiveClient) -> None:
    assert [b"content"] * 3 == [client.get(f"{server.url}/{name}", limit=100) for name in "abc"]
    assert 1 == len({port for _, port, _ in server.requests})


def test_redirects_are_followed_to_an_end(server: Archive, client: ArchiveClient) -> None:
    assert b"content" == client.get(f"{server.url}/moved", limit=100)
    with pytest.raises(NetworkError, match=r"redirects too often"):
        client.get(f"{server.url}/loop", limit=100)


@pytest.mark.parametrize("path", ["flaky", "cut"])
def test_a_server_that_stumbles_is_asked_again(server: Archive, client: ArchiveClient, path: str) -> None:
    server.failures_left = 2
    assert b"content" == client.get(f"{server.url}/{path}", limit=100)


def test_a_server_that_keeps_failing_is_named_with_its_answer(server: Archive, client: ArchiveClient) -> None:
    server.failures_left = 99
    with pytest.raises(NetworkError, match=r"cannot fetch `.*/flaky`: HTTP 503") as caught:
        client.get(f"{server.url}/flaky", limit=100)
    assert "no proxy is set" in str(caught.value.hint)


def test_a_missing_file_is_not_asked_for_again(server: Archive, client: ArchiveClient) -> None:
    with pytest.raises(NotThere):
        client.get(f"{server.url}/gone", limit=100)
    assert 1 == len(server.requests)


def test_more_than_was_announced_is_refused(server: Archive, client: ArchiveClient) -> None:
    with pytest.raises(BadContent, match=r"larger than the 3 bytes"):
        client.get(f"{server.url}/file", limit=3)


def test_nobody_there_is_a_network_error_not_a_traceback(client: ArchiveClient) -> None:
    with pytest.raises(NetworkError, match=r"server `127\.0\.0\.1:9` refuses connections"):
        client.get("http://127.0.0.1:9/x", limit=1)


def test_a_proxy_gets_the_whole_address_and_its_own_password(server: Archive) -> None:
    proxy = server.url.replace("http://", "http://me:secret@")
    client = ArchiveClient({"http_proxy": proxy})
    assert b"content" == client.get("http://far.example/file", limit=100)
    path, _, credentials = server.requests[0]
    assert ("http://far.example/file", "Basic " + base64.b64encode(b"me:secret").decode()) == (path, credentials)


def test_a_password_is_sent_but_never_shown(server: Archive, client: ArchiveClient) -> None:
    url = server.url.replace("http://", "http://me:secret@") + "/gone"
    with pytest.raises(NotThere) as caught:
        client.get(url, limit=1)
    assert server.requests[0][2] is not None
    assert "secret" not in caught.value.message


def test_local_archives_need_no_server(tmp_path, client: ArchiveClient) -> None:
    (tmp_path / "a b").write_bytes(b"x")
    assert b"x" == client.get(f"file:{tmp_path}/a%20b", limit=1)
    with pytest.raises(NotThere):
        client.get(f"file:{tmp_path}/none", limit=1)
    with pytest.raises(BadContent):
        client.get(f"file:{tmp_path}/a%20b", limit=0)


def test_other_schemes_are_refused(client: ArchiveClient) -> None:
    with pytest.raises(Unsupported, match=r"only http, https and file"):
        client.get("ftp://h/x", limit=1)
