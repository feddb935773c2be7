"""`countersign access`: make the operating system keep the roles apart, and show whether it does."""

import json
from typing import Annotated, Any

import typer

from tasks.domain.errors import UsageError, VerificationFailed

app = typer.Typer(
    help="Who may do what with the tables, and whether the operating system agrees.", no_args_is_help=True
)
Problems = Annotated[
    list[str] | None, typer.Argument(metavar="[PROBLEM]...", help="By default every problem with state.")
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of tables.")]


@app.command()
def apply(problems: Problems = None, as_json: Json = False) -> None:
    """Give folders, files and keys to the users of their roles; as root, while nothing else runs."""
    from tasks import access, accounts

    who = accounts.load()
    if who is None:
        raise UsageError(f"{accounts.declaration()}: names no users; name one for each role first")
    wanted = chosen(problems)
    access.apply(who, *wanted, whole=True)
    print(json.dumps({"applied": wanted}) if as_json else f"applied to {', '.join(wanted) or 'no problem yet'}")


@app.command()
def show(problems: Problems = None, as_json: Json = False) -> None:
    """Print who may do what, and mark what the operating system really grants where that differs; exit 5 then."""
    from tasks import accounts, grants

    who = accounts.load()
    if who is None:
        declared(as_json, accounts.declaration())
        return
    found = {problem: grants.findings(who, problem) for problem in chosen(problems)}
    wrong = [
        f"{problem}: {each.role} on {each.name}: declared {each.declared}, granted {each.granted}"
        for problem, findings in found.items()
        for each in findings
        if each.differs
    ]
    if as_json:
        print(json.dumps({"problems": {p: [f._asdict() for f in fs] for p, fs in found.items()}, "differences": wrong}))
    else:
        for problem, findings in found.items():
            print_table(problem, [(f.name, f.role, in_words(f.declared, f.granted, f.differs)) for f in findings])
    if wrong:
        raise VerificationFailed(f"{'; '.join(wrong)}; run `countersign access apply`")


def chosen(problems: list[str] | None) -> list[str]:
    from tasks import access

    known = access.problems()
    if problems and (unknown := set(problems) - set(known)):
        raise UsageError(f"{sorted(unknown)}: nothing of that name in the state folder; there are {known}")
    return problems or known


def declared(as_json: bool, path: Any) -> None:
    """The declaration alone, where it names no users: then the operating system keeps nobody apart."""
    from tasks.configuration import read_yaml
    from tasks.domain.rights import ROLES, parse_access

    rows = parse_access(read_yaml(path), str(path)).rows
    if as_json:
        print(json.dumps({"declared": {name: {r: row.right(r) for r in ROLES} for name, row in rows.items()}}))
        return
    print_table("declared", [(name, role, row.right(role)) for name, row in rows.items() for role in ROLES])
    print(f"{path} names no users: everything runs as the caller, and the operating system keeps nobody apart.")


def in_words(right: str, granted: str | None, differs: bool) -> str:
    if granted is None:
        return f"{right} (not checked)"
    return f"[red]{right}, but granted {granted}[/red]" if differs else right


def print_table(title: str, cells: list[tuple[str, str, str]]) -> None:
    from rich.table import Table

    from flows.screen import out

    roles = list(dict.fromkeys(role for _, role, _ in cells))
    table = Table("table", *roles, title=title, title_justify="left")
    for name in dict.fromkeys(name for name, _, _ in cells):
        table.add_row(name, *(text for each, _, text in cells if each == name))
    out.print(table)
