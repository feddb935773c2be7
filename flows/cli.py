"""The command line: `countersign VERB …`. Starts a flow's process, shows its progress, prints its result.

It imports neither Prefect, MLflow nor Great Expectations itself: a mistyped word must not cost seconds.
"""

import gc
import json
import os
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from flows import access_cli, roles_cli, screen, steward_cli
from tasks import logins
from tasks.domain.errors import CountersignError, UsageError
from tasks.home import exclusive, prepare

app = typer.Typer(
    help="No model trades until someone else has proved it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(access_cli.app, name="access")
app.add_typer(roles_cli.app, name="roles")
app.add_typer(steward_cli.app, name="quarantine")
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of tables.")]
ProblemName = Annotated[str, typer.Argument(metavar="PROBLEM", help="A name in problems/, or a problem file.")]
Reference = Annotated[str, typer.Argument(metavar="MODEL/VERSION", help="For example sp500_alpha/1.")]
AsOf = Annotated[str | None, typer.Option("--as-of", metavar="DATE", help="Last session to take in.")]
Data = Annotated[str | None, typer.Option("--data", metavar="PATH", help="A CSV or Parquet file to use instead.")]
Force = Annotated[bool, typer.Option("--force", help="Train again even if nothing is new.")]
Families = Annotated[list[str] | None, typer.Option("--family", help="Only this family of the problem; repeatable.")]
Trials = Annotated[int | None, typer.Option("--trials", min=1, help="The most configurations to try of each family.")]
Key = Annotated[Path, typer.Option(metavar="FILE", help="Your private key (PEM).")]
Role = Annotated[str, typer.Option(help="The role you say it in.")]
REFUSED_BY_GATE = 3


def run_flow(flow: str, problem: str, as_json: bool, parameters: dict[str, Any]) -> dict[str, Any]:
    """Run a flow in its own process against a real Prefect server, drawing its progress."""
    from flows.process import Job, Worker
    from flows.servers import prefect_api

    with screen.progress(quiet=as_json) as draw, prefect_api():
        return Worker(flow, problem).run(Job(parameters), draw)


def name_of(problem: str, families: list[str] | None = None, trials: int | None = None) -> str:
    """The name of a problem that has these families, if any are asked for."""
    from tasks.configuration import load_problem

    return load_problem(problem).narrowed(families, trials).name


def date_or_none(text: str | None, option: str = "--as-of") -> str | None:
    from datetime import date

    try:
        return None if text is None else date.fromisoformat(text).isoformat()
    except ValueError:
        raise UsageError(f"{option} {text!r}: expected a date like 2022-12-28") from None


def time_or_none(text: str | None) -> datetime | None:
    """A moment in UTC, where no other zone is given."""
    try:
        found = None if text is None else datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(f"--at {text!r}: expected a time like 2026-11-20T16:00 (UTC)") from None
    return found if found is None or found.tzinfo else found.replace(tzinfo=UTC)


def path_or_none(data: str | None) -> str | None:
    """A delivered file, absolute: stages run in the checkout's folder, not in the caller's."""
    if data is None:
        return None
    path = Path(data).expanduser().resolve()
    if not path.is_file():
        raise UsageError(f"--data {data}: no such file; give an existing CSV or Parquet file")
    return str(path)


def whole_path(problem: str) -> str:
    return str(Path(problem).resolve()) if problem.endswith((".yaml", ".yml")) else problem


def show(result: dict[str, Any], as_json: bool, draw: Callable[[dict[str, Any]], None]) -> None:
    if as_json:
        print(json.dumps(result, sort_keys=True, default=str))
    else:
        draw(result)


@app.command()
def retrain(
    problem: ProblemName,
    as_of: AsOf = None,
    data: Data = None,
    force: Force = False,
    family: Families = None,
    trials: Trials = None,
    fail_on_refusal: Annotated[bool, typer.Option("--fail-on-refusal", help="Exit 3 if a gate refuses.")] = False,
    as_json: Json = False,
) -> None:
    """Collect, train, validate, backtest and decide."""
    name = name_of(problem, family, trials)
    parameters = {
        "problem": whole_path(problem),
        "as_of": date_or_none(as_of),
        "data": path_or_none(data),
        "force": force,
        "families": family or None,
        "trials": trials,
    }
    result = run_flow("retrain", name, as_json, parameters)
    show(result, as_json, screen.retrained)
    if fail_on_refusal and not result["verdict"]["accepted"]:
        raise SystemExit(REFUSED_BY_GATE)


@app.command()
def collect(problem: ProblemName, as_of: AsOf = None, data: Data = None, as_json: Json = False) -> None:
    """Collect, check, cleanse and snapshot the data."""
    parameters = {"problem": whole_path(problem), "as_of": date_or_none(as_of), "data": path_or_none(data)}
    show(run_flow("collect", name_of(problem), as_json, parameters), as_json, screen.collected)


@app.command()
def train(
    problem: ProblemName, force: Force = False, family: Families = None, trials: Trials = None, as_json: Json = False
) -> None:
    """Train on the current snapshot and register the candidate."""
    parameters = {"problem": whole_path(problem), "force": force, "families": family or None, "trials": trials}
    show(run_flow("train", name_of(problem, family, trials), as_json, parameters), as_json, screen.plain)


def model_flow(flow: str, model: str, as_json: bool, draw: Callable[[dict[str, Any]], None]) -> None:
    show(run_flow(flow, model.rpartition("/")[0] or "unknown", as_json, {"model": model}), as_json, draw)


@app.command()
def validate(model: Reference, as_json: Json = False) -> None:
    """Probe a candidate and measure it on the lockbox."""
    model_flow("validate", model, as_json, screen.figures)


@app.command()
def backtest(model: Reference, as_json: Json = False) -> None:
    """Trade a candidate's scores on the lockbox."""
    model_flow("backtest", model, as_json, screen.backtested)


@app.command()
def promote(model: Reference, as_json: Json = False) -> None:
    """Apply the gates; release to shadow what they accept."""
    model_flow("promote", model, as_json, screen.verdict)


@app.command()
def approve(
    model: Reference,
    role: Annotated[str, typer.Option(help="Your role: approver.")],
    key: Key,
    comment: Annotated[str, typer.Option(help="Why this version may trade.")],
    as_json: Json = False,
) -> None:
    """Sign an accepted version with your own key; the last approval it needs makes it champion."""
    from tasks import approval

    result = approval.approve(model, role, key, comment)
    show(result | wake(model, result["person"], result["said"]), as_json, screen.approved)


def wake(model: str, person: str, said: str) -> dict[str, Any]:
    """Let the runs that wait for a version see what was signed, where a Prefect server runs. What was signed counts in
    any case: the reconciler wakes them too."""
    from flows.servers import running

    addresses = running()
    if addresses is None:
        return {"woken": 0}
    os.environ["PREFECT_API_URL"] = addresses["prefect"] + "/api"
    from flows import waits

    return {"woken": waits.wake(model, person, said)}


@app.command()
def reject(
    model: Reference,
    key: Key,
    comment: Annotated[str, typer.Option(help="Why this version may not trade.")],
    as_json: Json = False,
) -> None:
    """Sign with an approver's key that a version is not to become champion."""
    from tasks import approval

    result = approval.reject(model, key, comment)
    show(result | wake(model, result["person"], result["said"]), as_json, screen.noted)


@app.command()
def concern(
    model: Reference,
    key: Key,
    comment: Annotated[str, typer.Option(help="What worries you.")],
    role: Role = "trader",
    as_json: Json = False,
) -> None:
    """Sign a doubt about a version; while it is open, nobody can approve that version."""
    from tasks import approval

    show(approval.doubt(model, role, key, comment), as_json, screen.noted)


@app.command()
def answer(
    model: Reference,
    number: Annotated[int, typer.Argument(metavar="CONCERN", help="Its number in the journal.")],
    key: Key,
    comment: Annotated[str, typer.Option(help="The answer.")],
    role: Role = "approver",
    as_json: Json = False,
) -> None:
    """Sign the answer to a concern, which closes it."""
    from tasks import approval

    show(approval.answer(model, number, role, key, comment), as_json, screen.noted)


@app.command()
def reconcile(problem: ProblemName, as_json: Json = False) -> None:
    """Compare all that MLflow, and Prefect under `up`, show of a problem with what was signed; exit 5 if it differs."""
    from flows import servers
    from tasks import reconciling

    name = name_of(problem)
    seen = reconciling.compare(name, every=True)
    if servers.running():
        with servers.prefect_api():
            from flows import compared

            seen += compared.differences(name)
    found = [each._asdict() for each in seen]
    show({"problem": problem, "differences": found}, as_json, screen.reconciled)
    if found:
        raise SystemExit(5)


@app.command()
def stamp(problem: ProblemName, as_json: Json = False) -> None:
    """Have a time stamping authority stamp the head of a problem's journal (COUNTERSIGN_TSA, COUNTERSIGN_TSA_ROOT)."""
    from tasks import stamps

    show(stamps.stamp(problem), as_json, screen.plain)


@app.command()
def history(
    problem: ProblemName,
    at: Annotated[str | None, typer.Option(metavar="TIME", help="What was live then (UTC): 2026-11-20T16:00.")] = None,
    as_json: Json = False,
) -> None:
    """Print who did, approved and promoted what, and when; or what was live at a time."""
    moment = time_or_none(at)
    from tasks import past

    if moment is not None:
        show(past.live(problem, moment), as_json, screen.live)
    else:
        show(past.history(problem), as_json, screen.history)


@app.command()
def controls(problem: ProblemName, as_json: Json = False) -> None:
    """Print which of a supervisor's controls have evidence today (docs/controls.md)."""
    from tasks import controls

    show(controls.controls(problem), as_json, screen.controls)


@app.command()
def waive(
    model: Reference,
    figure: Annotated[str, typer.Argument(metavar="FIGURE", help="The failed gate's figure, as `report` names it.")],
    until: Annotated[str, typer.Option(metavar="DATE", help="Last day on which the waiver counts.")],
    reason: Annotated[str, typer.Option(help="Why this failure can be borne; it is signed.")],
    key: Annotated[Path, typer.Option(metavar="FILE", help="The approver's private key (PEM).")],
    as_json: Json = False,
) -> None:
    """Sign that a refused version's failure of one gate is borne until a date; `promote` then decides anew."""
    ends = date_or_none(until, "--until")
    from tasks import waiving

    with exclusive(model.rpartition("/")[0].replace("/", "_") or "unknown"):
        result = waiving.waive(model, figure, str(ends), reason, key)
    show(result, as_json, screen.plain)


@app.command()
def report(
    model: Reference,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Write a copy of the verdict's page there.")] = None,
    audit: Annotated[Path | None, typer.Option(metavar="DIR", help="Write the audit report there.")] = None,
    as_json: Json = False,
) -> None:
    """Print the verdict in plain words and every gate; make the audit report, HTML and PDF."""
    from tasks import report

    show(report.report(model, out, audit), as_json, screen.reported)


@app.command()
def verify(
    model: Annotated[str | None, typer.Argument(metavar="[MODEL/VERSION]", help="For example sp500_alpha/1.")] = None,
    bundle: Annotated[Path | None, typer.Option(metavar="DIR", help="Check a bundle instead, offline.")] = None,
    owner_key: Annotated[Path | None, typer.Option(metavar="FILE", help="The owner's public key (PEM).")] = None,
    as_json: Json = False,
) -> None:
    """Check a version's whole evidence, or that of a bundle; exit 5 if anything is broken."""
    if (model is None) == (bundle is None):
        raise UsageError("give MODEL/VERSION, for example sp500_alpha/1, or --bundle DIR")
    if bundle is not None:
        from tasks import bundles

        checked = bundles.verify(bundle, owner_key)
    else:
        from tasks import verification

        checked = verification.verify(str(model))
    show(checked._asdict(), as_json, screen.verified)
    if checked.faults:
        raise SystemExit(5)


@app.command()
def bundle(
    model: Reference,
    out: Annotated[Path, typer.Option(metavar="DIR", help="A new folder.")],
    as_json: Json = False,
) -> None:
    """Put a version's whole evidence into a folder that can be carried away and checked anywhere."""
    from tasks import bundles

    show(bundles.export(model, out), as_json, screen.bundled)


@app.command()
def reproduce(
    model: Reference,
    search: Annotated[bool, typer.Option("--search", help="Run all trials again, too.")] = False,
    keep: Annotated[Path | None, typer.Option(metavar="DIR", help="Keep the rebuilt model there.")] = None,
    as_json: Json = False,
) -> None:
    """Rebuild a version from what was signed and compare; exit 5 unless every byte is the same."""
    with screen.progress(as_json, "loading libraries") as draw:
        from tasks import reproduction
        from tasks.progress import heard_by

        with heard_by(lambda message: draw(message | {"stage": "reproduce"})):
            result = reproduction.reproduce(model, keep, search)
        draw({"step": "done", "stage": "reproduce", "ended": True})
    show(result, as_json, screen.reproduced)
    if result["verdict"] != "identical":
        raise SystemExit(5)


@app.command()
def lineage(model: Reference, as_json: Json = False) -> None:
    """Print the way back from a version to the delivered files."""
    from tasks import lineage

    show(lineage.lineage(model), as_json, screen.lineage)


@app.command()
def status(as_json: Json = False) -> None:
    """Problems, their versions, decisions and aliases, and the servers that run."""
    from flows.servers import reconciled, running
    from tasks import inventory

    told = {"problems": inventory.problems(), "servers": running(), "reconciler": reconciled()}
    show(told, as_json, screen.status)


@app.command()
def up(
    prefect_port: Annotated[int, typer.Option(help="Port of the Prefect server.")] = 4200,
    mlflow_port: Annotated[int, typer.Option(help="Port of the MLflow server.")] = 5000,
    secured: Annotated[bool, typer.Option("--secured", help="MLflow asks for logins; see docs/roles.md.")] = False,
    postgres: Annotated[str | None, typer.Option(metavar="URL", help="Keep all records on this server.")] = None,
    as_json: Json = False,
) -> None:
    """Run the Prefect and MLflow servers and serve the flows until Ctrl-C; shows how they are."""
    if postgres is not None:
        from tasks import databases

        databases.use(postgres)
        os.environ.pop("MLFLOW_TRACKING_URI", None)
        prepare()
    from flows import service

    with screen.health(quiet=as_json) as draw:
        ready = partial(show, as_json=as_json, draw=screen.running)
        service.up(prefect_port, mlflow_port, secured, ready, draw)


@app.command()
def worker(
    roles: Annotated[list[str], typer.Argument(metavar="ROLE...", help="steward, trainer or validator.")],
    prefect: Annotated[str, typer.Option(metavar="URL", help="The Prefect server, as reached from here.")],
    mlflow: Annotated[str, typer.Option(metavar="URL", help="The MLflow server, as reached from here.")],
    as_json: Json = False,
) -> None:
    """Do what these roles sign, with their keys, for servers that run on another machine; until Ctrl-C."""
    from flows import service

    with screen.health(quiet=as_json) as draw:
        service.work(roles, prefect, mlflow, partial(show, as_json=as_json, draw=screen.working), draw)


def main() -> NoReturn:
    """Entry point: every foreseen fault is one line on standard error and its own exit code."""
    try:
        # A state folder that can't be written is said before any work starts, but help needs none.
        if len(sys.argv) > 1 and not {"--help", "-h"} & set(sys.argv):
            prepare()
        app(standalone_mode=False)
    except CountersignError as fault:
        sys.exit(screen.fault(str(fault), fault.exit_code))
    except typer.Abort:
        sys.exit(screen.fault("stopped", 1))
    except Exception as fault:
        if refused := logins.refusal(fault):
            sys.exit(screen.fault(refused, UsageError.exit_code))
        usage = getattr(fault, "format_message", None)
        if usage is None:
            raise
        sys.exit(screen.fault(usage(), UsageError.exit_code))
    finally:
        gc.freeze()  # nothing is left to be collected but the imports, which takes longer than many a command
    sys.exit(0)


if __name__ == "__main__":
    main()
