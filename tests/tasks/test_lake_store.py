"""The same tables on an object store: a real S3 server, reached by URL, with no other code than on a folder."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from polars.testing import assert_frame_equal

from tasks import lake, places
from tasks.domain.errors import CountersignError, UsageError, VerificationFailed
from tests.tasks.test_lake import DECLARED, bars
from tests.tasks.test_lake_writers import race, require_whole

boto3 = pytest.importorskip("boto3", reason="moto, which serves S3 in these tests, is not installed")
pytest.importorskip("moto.server", reason="moto, which serves S3 in these tests, is not installed")

ROUNDS = 3
# moto looks whether a key exists and then puts it, in two steps; S3 does both in one. One request at a time makes
# moto's conditional put what it is on S3.
SERVER = """
import sys, threading
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import run_simple

served, one_at_a_time = DomainDispatcherApplication(create_backend_app), threading.Lock()

def application(environ, start_response):
    with one_at_a_time:
        return list(served(environ, start_response))

run_simple("127.0.0.1", int(sys.argv[1]), application, threaded=True, request_handler=MotoRequestHandler)
"""
MAY = {
    "steward": ["*"],
    "trainer": ["lake/p/development/*"],
}


class Store(NamedTuple):
    """A running S3 server with one bucket, and storage options per role; it enforces what each role may."""

    url: str
    roles: dict[str, dict[str, str]]


def free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    import httpx

    port, log = free_port(), tmp_path_factory.mktemp("s3") / "log"
    url = f"http://127.0.0.1:{port}"
    with log.open("wb") as sink:
        environment = os.environ | {"INITIAL_NO_AUTH_ACTION_COUNT": "100"}
        server = subprocess.Popen([sys.executable, "-c", SERVER, str(port)], stdout=sink, stderr=sink, env=environment)
    try:
        with httpx.Client(transport=httpx.HTTPTransport(retries=10)) as client:
            client.get(f"{url}/moto-api/", timeout=60)
            roles = {role: make_user(url, role, prefixes) for role, prefixes in MAY.items()}
            client.post(f"{url}/moto-api/reset-auth", content=b"0").raise_for_status()
        yield Store(url, roles)
    finally:
        server.terminate()
        server.wait()


def make_user(url: str, role: str, prefixes: list[str]) -> dict[str, str]:
    """A user of the store who may list the bucket and do anything below some prefixes; returns storage options."""
    made = {"endpoint_url": url, "region_name": "us-east-1", "aws_access_key_id": "x", "aws_secret_access_key": "x"}
    boto3.client("s3", **made).create_bucket(Bucket="desk")
    iam = boto3.client("iam", **made)
    statements: list[dict[str, Any]] = [
        {"Effect": "Allow", "Action": "s3:ListBucket", "Resource": "arn:aws:s3:::desk"},
        {"Effect": "Allow", "Action": "s3:*", "Resource": [f"arn:aws:s3:::desk/{prefix}" for prefix in prefixes]},
    ]
    iam.create_user(UserName=role)
    policy = json.dumps({"Version": "2012-10-17", "Statement": statements})
    iam.put_user_policy(UserName=role, PolicyName=role, PolicyDocument=policy)
    key = iam.create_access_key(UserName=role)["AccessKey"]
    return {
        "aws_endpoint_url": url,
        "aws_allow_http": "true",
        "aws_region": "us-east-1",
        "aws_access_key_id": key["AccessKeyId"],
        "aws_secret_access_key": key["SecretAccessKey"],
    }


@pytest.fixture
def remote(state: Path, store: Store, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The lake on the store, below a prefix of the test's own where it needs one; every role's credentials in place."""
    monkeypatch.setenv(places.LAKE_VARIABLE, f"s3://desk/{getattr(request, 'param', 'lake')}")
    for role, options in store.roles.items():
        path = state / "keys" / f"{role}.lake.json"
        path.write_text(json.dumps(options))
        path.chmod(0o600)
    act_as("steward", monkeypatch)
    return state


def act_as(role: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(places.ROLE_VARIABLE, role)


@pytest.mark.parametrize("remote", ["versions"], indirect=True)
def test_tables_on_a_store_are_written_appended_and_read_at_old_versions(remote: Path) -> None:
    contents = [bars(1.0, 2.0, 3.0), bars(1.0, 2.5, 3.0), bars(1.0, 2.5, 3.0)[:-3]]
    written = [lake.write("p", lake.DEVELOPMENT, content, DECLARED) for content in contents]
    assert [each.version for each in written] == [0, 1, 2]
    assert lake.write("p", lake.DEVELOPMENT, contents[-1], DECLARED) == written[-1]
    for content, each in zip(contents, written, strict=True):
        assert_frame_equal(lake.load("p", lake.DEVELOPMENT, each.version, each.sha256), content)
    assert lake.append_parts("p", "feed", {"a" * 64: contents[0], "b" * 64: contents[1]}, DECLARED) == 0
    assert lake.append_parts("p", "feed", {"b" * 64: contents[1]}, DECLARED) == 0
    assert lake.held_parts("p", "feed") == {"a" * 64: 9, "b" * 64: 9}
    assert_frame_equal(lake.read_raw("p", "feed", ["b" * 64]).drop("part"), contents[1])
    assert not (remote / "lake").exists()


@pytest.mark.timeout(300)
@pytest.mark.parametrize("remote", ["race"], indirect=True)
def test_two_writers_on_a_store(remote: Path) -> None:
    require_whole(race(str(ROUNDS)), ROUNDS)


def test_each_role_opens_what_the_store_lets_it_open(remote: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = bars(1.0, 2.0, 3.0)
    for table in (lake.DEVELOPMENT, lake.LOCKBOX):
        lake.write("p", table, content, DECLARED)
    lake.append_parts("p", "feed", {"a" * 64: content}, DECLARED)
    sha = lake.write("p", lake.LOCKBOX, content, DECLARED).sha256
    act_as("trainer", monkeypatch)
    assert_frame_equal(lake.load("p", lake.DEVELOPMENT, 0, sha), content)
    with pytest.raises(VerificationFailed, match="lockbox: version 0 cannot be read"):
        lake.read("p", lake.LOCKBOX, 0, sha)
    with pytest.raises(VerificationFailed, match="raw: feed feed cannot be read"):
        lake.read_raw("p", "feed", ["a" * 64])
    with pytest.raises(CountersignError, match="lockbox: cannot be written: permission denied"):
        lake.write("p", lake.LOCKBOX, bars(1.0), DECLARED)


def test_wrong_credentials_are_one_line(remote: Path, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    path = remote / "keys" / "steward.lake.json"
    path.write_text(json.dumps(store.roles["steward"] | {"aws_secret_access_key": "wrong"}))
    with pytest.raises(CountersignError, match="development: cannot be written: permission denied"):
        lake.write("p", lake.DEVELOPMENT, bars(1.0), DECLARED)
    path.chmod(0o644)
    with pytest.raises(UsageError, match="chmod 600"):
        lake.write("p", lake.DEVELOPMENT, bars(1.0), DECLARED)
    path.write_text("[]")
    path.chmod(0o600)
    with pytest.raises(UsageError, match="one JSON object of storage options"):
        lake.write("p", lake.DEVELOPMENT, bars(1.0), DECLARED)


def test_without_a_role_the_environment_s_own_credentials_are_used(
    remote: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    act_as("auditor", monkeypatch)  # has no file
    for name, value in store.roles["steward"].items():
        monkeypatch.setenv(name.upper(), value)
    assert lake.write("p", lake.SERIES, bars(1.0), DECLARED).rows == 3
