"""What a person sees in the terminal: progress, tables, one line for a fault."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal

from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.tree import Tree

Draw = Callable[[dict[str, Any]], None]
OWN = "[dim]asked by the problem itself[/]"
COLOURS = {"pass": "green", "fail": "red", "not applicable": "dim"}
out, err = Console(), Console(stderr=True)


@contextmanager
def progress(quiet: bool, first: str = "waiting for the Prefect server") -> Iterator[Draw]:
    """A live line per stage on a terminal, a plain line per stage elsewhere, nothing if `quiet`; `first` is shown on a
    terminal until something is said."""
    if quiet:
        yield lambda message: None
    elif err.is_terminal:
        with live_progress(first) as draw:
            yield draw
    else:
        yield plain_progress()


@contextmanager
def live_progress(first: str) -> Iterator[Draw]:
    columns = (
        SpinnerColumn(finished_text="[green]✓"),
        TextColumn("{task.fields[stage]:<9}"),
        BarColumn(bar_width=16),
        TimeElapsedColumn(),
        TextColumn("{task.description}"),
    )
    lines: dict[str, Any] = {}
    with Progress(*columns, console=err) as bars:
        waiting = bars.add_task(first, stage="start", total=None)

        def draw(message: dict[str, Any]) -> None:
            stage = message.get("stage", "run")
            bars.update(waiting, description="ready", total=1, completed=1)
            if stage not in lines:
                lines[stage] = bars.add_task("", stage=stage, total=None)
            ended = message.get("ended")
            total = 1 if ended else message.get("total")
            done = 1 if ended else message.get("done") or 0
            bars.update(lines[stage], description=message["step"], total=total, completed=done)

        yield draw


def plain_progress() -> Draw:
    begun = time.monotonic()

    def draw(message: dict[str, Any]) -> None:
        count = f" ({message['done'] + 1}/{message['total']})" if message.get("total") else ""
        seconds = time.monotonic() - begun
        print(f"{seconds:6.1f} s  {message.get('stage', 'run'):<9} {message['step']}{count}", file=err.file, flush=True)

    return draw


def fault(text: str, code: int) -> int:
    """Say what went wrong, in one line whatever the terminal's width; returns the exit code."""
    print(f"countersign: {' '.join(text.split())}", file=err.file)
    return code


def retrained(result: dict[str, Any]) -> None:
    model = result["trained"]["model"]
    if not result["new"]:
        out.print(f"Nothing new: {model} is already trained, validated and decided on this data; --force trains again.")
    collected(result["collected"])
    out.print(f"[bold]{model}[/] {'trained' if result['trained']['new'] else 'kept'}")
    verdict(result["verdict"])
    out.print(
        f"Next: [bold]countersign verify {model}[/] checks the evidence; [bold]countersign up[/] opens MLflow "
        f"(model {model.split('/')[0]}, its description links every run) and Prefect; docs/architecture.md explains."
    )


def collected(result: dict[str, Any]) -> None:
    counts = result["accounting"]
    state = "new" if result["new"] else "unchanged"
    out.print(
        f"Snapshot [bold]{result['snapshot']}[/] ({state}), as of {result['as_of']}: {result['instruments']} "
        f"instruments, {result['sessions']} sessions; lockbox from {result['lockbox_starts']}"
    )
    out.print(
        f"Rows: {counts['collected']} collected = {counts['clean']} clean + {counts['quarantined']} quarantined + "
        f"{counts['exact_duplicates']} exact duplicates; {counts['corrections']} corrections"
    )
    for said in result["warnings"]:
        out.print(f"[yellow]warning[/] {escape(said)}")
    rules = result["quarantined_by_rule"] | result["corrected_by_rule"]
    if rules:
        out.print("By rule: " + ", ".join(f"{rule} {number}" for rule, number in sorted(rules.items())))


