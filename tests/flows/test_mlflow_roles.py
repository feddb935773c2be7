"""A real MLflow server keeps the roles apart: what it answers each of them, and what provisioning changes."""

import json
import stat
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest

from tasks import logins, mlflow_users
from tasks.domain import names
from tasks.domain.errors import UsageError
from tasks.domain.people import People, parse_people
from tasks.domain.permissions import NONE, Thing, widest
from tasks.domain.rights import ROLES
from tasks.logins import Login
from tasks.mlflow_users import Change
from tasks.places import ROLE_VARIABLE
from tests.flows.conftest import History
from tests.support.command import CHECKOUT, Countersign
from tests.support.market import market
from tests.support.secured import logged_in, secured

NOBODY = "nobody"
PROBLEMS = ("measured", "fresh")
NEWER = ("users/permissions/", "roles/")  # addresses of the third version of MLflow's interface
Fields = dict[str, str]

VALIDATIONS, RUN = {"experiment_id": "{validate}"}, {"run_id": "{run}"}
MODEL, LIVE = {"name": "measured"}, {"name": "measured.live"}
COPY, FIRST = {"source": "models:/measured/1"}, {"version": "1"}
FIGURE, MARK = {"key": "k", "value": "1", "timestamp": "1"}, {"key": "k", "value": "{role}"}
RIGHT = {"username": "{role}", "resource_type": "registered_model", "resource_id": "measured.live"}
# What is tried, as a method, an address and what is sent with it; `{}` are filled in.
TRIED: dict[str, tuple[str, str, Fields]] = {
    "read a run of `P/validate`": ("GET", "runs/get", RUN),
    **{
        f"start a run in `P/{stage}`": ("POST", "runs/create", {"experiment_id": "{" + stage + "}"})
        for stage in names.SIGNERS
    },
    "add a figure to a run of `P/validate`": ("POST", "runs/log-metric", RUN | FIGURE),
    "change a tag of a run of `P/validate`": ("POST", "runs/set-tag", RUN | MARK),
    "delete a run of `P/validate`": ("POST", "runs/delete", RUN),
    "read `P/validate`": ("GET", "experiments/get", VALIDATIONS),
    "rename `P/validate`": ("POST", "experiments/update", VALIDATIONS | {"new_name": "measured/validate"}),
    "delete `P/validate`": ("POST", "experiments/delete", VALIDATIONS),
    "read model `P`": ("GET", "registered-models/get", MODEL),
    "make a version of model `P`": ("POST", "model-versions/create", MODEL | COPY),
    "describe a version of model `P`": ("PATCH", "model-versions/update", MODEL | FIRST | {"description": "{role}"}),
    "point `challenger` of model `P`": ("POST", "registered-models/alias", MODEL | FIRST | {"alias": "challenger"}),
    "delete a version of model `P`": ("DELETE", "model-versions/delete", MODEL | FIRST),
    "read model `P.live`": ("GET", "registered-models/get", LIVE),
    "make a version of model `P.live`": ("POST", "model-versions/create", LIVE | COPY),
    "tag a version of model `P.live`": ("POST", "model-versions/set-tag", LIVE | FIRST | MARK),
    "point `shadow` of model `P.live`": ("POST", "registered-models/alias", LIVE | FIRST | {"alias": "shadow"}),
    "point `champion` of model `P.live`": ("POST", "registered-models/alias", LIVE | FIRST | {"alias": "champion"}),
    "take an alias off model `P.live`": ("DELETE", "registered-models/alias", LIVE | {"alias": "champion"}),
    "delete a version of model `P.live`": ("DELETE", "model-versions/delete", LIVE | FIRST),
    "delete model `P.live`": ("DELETE", "registered-models/delete", LIVE),
    "make a user": ("POST", "users/create", {"username": "made-by-{role}", "password": "long enough a word"}),
    "give oneself a right on model `P.live`": ("POST", "users/permissions/grant", RIGHT | {"permission": "EDIT"}),
    "make an experiment of another name": ("POST", "experiments/create", {"name": "made by {role}"}),
    "make a model of another name": ("POST", "registered-models/create", {"name": "made by {role}"}),
}


