"""`countersign roles`: who may sign what, what each role may do in MLflow, and making its server enforce that."""

import json
from collections.abc import Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tasks.domain.errors import UsageError
from tasks.domain.people import KeyOf, People
from tasks.domain.permissions import NONE, VERSIONS, Thing, permissions
from tasks.domain.rights import ROLES

if TYPE_CHECKING:
    from tasks.register import Register

app = typer.Typer(
    help="Who may sign what, and what each role may do in MLflow, and making its server enforce it.",
    no_args_is_help=True,
)
Problems = Annotated[
    list[str] | None, typer.Argument(metavar="[PROBLEM]...", help="By default all in problems/ and all with state.")
]
Url = Annotated[str, typer.Option(metavar="URL", help="Address of the MLflow server.")]
OptionalUrl = Annotated[
    str | None, typer.Option("--url", metavar="URL", help="A secured MLflow server, to provision it as well.")
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of tables.")]
HEAD = ("who", "what", "before", "after")


@app.command(name="permissions")
def show_permissions(
    problem: Annotated[str, typer.Argument(metavar="[PROBLEM]", help="Whose names to print.")] = "PROBLEM",
    as_json: Json = False,
) -> None:
    """Print what each role may do with each experiment and registered model of a problem."""
    granted = {role: permissions(role, problem) for role in ROLES}
    things = list(granted[ROLES[0]])
    if as_json:
        rows = [{"kind": kind, "name": name} for kind, name in things]
        told = [row | {role: granted[role][thing] for role in ROLES} for row, thing in zip(rows, things, strict=True)]
        print(json.dumps({"permissions": told}))
        return
    table([[title(thing), *(in_words(granted[role][thing]) for role in ROLES)] for thing in things], "on", *ROLES)


@app.command()
def mlflow(url: Url, problems: Problems = None, as_json: Json = False) -> None:
    """Make a secured server's users and permissions what expectations/roles.yaml says; again changes nothing."""
    from tasks.configuration import load_people

    provision(url, load_people(), problems or every_problem(), as_json)


@app.command()
def sync(url: OptionalUrl = None, as_json: Json = False) -> None:
    """Have the owner sign expectations/roles.yaml: from then on it says who may sign what; layouts follow."""
    from tasks import evidence, register
    from tasks.configuration import load_people

    people = load_people()
    evidence.establish()
    changed = register.sync(people)
    evidence.establish()
    if as_json:
        print(json.dumps({"changed": changed, "version": register.load().number}))
    else:
        print(f"{'signed' if changed else 'nothing to change'}: version {register.load().number} of the register")
    if url:
        provision(url, people, every_problem(), as_json)


@app.command()
def key(file: Annotated[Path, typer.Argument(metavar="FILE", help="Where to put the private key (PEM).")]) -> None:
    """Make a key pair. FILE is for its owner alone; the public half, which is printed, goes into the list."""
    from tasks import keys

    if file.suffix != ".pem" or file.exists():
        raise UsageError(f"{file}: expected the name of a new file that ends in .pem")
    print(f"public: {keys.public_of(keys.make(file).public_key)}")


@app.command()
def show(as_json: Json = False) -> None:
    """Print who may sign what today, by the register that the owner signed."""
    from tasks import register

    known, today = register.load(), datetime.now(UTC).date()
    rows = [
        [person.name, ", ".join(person.roles_on(today)) or "none today", each.public[:16], state(known, each, today)]
        for person in known.now.people.people
        for each in person.keys
    ]
    if as_json:
        told = [dict(zip(("person", "roles", "key", "state"), row, strict=True)) for row in rows]
        print(json.dumps({"version": known.number, "development": known.now.development, "people": told}))
        return
    table(rows, "person", "roles today", "key", "state")
    if known.now.development:
        print("development keys, kept beside the data: list people in expectations/roles.yaml, then `roles sync`")


def state(known: "Register", each: KeyOf, today: date) -> str:
    return known.voids(each.public, today) or each.outside(today) or "valid"


def provision(url: str, people: People, problems: Sequence[str], as_json: bool) -> None:
    """Provision a secured server and print what was changed."""
    from tasks import mlflow_users

    changed = mlflow_users.provision(url, people, problems)
    if as_json:
        print(json.dumps({"changes": [each._asdict() for each in changed]}))
    elif changed:
        table([list(each) for each in changed], *HEAD)
    else:
        print("nothing to change")


def every_problem() -> list[str]:
    from tasks import access, configuration

    return sorted({*configuration.problem_names(), *access.problems()})


def title(thing: Thing) -> str:
    if thing == VERSIONS:
        return "describe versions"
    return thing.name if thing.kind == "experiment" else f"model {thing.name}"


def in_words(permission: str) -> str:
    return "-" if permission == NONE else permission


def table(rows: Sequence[Sequence[str]], *head: str) -> None:
    from rich.table import Column, Table

    from flows.screen import out

    drawn = Table(*(Column(title, overflow="fold") for title in head))
    for row in rows:
        drawn.add_row(*row)
    out.print(drawn)