def verdict(result: dict[str, Any]) -> None:
    """The gates as a table that fits 80 columns, then in words why any of them failed."""
    table = Table(title=f"Verdict on {result['model']} by {result['policy']}", title_justify="left")
    table.add_column("gate", no_wrap=True)
    sides: dict[str, Literal["left", "right"]] = {"figure": "right", "threshold": "right", "outcome": "left"}
    for column, side in sides.items():
        table.add_column(column, justify=side, no_wrap=True)
    for found in result["findings"]:
        if found["source"] == "problem" and OWN not in table.columns[0].cells:
            table.add_section()
            table.add_row(OWN)
        value = "missing" if found["value"] is None else f"{found['value']:.4g}"
        waived = found.get("waived")
        outcome = f"[yellow]fail, waived until {waived['until']}[/]" if waived else coloured(found["outcome"])
        table.add_row(found["figure"], value, found["threshold"], outcome)
    out.print(table)
    for found in result["findings"]:
        if found["outcome"] == "fail":
            out.print(f"[red]✗ {found['figure']}[/] {escape(found['reason'])}")
            waiver(found.get("waived"))
    colour = "red" if not result["accepted"] else "yellow" if result.get("waived") else "green"
    out.print(f"[bold {colour}]{escape(result['summary'])}[/]")
    if "live" in result:
        out.print(f"Released to shadow as {result['live']}; `countersign approve` makes it champion.")


def coloured(outcome: str) -> str:
    return f"[{COLOURS[outcome]}]{outcome}[/]"


def waiver(given: dict[str, Any] | None) -> None:
    if given:
        out.print(f"  [yellow]waived until {given['until']} by {escape(given['by'])}[/]: {escape(given['reason'])}")


def reported(result: dict[str, Any]) -> None:
    """The verdict in plain words, then every gate, then the page."""
    told = result["in_plain_words"]
    for title, said in (
        ("What it does", [told["does"]]),
        ("Why", [told["why"], *told["reasons"]]),
        ("What would hurt it", told["hurts"]),
    ):
        out.print(f"[bold]{title}[/]")
        for line in said:
            out.print(f"  {escape(line)}")
    verdict(result)
    state = "signed with the decision" if result["signed"] else "made anew of signed files, not signed itself"
    out.print(f"Page ({state}): {result['page']}", soft_wrap=True)
    out.print(f"Audit report, {len(result['answers'])} questions answered: {result['audit']['html']}", soft_wrap=True)
    out.print(f"The same as a PDF: {result['audit']['pdf']}", soft_wrap=True)


def approved(result: dict[str, Any]) -> None:
    said = f"champion is {result['champion']}" if result["champion"] else escape(result["said"])
    out.print(f"[bold green]{result['model']}: signed[/]; {said}", soft_wrap=True)
    for given in result["waivers"]:
        out.print(f"[yellow]rests on a waiver of {given['figure']}[/]")
        waiver(given)


def noted(result: dict[str, Any]) -> None:
    out.print(f"{result['model']}: entry {result['entry']} of the journal; {escape(result['said'])}", soft_wrap=True)


def reconciled(result: dict[str, Any]) -> None:
    for each in result["differences"]:
        out.print(f"[red]✗[/] {each['model']}: {escape(each['what'])}", soft_wrap=True)
    if not result["differences"]:
        out.print(f"[bold green]{result['problem']}[/]: MLflow shows what was signed")


def history(result: dict[str, Any]) -> None:
    """What happened to a problem, one line an event."""
    table = Table(title=f"Journal of {result['problem']}", title_justify="left")
    for column in ("entry", "when (UTC)", "who", "what", "about", "said"):
        table.add_column(column, overflow="fold")
    for each in result["events"]:
        when = each["at"].removesuffix("+00:00").replace("T", " ")
        table.add_row(str(each["number"]), when, each["by"], each["kind"], each["about"], escape(each["said"]))
    out.print(table)
    for each in result["register"]:
        when = each["at"].removesuffix("+00:00").replace("T", " ")
        out.print(f"register {each['number']}, {when}, signed by the owner: {escape(each['said'])}", soft_wrap=True)
    out.print(f"head {result['head']}", style="dim", soft_wrap=True)


