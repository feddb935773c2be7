"""How a source is found, what a plug-in is held to, and files behind URLs of real servers."""

import http.server
import threading
from collections.abc import Iterator
from datetime import datetime
from functools import partial
from pathlib import Path

import polars as pl
import pytest

from tasks.domain.errors import DataRefused, UsageError
from tasks.domain.problem import FilesSource, PackageSource, PluginSource
from tasks.sources import contents
from tasks.sources.delivery import BAR_TYPES, Request, collect, find, sources

COLUMNS = {"timestamp": ["date"], "instrument": ["symbol"], "close": ["close"]}
GOOD = b"date,symbol,close\n2020-01-02,A,1.5\n"
PLUGIN = """
import polars as pl
from tasks.sources.delivery import UNREADABLE, Delivery, Part, Request

def collect(request: Request):
    what = request.source["what"]
    bars = pl.DataFrame({"timestamp": [None], "instrument": ["A"], "close": [what]})
    bars = bars.cast({"timestamp": pl.Datetime("us")})
    if what == "nothing":
        return None
    return Delivery("theirs", "x", (Part("one", "sha", bars, pl.DataFrame(schema=UNREADABLE)),))

broken = 7
"""


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An installed package that declares sources."""
    (tmp_path / "their_source.py").write_text(PLUGIN)
    declared(tmp_path, "theirs = their_source:collect", "broken = their_source:broken", "gone = no_such_module:collect")
    monkeypatch.syspath_prepend(tmp_path)
    sources.cache_clear()
    yield tmp_path
    sources.cache_clear()


def declared(folder: Path, *points: str) -> None:
    place = folder / "their_source-1.0.dist-info"
    place.mkdir(exist_ok=True)
    (place / "METADATA").write_text("Metadata-Version: 2.1\nName: their-source\nVersion: 1.0\n")
    (place / "entry_points.txt").write_text("\n".join(["[countersign.sources]", *points]))


def test_a_plug_in_is_found_and_handed_its_settings(plugin: Path) -> None:
    assert {"files", "package", "sql", "theirs"} <= set(sources())
    asked = PluginSource(kind="plugin", name="theirs", settings={"what": 1.5})
    delivery = collect(Request(asked, COLUMNS))
    assert delivery.parts[0].bars is not None
    assert delivery.parts[0].bars["close"].to_list() == [1.5]
    other = collect(Request(asked.model_copy(update={"settings": {"what": 2.5}}), COLUMNS))
    assert delivery.feed != other.feed != "x"


@pytest.mark.parametrize(
    ("name", "what", "fault", "said"),
    [
        ("theirs", "text", DataRefused, r"source 'theirs', part one: columns .*; expected at least"),
        ("theirs", "nothing", DataRefused, "source 'theirs': returned NoneType; expected a Delivery"),
        ("broken", 1.5, UsageError, r"source 'broken': their_source:broken is not callable"),
        ("gone", 1.5, UsageError, r"source 'gone': no_such_module:collect cannot be loaded"),
        (
            "none",
            1.5,
            UsageError,
            r"source 'none': unknown; known are \['broken', 'files', 'gone', 'package', 'sql', 'theirs'\]",
        ),
    ],
)
def test_a_plug_in_that_is_wrong_is_one_line(
    plugin: Path, name: str, what: object, fault: type[Exception], said: str
) -> None:
    with pytest.raises(fault, match=said) as refusal:
        collect(Request(PluginSource(kind="plugin", name=name, settings={"what": what}), COLUMNS))
    assert "\n" not in str(refusal.value)


def test_nobody_replaces_a_source_of_ours(plugin: Path) -> None:
    declared(plugin, "files = their_source:collect")
    sources.cache_clear()
    with pytest.raises(
        UsageError, match=r"source 'files': declared by tasks\.sources\.files:collect and by .*their-source"
    ):
        find("files")


def test_the_bundled_bars() -> None:
    source = PackageSource(kind="package", dataset="skfolio.sp500")
    (part,) = collect(Request(source, COLUMNS)).parts
    assert part.bars is not None
    assert part.bars.shape == (166_260, 3)
    assert dict(part.bars.schema) == {name: BAR_TYPES[name] for name in part.bars.columns}
    (held,) = collect(Request(source, COLUMNS, frozenset({part.sha256}))).parts
    assert held == part._replace(bars=None, unreadable=None)


def test_the_digest_of_a_content() -> None:
    frame = pl.DataFrame(
        {"timestamp": [datetime(2020, 1, 2), None], "instrument": ["A", None], "close": [1.5, None]},
        schema={name: BAR_TYPES[name] for name in ("timestamp", "instrument", "close")},
    )
    assert contents.digest(frame) == contents.digest(pl.concat([frame[:1], frame[1:]], rechunk=False))
    others = [
        frame.with_columns(close=pl.Series([1.5, 0.0])),
        frame.with_columns(instrument=pl.Series(["A", ""])),
        frame.with_columns(timestamp=pl.lit(datetime(1970, 1, 1))),
        frame.rename({"close": "open"}),
        frame.reverse(),
        frame[:1],
    ]
    assert len({contents.digest(other) for other in [frame, *others]}) == len(others) + 1
    texts = [pl.DataFrame({"instrument": pair}) for pair in (["ab", "c"], ["a", "bc"])]
    assert contents.digest(texts[0]) != contents.digest(texts[1])


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def web(tmp_path: Path) -> Iterator[str]:
    (tmp_path / "bars.csv").write_bytes(GOOD)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_a_file_on_a_web_server(web: str) -> None:
    pytest.importorskip("aiohttp", reason="fsspec reads http through aiohttp, which is not installed")
    source = FilesSource(kind="files", path=f"{web}/bars.csv?token=geheim")
    (part,) = collect(Request(source, COLUMNS)).parts
    assert part.name == f"{web}/bars.csv?***"
    assert part.bars is not None
    assert part.bars["close"].to_list() == [1.5]
    with pytest.raises(UsageError, match=r"none\.csv\?\*\*\*: cannot be read") as refusal:
        collect(Request(source.model_copy(update={"path": f"{web}/none.csv?token=geheim"}), COLUMNS))
    assert "geheim" not in str(refusal.value)


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A bucket on an S3 server of our own, with two files."""
    server_module = pytest.importorskip("moto.server", reason="moto, the S3 server for tests, is not installed")
    import boto3

    server = server_module.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    client = boto3.client("s3")
    client.create_bucket(Bucket="deliveries")
    client.put_object(Bucket="deliveries", Key="2020/a.csv", Body=GOOD)
    client.put_object(Bucket="deliveries", Key="2020/01/b.csv", Body=GOOD.replace(b"1.5", b"1.6"))
    client.close()
    yield "s3://deliveries"
    server.stop()


def test_files_on_an_object_store(bucket: str) -> None:
    def names_at(path: str) -> list[str]:
        return [part.name for part in collect(Request(FilesSource(kind="files", path=path), COLUMNS)).parts]

    assert names_at(f"{bucket}/2020") == [f"{bucket}/2020/01/b.csv", f"{bucket}/2020/a.csv"]
    assert names_at(f"{bucket}/2020/a.csv") == [f"{bucket}/2020/a.csv"]
    assert names_at(f"{bucket}/2020/*.csv") == [f"{bucket}/2020/a.csv"]
    with pytest.raises(UsageError, match=r"s3://deliveries/none: cannot be read"):
        names_at(f"{bucket}/none")
    with pytest.raises(UsageError, match=r"s3://nowhere/x\.csv: cannot be read"):
        names_at("s3://nowhere/x.csv")
