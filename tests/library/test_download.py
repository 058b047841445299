"""Downloads from a hub on this machine, broken in every way that networks break."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from chatapp.core.errors import ChatappError, DownloadError, NotFound, SettingsError
from chatapp.library.choice import RemoteFile
from chatapp.library.download import download
from chatapp.library.hub import Hub, Unreachable
from chatapp.library.hub_settings import HubSettings
from tests.library.hub_server import COMMIT, REPO, FakeHub, serving

SIZE = 3_000_000
CONTENT = random.Random(1).randbytes(SIZE)
DIGEST = hashlib.sha256(CONTENT).hexdigest()
FILES = {"README.md": b"x", "a b/m-Q4_K_M.gguf": CONTENT, "other.gguf": b"y"}
BLOB = f"models--owner--Tiny-GGUF/blobs/{DIGEST}"


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    with serving(dict(FILES)) as served:
        yield served


class Client:
    """`fetch` downloads the large file; `pauses` and `hosts` say what happened on the way."""

    def __init__(self, served: FakeHub, folder: Path, **environment: str) -> None:
        settings = {"HF_ENDPOINT": served.endpoint, "HF_HOME": str(folder), **environment}
        self.cache = folder / "hub"
        self.hosts: list[str] = []
        self.hub = Hub(HubSettings.found(settings), self.hosts.append)
        self.pauses: list[float] = []
        self.heard: list[tuple[int, int]] = []

    @property
    def file(self) -> RemoteFile:
        return next(each for each in self.hub.files(REPO) if each.digest == DIGEST)

    def fetch(self) -> Path:
        return download(self.hub, REPO, self.file, lambda *each: self.heard.append(each), self.pauses.append)

    @property
    def partial(self) -> Path:
        return self.cache / f"{BLOB}.incomplete"


@pytest.fixture
def client(hub: FakeHub, tmp_path: Path) -> Client:
    return Client(hub, tmp_path / "hf")


def test_a_download_lies_where_hugging_face_has_it(client: Client, hub: FakeHub) -> None:
    path = client.fetch()
    assert path == client.cache / f"models--owner--Tiny-GGUF/snapshots/{COMMIT}/a b/m-Q4_K_M.gguf"
    assert path.read_bytes() == CONTENT
    assert path.resolve() == (client.cache / BLOB).resolve()
    assert client.heard[0] == (0, SIZE) and client.heard[-1] == (SIZE, SIZE)
    assert not client.partial.exists()
    assert client.hosts == [each.removeprefix("http://") for each in (hub.endpoint, hub.files_endpoint)]
    assert client.fetch() == path
    assert hub.sent == ["all"]


def test_huggingface_hub_speaks_with_this_hub_and_finds_the_file(
    client: Client, hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = pytest.importorskip("huggingface_hub")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_TELEMETRY", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    asked = {"repo_id": REPO, "filename": "a b/m-Q4_K_M.gguf", "endpoint": hub.endpoint, "token": False}
    theirs = Path(library.hf_hub_download(**asked, cache_dir=tmp_path / "theirs"))
    assert theirs.read_bytes() == CONTENT
    ours = client.fetch()
    assert ours.relative_to(client.cache) == theirs.relative_to(tmp_path / "theirs")
    hub.requests.clear()
    assert library.hf_hub_download(**asked, cache_dir=client.cache) == str(ours)
    assert hub.sent == []
    # And what huggingface_hub has downloaded is not downloaded again.
    assert Client(hub, tmp_path / "x", HF_HUB_CACHE=str(tmp_path / "theirs")).fetch() == theirs
    assert hub.sent == []


def test_nothing_but_the_request_is_sent(client: Client, hub: FakeHub) -> None:
    client.fetch()
    for *_, headers in hub.requests:
        assert set(headers) <= {"host", "user-agent", "accept-encoding", "connection"}
        assert headers["user-agent"] == "chatapp"


def test_the_token_goes_to_the_hub_alone(hub: FakeHub, tmp_path: Path) -> None:
    hub.gated = "secret"
    Client(hub, tmp_path, HF_TOKEN=" secret\n").fetch()
    assert {server for server, *_, headers in hub.requests if "authorization" in headers} == {"hub"}
    assert hub.sent == ["all"]


def test_a_broken_connection_goes_on_where_it_broke(client: Client, hub: FakeHub) -> None:
    hub.cut = [1_000_000, 0, 500_000]
    assert client.fetch().read_bytes() == CONTENT
    assert hub.sent == ["all", "bytes=1000000-", "bytes=1000000-", "bytes=1500000-"]
    assert client.pauses == [1, 2, 1]


def test_an_interruption_keeps_what_came(client: Client, hub: FakeHub) -> None:
    def interrupt(done: int, total: int) -> None:
        if done >= 2**20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        download(client.hub, REPO, client.file, interrupt)
    kept = client.partial.stat().st_size
    assert 2**20 <= kept < SIZE
    assert client.fetch().read_bytes() == CONTENT
    assert client.heard[0] == (kept, SIZE)
    assert hub.sent == ["all", f"bytes={kept}-"]


def test_a_server_that_cannot_go_on_begins_anew(client: Client, hub: FakeHub) -> None:
    client.partial.parent.mkdir(parents=True)
    client.partial.write_bytes(CONTENT[:1000])
    hub.ranges = False
    assert client.fetch().read_bytes() == CONTENT


def test_it_is_given_up_in_the_end(client: Client, hub: FakeHub) -> None:
    hub.cut = [1_000_000, *[0] * 50]
    with pytest.raises(DownloadError, match="1000000 of 3000000 bytes are here") as error:
        client.fetch()
    assert "goes on where it stopped" in error.value.hint
    assert client.pauses == [1, 2, 4, 8, 16]
    assert client.partial.stat().st_size == 1_000_000


def test_what_was_altered_is_not_kept(client: Client, hub: FakeHub) -> None:
    hub.altered = True
    with pytest.raises(DownloadError, match="digest differs"):
        client.fetch()
    assert list(client.partial.parent.iterdir()) == []
    hub.altered = False
    path = client.fetch()
    path.resolve().write_bytes(CONTENT[::-1])
    with pytest.raises(DownloadError, match="damaged"):
        client.fetch()
    assert client.fetch().read_bytes() == CONTENT


def test_a_false_half_is_found_out(client: Client) -> None:
    client.partial.parent.mkdir(parents=True)
    client.partial.write_bytes(bytes(1000))
    with pytest.raises(DownloadError, match="digest differs"):
        client.fetch()
    assert client.fetch().read_bytes() == CONTENT


def test_more_than_was_promised_is_refused(client: Client, hub: FakeHub) -> None:
    file = client.file
    with pytest.raises(DownloadError, match="more comes"):
        download(client.hub, REPO, RemoteFile(file.path, 100, file.digest), sleep=client.pauses.append)
    assert client.partial.stat().st_size == 0


def test_two_at_once(client: Client) -> None:
    import fcntl

    client.partial.parent.mkdir(parents=True)
    with client.partial.open("ab") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(DownloadError, match="another program"):
            client.fetch()


def test_no_space(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    import shutil

    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(9, 9, 10**6))
    with pytest.raises(DownloadError, match=r"^\d+\.\d [kM]B are to come and 1\.0 MB are free in"):
        client.fetch()


@pytest.mark.parametrize(
    ("token", "gated", "repo", "message", "hint"),
    [
        ("", "secret", REPO, "is gated", "set HF_TOKEN"),
        ("other", "secret", REPO, r"is gated.*\(403\)", "ask for access"),
        ("", None, "owner/none", r"there is no owner/none on 127.0.0.1.*\(401\)", "HF_TOKEN"),
        ("mine", None, "owner/none", r"there is no owner/none.*\(404\)", "check owner and name"),
    ],
)
def test_refusals(
    hub: FakeHub, tmp_path: Path, token: str, gated: str | None, repo: str, message: str, hint: str
) -> None:
    hub.gated = gated
    with pytest.raises(ChatappError, match=message) as error:
        Client(hub, tmp_path, HF_TOKEN=token).hub.files(repo)
    assert hint in error.value.hint


def test_a_file_that_is_gone(client: Client) -> None:
    with pytest.raises(NotFound, match="no such file"):
        download(client.hub, REPO, RemoteFile("gone.gguf", 1, "0" * 64))


def test_nobody_is_there(client: Client, hub: FakeHub, tmp_path: Path) -> None:
    with pytest.raises(Unreachable, match="connection refused"):
        Client(hub, tmp_path, HF_ENDPOINT="http://127.0.0.1:9").hub.files(REPO)
    hub.location = "http://127.0.0.1:9/x"
    with pytest.raises(Unreachable, match="cannot be reached"):
        client.fetch()
    assert client.pauses == []
    hub.requests.clear()
    with pytest.raises(DownloadError, match="HF_HUB_OFFLINE"):
        Client(hub, tmp_path, HF_HUB_OFFLINE="1").hub.files(REPO)
    assert hub.requests == []


@pytest.mark.parametrize("location", ["file:///etc/passwd", "ftp://127.0.0.1/x", "http://["])
def test_a_redirect_to_what_is_no_web_server(client: Client, hub: FakeHub, location: str) -> None:
    hub.location = location
    with pytest.raises(DownloadError, match="not followed"):
        client.fetch()


def test_a_redirect_never_leads_to_a_less_safe_place() -> None:
    from chatapp.library.hub import _redirected

    assert _redirected("https://hub/a", "https://files/b") == "https://files/b"
    assert _redirected("https://hub/a/b", "/c") == "https://hub/c"
    with pytest.raises(DownloadError, match="not followed"):
        _redirected("https://hub/a", "http://files/b")


def test_a_long_listing_is_asked_of_one_hub(client: Client, hub: FakeHub) -> None:
    assert [each.path for each in client.hub.files(REPO)] == list(FILES)
    assert len(hub.requests) == 2
    # A mirror says that the second page is at the hub which it copies.
    hub.endpoint, asked = "https://other.example", hub.endpoint
    hub.requests.clear()
    assert [each.path for each in client.hub.files(REPO)] == list(FILES)
    assert client.hosts == [asked.removeprefix("http://")] and len(hub.requests) == 2


@pytest.mark.parametrize("listing", [{}, "x", 5])
def test_an_answer_that_is_no_listing(client: Client, hub: FakeHub, listing: object) -> None:
    hub.listing = listing
    with pytest.raises(DownloadError, match="not answer like a hub"):
        client.hub.files(REPO)


def test_lines_of_a_listing_that_make_no_sense_are_left_out(client: Client, hub: FakeHub) -> None:
    sound = {"type": "file", "path": "a.gguf", "oid": "2" * 40, "size": 5}
    hub.listing = [
        7,
        {**sound, "path": "../../a.gguf"},
        {**sound, "path": "/a.gguf"},
        {**sound, "size": -1},
        {**sound, "oid": "../../../x"},
        {**sound, "lfs": {"oid": "sha256:" + "3" * 64, "size": 6}},
        sound,
    ]
    assert client.hub.files(REPO) == [RemoteFile("a.gguf", 6, "3" * 64), RemoteFile("a.gguf", 5, "2" * 40)]


@pytest.mark.parametrize("endpoint", ["ftp://x", "huggingface.co", "http://", "http://x:y", "http://a b"])
def test_endpoints_that_are_none(endpoint: str) -> None:
    with pytest.raises(SettingsError):
        HubSettings.found({"HF_ENDPOINT": endpoint})


def test_small_files_are_checked_by_gits_digest(client: Client, hub: FakeHub) -> None:
    body = b"blob %d\0" % SIZE + CONTENT
    file = RemoteFile("a b/m-Q4_K_M.gguf", SIZE, hashlib.sha1(body).hexdigest())
    hub.files = dict(FILES)
    with pytest.raises(DownloadError, match="another digest"):
        download(client.hub, REPO, file)
    from chatapp.library.download import _digest

    assert _digest(client.fetch(), file) == file.digest
