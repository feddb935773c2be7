"""Users and permissions of a running MLflow server, made what they are declared to be.

Experiments and models are made here, by the administrator, because MLflow lets whoever makes one manage it. What was
granted beyond the declaration is taken back; doing it again changes nothing.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import httpx

from tasks import ledger, logins
from tasks.domain import names
from tasks.domain.errors import UsageError
from tasks.domain.people import People
from tasks.domain.permissions import NONE, Permission, Thing, widest
from tasks.domain.rights import ROLES
from tasks.home import home

V2, V3 = "/api/2.0/mlflow", "/api/3.0/mlflow"
WHO = f"{V2}/users/current"
SECONDS = 60  # of patience for one request
Key = tuple[str, str]  # what MLflow grants a permission on: its kind, and its number or name


class Change(NamedTuple):
    """One thing that was changed: for whom, what, and from what to what."""

    who: str
    what: str
    before: str
    after: str


class User(NamedTuple):
    """Somebody who is to have a login, kept in a file: a service, or a person with roles."""

    name: str
    roles: list[str]
    path: Path
    is_service: bool


class Server:
    """The server's own interface, as its administrator.

    Raises:
        UsageError: `url` is no address of a server; nobody answers; what was asked for failed.
    """

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        try:
            self.http = httpx.Client(base_url=self.url, timeout=SECONDS)
        except httpx.InvalidURL as fault:
            raise UsageError(f"MLflow {url}: is no address ({fault}); give one like http://localhost:5000") from None

    @cached_property
    def admin(self) -> logins.Login:
        return logins.read(logins.admin_path())

    def ask(self, method: str, path: str, **fields: Any) -> dict[str, Any]:
        """A request that must succeed; its answer."""
        return self.checked(self.send(method, path, fields, self.admin), path)

    def find(self, path: str, **fields: str) -> dict[str, Any] | None:
        """What was asked for; None where there is no such thing."""
        answer = self.send("GET", path, fields, self.admin)
        return None if answer.status_code == httpx.codes.NOT_FOUND else self.checked(answer, path)

    def opens(self, login: logins.Login | None) -> bool:
        """Whether the server lets somebody in, or whoever comes without a login."""
        return self.send("GET", WHO, {}, login).status_code != httpx.codes.UNAUTHORIZED

    def send(self, method: str, path: str, fields: Mapping[str, Any], login: logins.Login | None) -> httpx.Response:
        who = (login.username, login.password) if login else None
        try:
            if method == "GET":
                return self.http.get(path, params=dict(fields), auth=who)
            return self.http.request(method, path, json=dict(fields), auth=who)
        except httpx.HTTPError as fault:
            raise UsageError(f"MLflow {self.url}: does not answer ({type(fault).__name__})") from None

    def checked(self, answer: httpx.Response, path: str) -> dict[str, Any]:
        if answer.status_code == httpx.codes.UNAUTHORIZED:
            raise UsageError(f"MLflow {self.url}: does not know the login in {logins.admin_path()}")
        if not answer.is_success:
            said = " ".join(answer.text.split())[:200]
            raise UsageError(f"MLflow {self.url}: {path} failed: {answer.status_code} {said}")
        return dict(answer.json()) if answer.content else {}


def provision(url: str, people: People, problems: Sequence[str]) -> list[Change]:
    """Make a secured server's users, experiments, models and permissions what the declaration says today.

    What belongs to other problems than those given is left alone, but nobody keeps a permission on everything, and who
    is not declared any more keeps none at all.

    Raises:
        UsageError: the server does not answer, lets in anybody or not its administrator, or a name is taken.
    """
    declared = users(people, datetime.now(UTC).date())
    server = Server(url)
    with server.http:
        if server.opens(None):
            raise UsageError(f"MLflow {server.url}: lets in anybody; start it with `countersign up --secured`")
        ids, made = make_things(server, problems)
        return [*made, *make_users(server, declared), *grant_all(server, declared, problems, ids)]


# --- who ----------------------------------------------------------------------------------------------------


def users(people: People, day: date) -> list[User]:
    """Everybody who is to have a login. Stages run as services, one for each role that signs one; where nobody is named
    yet, every role has one.

    Raises:
        UsageError: somebody is called like a service or the administrator.
    """
    if taken := sorted({logins.ADMIN, *ROLES} & {person.name for person in people.people}):
        raise UsageError(f"people: {', '.join(taken)}: the name of a login that is no person's; choose another one")
    stages = [names.SIGNERS[stage] for stage in names.STAGES]
    services = dict.fromkeys(stages) if people.people else dict.fromkeys(ROLES)
    return [User(role, [role], logins.role_path(role), True) for role in services] + [
        User(person.name, person.roles_on(day), logins.person_path(person.name), False) for person in people.people
    ]


def make_users(server: Server, declared: Iterable[User]) -> Iterator[Change]:
    """Users that are missing, and services whose login no longer opens. A person's password is their own to change."""
    known = {user["username"] for user in all_users(server)}
    for user in declared:
        where = str(user.path.relative_to(home()))
        if user.name not in known:
            login = logins.ensure(user.path, user.name)
            server.ask("POST", f"{V2}/users/create", username=user.name, password=login.password)
            yield Change(user.name, "user", "absent", f"made, login in {where}")
        elif user.is_service and not server.opens(login := logins.ensure(user.path, user.name)):
            server.ask("PATCH", f"{V2}/users/update-password", username=user.name, password=login.password)
            yield Change(user.name, "password", "another", f"that in {where}")