class Desk(NamedTuple):
    """A secured server and what its first provisioning said; `ids`: of the experiments by their names."""

    url: str
    http: httpx.Client
    countersign: Countersign
    changes: list[dict[str, str]]
    ids: dict[str, str]

    def ask(self, who: str | Login, method: str, path: str, fields: Mapping[str, object]) -> httpx.Response:
        login = who if isinstance(who, Login) else login_of(who)
        known = (login.username, login.password) if login else None
        url = f"/api/{'3.0' if path.startswith(NEWER) else '2.0'}/mlflow/{path}"
        if method == "GET":
            return self.http.get(url, auth=known, params={name: str(value) for name, value in fields.items()})
        return self.http.request(method, url, auth=known, json=dict(fields))

    def must(self, who: str | Login, method: str, path: str, **fields: str | int | bool) -> dict[str, Any]:
        return dict(self.ask(who, method, path, fields).raise_for_status().json())

    def start_run(self, role: str, stage: str) -> str:
        made = self.must(role, "POST", "runs/create", experiment_id=self.ids[f"measured/{stage}"])
        return str(made["run"]["info"]["run_id"])

    def rights(self, name: str) -> dict[Thing, str]:
        """What a user may do with everything declared, as the server tells."""
        held = self.held(name)
        return {thing: held.get(mlflow_users.address(thing, self.ids), NONE) for thing in widest([], *PROBLEMS)}

    def provision(self, people: People, *problems: str) -> list[Change]:
        return mlflow_users.provision(self.url, people, problems)

    def held(self, name: str) -> dict[tuple[str, str], str]:
        """A user's permissions as the server tells them."""
        told = self.must(logins.ADMIN, "GET", "users/permissions/list", username=name)["permissions"]
        return {(each["resource_type"], each["resource_pattern"]): each["permission"] for each in told}


def login_of(name: str) -> Login | None:
    if name == NOBODY:
        return None
    return logins.read(logins.admin_path() if name == logins.ADMIN else logins.role_path(name))


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory, prefect: str) -> Iterator[Desk]:
    home = tmp_path_factory.mktemp("secured") / "state"
    with secured(home) as url, httpx.Client(base_url=url, timeout=60) as http:
        countersign = Countersign(home, prefect, {logins.SERVER: url})
        changes = countersign.json("roles", "mlflow", "--url", url, *PROBLEMS)["changes"]
        found = Desk(url, http, countersign, changes, {})
        listed = found.must(logins.ADMIN, "POST", "experiments/search", max_results="100")["experiments"]
        yield found._replace(ids={each["name"]: each["experiment_id"] for each in listed})


@pytest.fixture(scope="module")
def measured(desk: Desk) -> dict[str, dict[str, int]]:
    """What is tried → who tries it → the status of the answer."""
    run = desk.start_run("validator", names.VALIDATE)
    desk.must("trainer", "POST", "model-versions/create", name="measured", source=f"runs:/{run}/model", run_id=run)
    desk.must("validator", "POST", "model-versions/create", **LIVE, **COPY)
    filled = {"run": run} | {stage: desk.ids[f"measured/{stage}"] for stage in names.SIGNERS}

    def status(who: str, method: str, path: str, fields: Fields) -> int:
        sent = {name: value.format(**filled, role=who) for name, value in fields.items()}
        return desk.ask(who, method, path, sent).status_code

    return {words: {who: status(who, *tried) for who in (NOBODY, *ROLES)} for words, tried in TRIED.items()}


def drawn(table: dict[str, dict[str, int]]) -> list[str]:
    head = ["", NOBODY, *ROLES]
    rows = [head, ["---"] * len(head), *([words, *map(str, row.values())] for words, row in table.items())]
    return [f"| {' | '.join(row)} |" for row in rows]