def live(result: dict[str, Any]) -> None:
    """What was champion at a time."""
    if result["version"] is None:
        out.print(f"At {result['at']} {result['problem']} had no champion")
        return
    until = result["until"] or "now"
    out.print(f"At {result['at']} [bold]{result['model']}/{result['version']}[/] was champion", soft_wrap=True)
    out.print(
        f"  from {result['since']} until {until}, by {result['by']}; candidate {result['candidate']}", soft_wrap=True
    )
    out.print(f"  its bytes are those that were approved: {escape(result['bytes_now'])}", soft_wrap=True)


def controls(result: dict[str, Any]) -> None:
    """Each control, whether it has evidence today, and where."""
    table = Table(title=f"Controls, for {result['model']}", title_justify="left")
    for name in ("", "must be evidenced", "today", "where, or what is missing"):
        table.add_column(name, overflow="fold")
    colours = {"yes": "green", "partly": "yellow", "no": "red"}
    for each in result["controls"]:
        state = f"[{colours[each['state']]}]{each['state']}[/]"
        table.add_row(each["id"], each["asks"], state, escape(each["where"]))
    out.print(table)
    out.print(", ".join(f"{state}: {count}" for state, count in result["counts"].items()))


def backtested(result: dict[str, Any]) -> None:
    """What was earned and how it was traded, then year by year, then had it cost more or come later."""
    from tasks.domain.analysis.words import EARNED, TRADED, written

    known = {name.removeprefix("backtest."): value for name, value in result["figures"].items()}
    table = Table(title=f"Backtest of {result['model']}, net of costs", title_justify="left")
    for title in ("earned", "traded"):
        table.add_column(title)
        table.add_column("", justify="right")
    for (one, (said, form)), (two, (also, other)) in zip(EARNED.items(), TRADED.items(), strict=True):
        table.add_row(said, written(known.get(one), form), also, written(known.get(two), other))
    out.print(table)
    forms = {"total_return": "{:+.2%}", "sharpe_ratio": "{:+.2f}", "max_drawdown": "{:.2%}", "benchmark": "{:+.2%}"}
    lines("year", result["years"], forms)
    lines("had it been", result["sensitivity"], {**forms, "annual_return": "{:+.2%}"})
    if result["engines_differ"]:
        out.print(f"[red]✗ the two engines differ[/]: {escape(result['engines_differ'])}")


def lines(first: str, rows: dict[str, dict[str, float]], forms: dict[str, str]) -> None:
    """A table of rows by title, with those of the columns that any row has."""
    from tasks.domain.analysis.words import written

    columns = [name for name in forms if any(name in row for row in rows.values())]
    table = Table()
    table.add_column(first)
    for name in columns:
        table.add_column(name.replace("_", " "), justify="right")
    for title, row in rows.items():
        table.add_row(title, *(written(row.get(name), forms[name]) for name in columns))
    out.print(table)


def figures(result: dict[str, Any]) -> None:
    table = Table(title=f"Figures of {result['model']}", title_justify="left")
    table.add_column("figure")
    table.add_column("value", justify="right")
    for name, value in sorted(result["figures"].items()):
        table.add_row(name, f"{value:.6g}")
    out.print(table)


def verified(result: dict[str, Any]) -> None:
    if result["faults"]:
        out.print(f"[bold red]{result['reference']}: verification failed[/]")
        for found in result["faults"]:
            out.print(f"  ✗ {escape(found)}", soft_wrap=True)
        return
    pointing = ", ".join(f"{alias} → {version}" for alias, version in result["aliases"].items()) or "none"
    out.print(f"[bold green]{result['reference']}: verified[/]; evidence is whole")
    out.print(f"  decision: {result['decision']}; {escape(result['standing'])}", soft_wrap=True)
    out.print(f"  aliases, all authorised: {pointing}")
    for said in result["warnings"]:
        out.print(f"  [yellow]warning[/] {escape(said)}", soft_wrap=True)
    if result["development"]:
        out.print("  signed with development keys kept beside the data (docs/architecture.md, Keys)", style="dim")


