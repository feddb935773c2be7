"""`countersign quarantine`: what was set aside, and the steward's signed word on it."""

import json
from pathlib import Path
from typing import Annotated

import typer

from flows import screen
from tasks.domain.errors import UsageError
from tasks.home import exclusive

app = typer.Typer(help="Rows that the rules set aside: look, release or discard, signed.", no_args_is_help=True)
Problem = Annotated[str, typer.Argument(metavar="PROBLEM", help="A problem that has a snapshot.")]
Ids = Annotated[list[str], typer.Argument(metavar="PART:ROW...", help="Rows as `list` names them.")]
Rule = Annotated[str | None, typer.Option(help="Only rows that this rule set aside.")]
Comment = Annotated[str, typer.Option(help="Why; it is signed with the decision.")]
Key = Annotated[Path | None, typer.Option(metavar="FILE", help="The steward's private key (PEM).")]
Limit = Annotated[int, typer.Option(help="How many rows to print.", min=1)]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of tables.")]


@app.command(name="list")
def list_rows(problem: Problem, rule: Rule = None, limit: Limit = 20, as_json: Json = False) -> None:
    """Print what was set aside in the current snapshot, and what was decided about it."""
    import polars as pl

    from tasks import stewardship

    rows = stewardship.with_decisions(problem)
    if rule is not None:
        rows = rows.filter(pl.col("rule") == rule)
        if rows.is_empty():
            raise UsageError(f"--rule {rule}: set nothing aside in {problem}")
    shown = rows.head(limit).with_columns(id=pl.format("{}:{}", pl.col("part").str.head(8), "row"))
    listed = json.loads(shown.select("id", pl.exclude("id", "part", "row", "version")).write_json())
    result = {"problem": problem, "rows": listed, "all": len(rows)}
    print(json.dumps(result, sort_keys=True)) if as_json else screen.quarantined(result)


@app.command()
def release(problem: Problem, ids: Ids, comment: Comment, key: Key = None, as_json: Json = False) -> None:
    """Let rows pass all rules from the next collection on."""
    decide(problem, "release", ids, comment, key, as_json)


@app.command()
def discard(problem: Problem, ids: Ids, comment: Comment, key: Key = None, as_json: Json = False) -> None:
    """Say that rows were looked at and stay out."""
    decide(problem, "discard", ids, comment, key, as_json)


def decide(problem: str, action: str, ids: list[str], comment: str, key: Path | None, as_json: bool) -> None:
    from tasks import keys, stewardship

    by = None if key is None else keys.signer_from(key)
    with exclusive(problem.replace("/", "_")):
        named = stewardship.decide(problem, action, ids, comment, by)
    print(json.dumps({"action": action, "rows": named}) if as_json else f"{action}d: {', '.join(named)}")