def people(*listed: dict[str, Any]) -> People:
    """A declaration of these people, and of a robot whose key signs all stages."""
    roles = [{"role": role} for role in ("steward", "trainer", "validator")]
    robot = {"name": "robot", "roles": roles, "keys": [{"public": "c" * 64}]}
    approver = {"name": "eve", "roles": [{"role": "approver"}], "keys": [{"public": "e" * 64}]}
    return parse_people({"people": [robot, approver, *listed]}, "f")


def test_the_server_answers_each_role_as_the_page_says(measured: dict[str, dict[str, int]]) -> None:
    page = (CHECKOUT / "docs" / "roles.md").read_text()
    told = page.partition("<!-- measured -->\n")[2].partition("<!-- end -->")[0].splitlines()
    assert told == drawn(measured)


def test_provisioning_grants_what_is_declared_says_so_and_changes_nothing_again(desk: Desk) -> None:
    told = {(each["who"], each["what"]): (each["before"], each["after"]) for each in desk.changes}
    assert len(told) == len(desk.changes)
    assert told[logins.ADMIN, "registered_model fresh.live"] == ("absent", "made")
    assert told["trainer", "user"] == ("absent", "made, login in keys/trainer.mlflow.json")
    assert told["trainer", "experiment measured/train"] == (NONE, "EDIT")
    assert told["validator", "registered_model_version *"] == (NONE, "EDIT")
    for role in ROLES:
        assert desk.rights(role) == widest([role], *PROBLEMS), role
    assert desk.provision(People()) == []


def test_no_login_is_shown_or_lies_open(desk: Desk) -> None:
    said = desk.countersign("roles", "mlflow", "--url", desk.url, *PROBLEMS)
    kept = [*desk.countersign.home.glob("keys/**/*mlflow*.json")]
    assert {path.name for path in kept} == {"mlflow-admin.json", *(f"{role}.mlflow.json" for role in ROLES)}
    logs = b"".join(path.read_bytes() for path in (desk.countersign.home / "logs").iterdir())
    for path in (*kept, logins.database_path(), logins.settings_path()):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
    for password in (logins.read(path).password for path in kept):
        assert password not in said + json.dumps(desk.changes)
        assert password.encode() not in logs + logins.settings_path().read_bytes()


def test_what_is_too_wide_is_narrowed(desk: Desk) -> None:
    made = desk.must("trader", "POST", "experiments/create", name="later/train")["experiment_id"]
    desk.must("trainer", "POST", "registered-models/create", name="later.live")
    grant = {"resource_type": "registered_model", "resource_id": "*", "permission": "MANAGE"}
    desk.must(logins.ADMIN, "POST", "users/permissions/grant", username="auditor", **grant)
    role = desk.must(logins.ADMIN, "POST", "roles/create", workspace="default", name="deputies")["role"]["id"]
    desk.must(logins.ADMIN, "POST", "roles/assign", username="steward", role_id=role)
    desk.must(logins.ADMIN, "PATCH", "users/update-admin", username="validator", is_admin=True)
    changed = desk.provision(People(), *PROBLEMS, "later")
    assert {
        ("trader", "experiment later/train", "MANAGE", "READ"),
        ("trainer", "registered_model later.live", "MANAGE", "READ"),
        ("auditor", "registered_model *", "MANAGE", NONE),
        ("steward", "MLflow's role deputies", "yes", "no"),
        ("validator", "administrator", "yes", "no"),
    } <= set(changed)
    assert desk.held("trader")["experiment", made] == "READ"
    assert desk.provision(People(), *PROBLEMS, "later") == []


