"""Time stamps by a real authority (OpenSSL's, behind HTTP): what was stamped cannot be cut off or dated back unseen."""

import shutil
import subprocess
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NamedTuple

import pytest

from tasks import journal, stamps
from tasks.domain.errors import UsageError, VerificationFailed

pytestmark = pytest.mark.usefixtures("state")

SETTINGS = """
[tsa]
default_tsa = own
[own]
serial = {folder}/serial
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = sha256
accuracy = secs:1
ess_cert_id_chain = no
ess_cert_id_alg = sha256
[stamping]
extendedKeyUsage = critical,timeStamping
basicConstraints = CA:false
[root]
basicConstraints = critical,CA:true
keyUsage = critical,keyCertSign,cRLSign
subjectKeyIdentifier = hash
[req]
distinguished_name = name
[name]
"""


class Authority(NamedTuple):
    """A folder of keys and certificates that stamps can be made with."""

    folder: Path

    def openssl(self, *arguments: object) -> None:
        subprocess.run(["openssl", *map(str, arguments)], cwd=self.folder, check=True, capture_output=True)

    def establish(self) -> None:
        (self.folder / "settings").write_text(SETTINGS.format(folder=self.folder))
        (self.folder / "serial").write_text("01\n")
        new = ("req", "-config", "settings", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
        root = ("-x509", "-days", "30", "-subj", "/CN=Root", "-extensions", "root", "-keyout", "root.key")
        self.openssl(*new, *root, "-out", "root.pem")
        self.openssl(*new, "-subj", "/CN=Clock", "-keyout", "clock.key", "-out", "clock.csr")
        issued = ("-CA", "root.pem", "-CAkey", "root.key", "-CAcreateserial", "-days", "30")
        own = ("-extfile", "settings", "-extensions", "stamping")
        self.openssl("x509", "-req", "-in", "clock.csr", *issued, *own, "-out", "clock.pem")

    def answer(self, request: bytes) -> bytes:
        (self.folder / "query.tsq").write_bytes(request)
        own = ("-signer", "clock.pem", "-inkey", "clock.key", "-config", "settings", "-section", "own")
        self.openssl("ts", "-reply", "-queryfile", "query.tsq", *own, "-out", "answer.tsr")
        return (self.folder / "answer.tsr").read_bytes()


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of an authority; its root certificate lies where its last part says."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    made = Authority(tmp_path_factory.mktemp("authority"))
    made.establish()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            answer = made.answer(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            """Nothing is printed."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}{made.folder / 'root.pem'}"
        server.shutdown()


@pytest.fixture
def trusted(authority: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(stamps.AUTHORITY, authority)
    monkeypatch.setenv(stamps.ROOT, "/" + authority.removeprefix("http://").partition("/")[2])


def looked(number: int) -> journal.Event:
    return journal.append("p", journal.LOOK, {"candidate": str(number)})


@pytest.mark.usefixtures("trusted")
def test_a_head_is_stamped_once_by_the_authoritys_clock() -> None:
    looked(1)
    first = stamps.stamp("p")
    assert (first["entry"], first["new"]) == (1, True)
    assert abs(datetime.fromisoformat(first["at"]) - datetime.now(UTC)) < timedelta(minutes=1)
    assert stamps.stamp("p") == first | {"new": False}
    looked(2)
    assert stamps.stamp("p")["entry"] == 2
    assert stamps.faults("p") == []


@pytest.mark.usefixtures("trusted")
def test_a_stamped_entry_that_was_cut_off_is_missed() -> None:
    looked(1)
    looked(2)
    stamps.stamp("p")
    (journal.folder("p") / "000002.json").unlink()
    assert stamps.faults("p") == ["journal: entry 000002.json is gone; 000002.tsr is a stamp of it"]


@pytest.mark.usefixtures("trusted")
def test_another_entry_in_its_place_is_named() -> None:
    looked(1)
    looked(2)
    stamps.stamp("p")
    (journal.folder("p") / "000002.json").unlink()
    looked(3)
    with pytest.raises(VerificationFailed, match=r"stamp 000002\.tsr: is none of that entry"):
        stamps.faults("p")


@pytest.mark.usefixtures("trusted")
def test_an_entry_dated_back_behind_a_stamp_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever holds a key and the folder can write an entry that says it was last week; all before it must say so."""

    class LastWeek(datetime):
        @classmethod
        def now(cls, tz: object = None) -> datetime:
            return datetime.now(UTC) - timedelta(days=7)

    with monkeypatch.context() as clock:
        clock.setattr(journal, "datetime", LastWeek)
        looked(1)
    stamps.stamp("p")
    with monkeypatch.context() as clock:
        clock.setattr(journal, "datetime", LastWeek)
        looked(2)
    assert "entry 000002.json is dated back: entry 000001 was stamped at" in stamps.faults("p")[0]


@pytest.mark.usefixtures("trusted")
def test_an_authority_that_is_not_trusted_stamps_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = Authority(tmp_path)
    other.establish()
    monkeypatch.setenv(stamps.ROOT, str(tmp_path / "root.pem"))
    looked(1)
    with pytest.raises(VerificationFailed, match=r"stamp 000001\.tsr"):
        stamps.stamp("p")
    assert not stamps.folder("p").exists()


def test_what_is_missing_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    looked(1)
    with pytest.raises(UsageError, match="names no time stamping authority"):
        stamps.stamp("p")
    monkeypatch.setenv(stamps.AUTHORITY, "http://127.0.0.1:9/")
    with pytest.raises(UsageError, match="did not answer as it should"):
        stamps.stamp("p")