def bundled(result: dict[str, Any]) -> None:
    out.print(
        f"[bold green]{result['model']}: bundled[/], {result['files']} files, {result['bytes'] / 1e6:.1f} MB; the "
        f"journal's head is {result['head']}",
        soft_wrap=True,
    )
    out.print("Tables of data are not in it, their signed digests are. To check it, with the owner's public key:")
    for command in result["commands"].values():
        out.print(f"  {escape(command)}", soft_wrap=True)


def reproduced(result: dict[str, Any]) -> None:
    """What was done again, what came of comparing it, and what was another when the model was trained."""
    table = Table(title=f"{result['model']} made anew", title_justify="left", show_header=False)
    table.add_column("what", no_wrap=True)
    table.add_column("found", overflow="fold")
    for what, said in result["repeated"].items():
        table.add_row(what, escape(said))
    table.add_section()
    same = sum(each["signed"] == each["rebuilt"] for each in result["files"].values())
    table.add_row("files", f"{same} of {len(result['files'])} have the bytes that the trainer signed")
    for part, gap in (result["scores"] or {}).items():
        only = f", {gap['one_only']:,} of one model only" if gap["one_only"] else ""
        said = f"{gap['scores']:,} scores of {gap['sessions']:,} sessions from {gap['since']} on{only}"
        table.add_row(f"scores, {part}", f"largest difference {gap['largest']:.3g} ({said})")
    if result["scores"] is None:
        table.add_row("scores", f"not compared: {escape(result['scores_unknown'])}")
    out.print(table)
    for said in result["faults"]:
        out.print(f"  [red]✗[/] {escape(said)}", soft_wrap=True)
    for each in result["differing"]:
        effect = "takes part in scoring" if each["scores"] else "takes no part in scoring"
        out.print(f"  [red]✗[/] file {escape(each['file'])} ({effect}): {escape(each['words'])}", soft_wrap=True)
    for said in result["surroundings"]:
        out.print(f"  [yellow]not as in training[/] {escape(said)}", soft_wrap=True)
    if result["kept"]:
        out.print(f"  the rebuilt model lies in {escape(result['kept'])}", soft_wrap=True)
    colour = {"identical": "green", "same scores": "yellow"}.get(result["verdict"], "red")
    out.print(f"[bold {colour}]{result['model']}: {result['verdict']}[/]")


def quarantined(result: dict[str, Any]) -> None:
    rows = result["rows"]
    table = Table(title=f"Quarantine of {result['problem']}: {len(rows)} of {result['all']} rows", title_justify="left")
    for name in ("row", "bar", "as delivered", "why", "decision"):
        table.add_column(name, overflow="fold")
    told = ("id", "instrument", "timestamp", "rule", "reason", "decision")
    for row in rows:
        bar = f"{row['instrument']} {str(row['timestamp']).removesuffix(' 00:00:00')}"
        values = " ".join(f"{name[0]} {value}" for name, value in row.items() if name not in told)
        table.add_row(
            row["id"], escape(bar), escape(values), f"{row['rule']}: {escape(row['reason'])}", row["decision"]
        )
    out.print(table)