def test_people_hold_the_widest_of_their_roles_while_they_have_them(desk: Desk) -> None:
    today = datetime.now(UTC).date()
    ended = {"role": "trainer", "until": (today - timedelta(days=1)).isoformat()}
    ada = {"name": "ada", "roles": [{"role": "auditor"}, {"role": "steward"}, ended]}
    changed = desk.provision(people(ada), *PROBLEMS)
    assert ("ada", "user", "absent", "made, login in keys/people/ada.mlflow.json") in changed
    assert desk.rights("ada") == widest(["auditor", "steward"], *PROBLEMS)
    assert ("trader", "registered_model fresh", "READ", NONE) in changed, "people fill this role now"
    assert set(desk.rights("trader").values()) == {NONE}
    assert desk.rights("trainer") == widest(["trainer"], *PROBLEMS), "stages run as services"

    first = logins.read(logins.person_path("ada"))
    new = {"username": "ada", "password": "of her own choice", "current_password": first.password}
    desk.must(first, "PATCH", "users/update-password", **new)
    assert desk.provision(people(ada), *PROBLEMS) == []
    assert desk.ask(Login("ada", "of her own choice"), "GET", "users/current", {}).status_code == 200
    assert desk.ask(first, "GET", "users/current", {}).status_code == 401

    changed = desk.provision(people(), *PROBLEMS)
    assert {who for who, _, _, _ in changed} == {"ada"}
    assert ("ada", "experiment measured/collect", "EDIT", NONE) in changed
    assert desk.held("ada") == {}
    desk.provision(People(), *PROBLEMS)
    assert desk.rights("trader") == widest(["trader"], *PROBLEMS)


def test_a_service_whose_password_was_changed_gets_its_own_back(desk: Desk) -> None:
    lost = {"username": "trainer", "password": "somebody else's word"}
    desk.must(logins.ADMIN, "PATCH", "users/update-password", **lost)
    assert desk.provision(People(), *PROBLEMS) == [
        ("trainer", "password", "another", "that in keys/trainer.mlflow.json")
    ]
    assert desk.ask("trainer", "GET", "users/current", {}).status_code == 200


def test_each_role_closes_its_own_dead_runs(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    from tasks import recovery

    monkeypatch.setenv(logins.SERVER, desk.url)
    dead = {stage: desk.start_run(role, stage) for stage, role in names.SIGNERS.items()}

    def status(stage: str) -> str:
        told = desk.must("auditor", "GET", "runs/get", run_id=dead[stage])
        return str(told["run"]["info"]["status"])

    with monkeypatch.context() as stage:
        stage.setenv(ROLE_VARIABLE, "trainer")
        for name, value in logged_in("trainer").items():
            stage.setenv(name, value)
        recovery.close_runs("measured")
    assert {stage for stage in dead if status(stage) == "KILLED"} == {"train"}
    recovery.close_runs("measured")
    assert {status(stage) for stage in dead} == {"KILLED"}


def test_the_steward_collects_by_its_own_login(desk: Desk, tmp_path: Path) -> None:
    assert desk.countersign.json("collect", market(tmp_path, "fresh", signal=0.0))["new"]


def test_roles_make_no_experiments_and_strangers_are_told_so(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    from tasks import ledger

    monkeypatch.setenv(logins.SERVER, desk.url)
    ledger.require_login.cache_clear()
    with pytest.raises(UsageError, match="does not know this login; put yours into MLFLOW_TRACKING_USERNAME"):
        ledger.versions("measured")
    monkeypatch.setenv(ROLE_VARIABLE, "trainer")
    for name, value in logged_in("trainer").items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UsageError, match="MLflow has no experiment new/train yet; its administrator makes it"):
        ledger.experiment_id("new", "train")
    with pytest.raises(UsageError, match="MLflow has no registered model new yet; its administrator makes it"):
        ledger.ensure_model("new")


def test_a_whole_chain_ran_with_every_stage_as_its_role(history: History) -> None:
    verdict = history.forced["verdict"]
    assert verdict["accepted"], verdict["summary"]
    assert verdict["live"] == "planted.live/2"
    log = (history.countersign.home / "logs" / "mlflow.log").read_text()
    assert log.count('POST /api/2.0/mlflow/registered-models/alias HTTP/1.1" 200') == 3
    assert " 403" not in log


def test_the_declared_table_is_printed(desk: Desk) -> None:
    rows = desk.countersign.json("roles", "permissions", "measured")["permissions"]
    told = {Thing(row["kind"], row["name"]): row for row in rows}
    for role in ROLES:
        assert {thing: row[role] for thing, row in told.items()} == widest([role], "measured")