def all_users(server: Server) -> list[dict[str, Any]]:
    """Everybody whom the server knows but its administrator, each with MLflow's roles and their permissions."""
    found: list[dict[str, Any]] = server.ask("GET", f"{V2}/users/list")["users"]
    return [user for user in found if user["username"] != logins.ADMIN]


# --- what ---------------------------------------------------------------------------------------------------


def make_things(server: Server, problems: Iterable[str]) -> tuple[dict[str, str], list[Change]]:
    """Experiments and models that are missing; also the number of each experiment by its name."""
    ids: dict[str, str] = {}
    made: list[Change] = []
    for problem in problems:
        for stage in names.SIGNERS:
            name, where = names.experiment(problem, stage), ledger.artifact_location(problem, stage)
            found = server.find(f"{V2}/experiments/get-by-name", experiment_name=name)
            told = found["experiment"] if found else None
            if told is None:
                told = server.ask("POST", f"{V2}/experiments/create", name=name, artifact_location=where)
                made.append(Change(logins.ADMIN, f"experiment {name}", "absent", "made"))
            ids[name] = told["experiment_id"]
        for model in (problem, names.live(problem)):
            if server.find(f"{V2}/registered-models/get", name=model) is None:
                server.ask("POST", f"{V2}/registered-models/create", name=model)
                made.append(Change(logins.ADMIN, f"registered_model {model}", "absent", "made"))
    return ids, made


# --- rights -------------------------------------------------------------------------------------------------


def grant_all(
    server: Server, declared: Iterable[User], problems: Iterable[str], ids: Mapping[str, str]
) -> Iterator[Change]:
    """Give every user of the server what is declared for them, and take the rest."""
    roles = {user.name: user.roles for user in declared}
    titles = {number: name for name, number in ids.items()}
    for user in all_users(server):
        name = user["username"]
        yield from take_roles(server, user)
        held = own_permissions(user)
        granted = widest(roles.get(name, []), *problems)
        rights = {address(thing, ids): permission for thing, permission in granted.items()}
        # On what is not of these problems: somebody else's business, but not everything at once.
        wanted: dict[Key, Permission] = {key: NONE for key in held if name not in roles or key[1] == "*"}
        for key, after in sorted((wanted | rights).items()):
            if (before := held.get(key, NONE)) != after:
                change(server, name, key, before, after)
                what = titles.get(key[1], key[1]) if key[0] == "experiment" else key[1]
                yield Change(name, f"{key[0]} {what}", before, after)


def address(thing: Thing, ids: Mapping[str, str]) -> Key:
    """A thing as MLflow grants permissions on it: experiments by their number."""
    return thing.kind, ids[thing.name] if thing.kind == "experiment" else thing.name


def own_role(user: Mapping[str, Any]) -> str:
    """MLflow keeps a user's own permissions in a role called after the user's number."""
    return f"__user_{user['id']}__"


def own_permissions(user: Mapping[str, Any]) -> dict[Key, str]:
    return {
        (each["resource_type"], each["resource_pattern"]): each["permission"]
        for role in user["roles"]
        if role["name"] == own_role(user)
        for each in role["permissions"]
    }


def take_roles(server: Server, user: Mapping[str, Any]) -> Iterator[Change]:
    """Being an administrator, and roles that somebody made in MLflow itself, are declared nowhere."""
    name = user["username"]
    if user["is_admin"]:
        server.ask("PATCH", f"{V2}/users/update-admin", username=name, is_admin=False)
        yield Change(name, "administrator", "yes", "no")
    for role in user["roles"]:
        if role["name"] != own_role(user):
            server.ask("DELETE", f"{V3}/roles/unassign", username=name, role_id=role["id"])
            yield Change(name, f"MLflow's role {role['name']}", "yes", "no")


def change(server: Server, name: str, key: Key, before: str, after: Permission) -> None:
    about = {"username": name, "resource_type": key[0], "resource_id": key[1]}
    if before != NONE:
        server.ask("POST", f"{V3}/users/permissions/revoke", **about)
    if after != NONE:
        server.ask("POST", f"{V3}/users/permissions/grant", **about, permission=after)