def lineage(result: dict[str, Any]) -> None:
    """A tree from the model down to the delivered parts."""
    root = Tree(f"[bold]{result['model']}[/] candidate {result['candidate']}")
    files = root.add("model files")
    for name, sha in result["model_files"].items():
        files.add(f"{escape(name)}  {sha[:16]}")
    for step in reversed(result["steps"]):
        branch = root.add(f"{step['stage']} signed by the {step['by']}, MLflow run {step['run']}")
        for name, sha in step["from"].items():
            branch.add(f"from {escape(name)}  {sha[:16]}")
    snapshot = root.add(f"snapshot {result['snapshot']}")
    for name, table in result["tables"].items():
        snapshot.add(f"table {name} version {table['version']}, {table['rows']} rows  {table['sha256'][:16]}")
    parts = root.add(f"delivered as {escape(result['delivery']['name'])}")
    for part in result["parts"]:
        parts.add(f"{escape(part['name'])}  {part['sha256'][:16]}")
    out.print(root)


def status(result: dict[str, Any]) -> None:
    table = Table(title="Problems", title_justify="left")
    for column in ("problem", "versions", "newest", "decision", "aliases"):
        table.add_column(column)
    for row in result["problems"]:
        table.add_row(row["problem"], str(row["versions"]), row["newest"], row["decision"], row["aliases"])
    out.print(table)
    servers = result["servers"]
    if not servers:
        out.print("Servers: none running; `countersign up` starts them")
        return
    out.print(f"Servers: Prefect {servers['prefect']}, MLflow {servers['mlflow']}; {waits(result['reconciler'])}")


@contextmanager
def health(quiet: bool) -> Iterator[Draw]:
    """A table of what runs that is drawn anew in its place on a terminal; elsewhere what changes is told once."""
    if quiet:
        yield lambda told: None
    elif out.is_terminal:
        with Live(console=out, auto_refresh=False) as live:
            yield lambda told: live.update(healthy(told), refresh=True)
    else:
        said: list[str] = []

        def tell(told: dict[str, Any]) -> None:
            ill = [each["name"] for each in told["servers"] if not each["answers"]]
            line = f"no answer from: {', '.join(ill)}" if ill else "all servers answer"
            line += f"; {waits(told['reconciler'])}"
            if said[-1:] != [line]:
                said[:] = [line]
                print(line, file=out.file, flush=True)

        yield tell


def healthy(told: dict[str, Any]) -> Table:
    table = Table(title="What runs", title_justify="left")
    for name in ("", "where", "state"):
        table.add_column(name, overflow="fold")
    for each in told["servers"]:
        state = "[green]answers[/]" if each["answers"] else "[red]no answer[/]"
        table.add_row(each["name"], each["url"], state)
    found = told["reconciler"]
    if "fault" in found:
        table.add_row("reconciler", found.get("at", ""), f"[red]{escape(found['fault'])}[/]")
    table.add_row("waiting for people", "", escape(", ".join(found.get("waiting", [])) or "nothing"))
    for each in found.get("differences", []):
        table.add_row("[red]difference[/]", each["model"], escape(each["what"]))
    if not found.get("differences"):
        table.add_row("differences", found.get("at", "not looked yet"), "[green]none[/]" if found else "not known")
    return table


def waits(found: dict[str, Any]) -> str:
    """What the reconciler says, in a line."""
    if not found:
        return "the reconciler has not looked yet"
    waiting, differing = (found.get(name, []) for name in ("waiting", "differences"))
    return f"waiting for people: {', '.join(waiting) or 'nothing'}; differences: {len(differing)}"


def running(result: dict[str, Any]) -> None:
    out.print(f"Prefect  {result['prefect']}   start flows, see runs")
    out.print(f"MLflow   {result['mlflow']}   models, runs, evidence")
    out.print(f"Serving  {', '.join(result['deployments'])}")
    if result["elsewhere"]:
        out.print(f"Not here {', '.join(result['elsewhere'])}: their keys are on other machines")
    out.print("Stop with Ctrl-C.")


def working(result: dict[str, Any]) -> None:
    out.print(f"Works as {', '.join(result['pools'])} for {result['prefect']} and {result['mlflow']}")
    out.print("Stop with Ctrl-C.")


def plain(result: dict[str, Any]) -> None:
    for name, value in result.items():
        out.print(f"{name}: {value}")
