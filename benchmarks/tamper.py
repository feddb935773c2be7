"""An attacker who owns MLflow's and Prefect's databases, the artifacts and the evidence, but no key: what is seen?

A real market is retrained twice by the command users run; version 1 is approved. Then, one at a time, single random
changes are made and taken back: metrics, params, tags, descriptions, aliases, runs and versions in MLflow's database;
bytes, ends and names of artifacts; links, layouts, entries of the journal and of the register, their order and their
ends; old approvals replayed, evidence of one version put under another, the clock set back; tables on the pages of
Prefect's runs, its schedules and deployments. After each, all is compared as the reconciler does it. Bundles of
version 1 are changed by a byte and verified as such. A change counts as detected if anything is said, and as named
right if the first thing said names what was changed. Beside it stands what MLflow alone tells (every run and version
can be read, every model loads). Prints a table and, as its last line, one JSON object.
"""

import argparse
import base64
import json
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

CHECKOUT = Path(__file__).parents[1]
sys.path.insert(0, str(CHECKOUT))

NAME, LIVE = "planted", "planted.live"
SHIPPED = "sp500_alpha"  # whose deployments are declared
BUNDLES = 24  # bundles that are changed on their way
Undo = Callable[[], object]


class Change(NamedTuple):
    """What was changed, in words; `names`: any of these in the first thing that is said names it."""

    what: str
    names: tuple[str, ...]


class World:
    """The state folder under attack."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.database = home / "mlflow.db"
        self.prefect = home / "prefect" / "prefect.db"
        self.evidence = home / "evidence" / NAME
        self.journal = self.evidence / "journal"
        self.folders = sorted(path for path in self.evidence.glob("*-*") if path.is_dir())

    def rows(self, query: str, *values: Any) -> list[Any]:
        with sqlite3.connect(self.database) as connection:
            return connection.execute(query, values).fetchall()

    def change(self, query: str, *values: Any) -> None:
        with sqlite3.connect(self.database) as connection:
            assert connection.execute(query, values).rowcount != 0, query

    def ask_prefect(self, query: str, *values: Any) -> list[Any]:
        """A question or a change to Prefect's database, beside its server."""
        with closing(sqlite3.connect(self.prefect, timeout=60)) as connection, connection:
            done = connection.execute(query, values)
            rows = done.fetchall()
            assert rows or done.rowcount != 0, query
            return rows

    def entries(self) -> list[Path]:
        return sorted(self.journal.glob("*.json"))

    def of(self, number: int) -> Path:
        """The folder of evidence of a version."""
        query = "select value from model_version_tags where name = ? and version = ? and key = 'countersign.candidate'"
        [(candidate,)] = self.rows(query, NAME, number)
        return self.evidence / str(candidate)

    def artifacts(self) -> list[Path]:
        """Files that were signed: what MLflow itself writes when somebody loads a model is none of them."""
        stages = (self.home / "artifacts" / NAME).rglob("*")
        return sorted(path for path in stages if path.is_file() and path.name != "registered_model_meta")


def retrained(folder: Path) -> Path:
    """A home with two accepted versions, the first approved; made once where the folder is kept."""
    home = folder / "home"
    if (folder / "ready").exists():
        return home
    from tests.support.market import market

    problem = market(folder, NAME, signal=0.003)
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PREFECT_", "MLFLOW_"))}
    environment |= {"COUNTERSIGN_HOME": str(home), "COUNTERSIGN_ANCHORS": str(folder / "anchors")}
    key = home / "keys" / "approver.pem"
    for arguments in (
        ("retrain", str(problem)),
        ("approve", f"{NAME}/1", "--role", "approver", "--key", str(key), "--comment", "read"),
        ("retrain", str(problem), "--force"),
    ):
        print(f"  countersign {' '.join(arguments[:2])}", flush=True)
        command = [sys.executable, "-m", "flows.cli", *arguments]
        subprocess.run(command, cwd=CHECKOUT, env=environment, check=True, capture_output=True)
    (folder / "ready").touch()
    return home


# --- changes: each makes one and returns what it was --------------------------------------------------------


def of_any_run(world: World, rng: random.Random, query: str) -> tuple[Any, ...]:
    """One row of what a query tells of runs, `run_uuid` first: any run's, so that trials of few figures are met as
    often as stages of many."""
    by_run: dict[str, list[tuple[Any, ...]]] = defaultdict(list)
    for row in world.rows(query):
        by_run[row[0]].append(row)
    return rng.choice(by_run[rng.choice(sorted(by_run))])


def metric(world: World, rng: random.Random) -> Change:
    run, key, value = of_any_run(world, rng, "select run_uuid, key, value from latest_metrics where is_nan = 0")
    for table in ("latest_metrics", "metrics"):
        world.change(f"update {table} set value = ? where run_uuid = ? and key = ?", value + 0.01, run, key)
    return Change(f"metric {key}", (f"metric {key}:", f": {key}: MLflow shows"))


def dropped_metric(world: World, rng: random.Random) -> Change:
    run, key = of_any_run(world, rng, "select run_uuid, key from latest_metrics")
    world.change("delete from latest_metrics where run_uuid = ? and key = ?", run, key)
    return Change(f"metric {key} deleted", (f"metric {key}:", f": {key}: MLflow shows"))


def param(world: World, rng: random.Random) -> Change:
    run, key = of_any_run(world, rng, "select run_uuid, key from params")
    world.change("update params set value = value || '1' where run_uuid = ? and key = ?", run, key)
    return Change(f"param {key}", (f"param {key}:", f": {key}: MLflow shows", "gone from MLflow"))


def added_metric(world: World, rng: random.Random) -> Change:
    """A figure that no stage wrote."""
    run, step = of_any_run(world, rng, "select run_uuid, 0 from latest_metrics")
    for table in ("latest_metrics", "metrics"):
        fields = "(key, value, timestamp, step, is_nan, run_uuid) values ('lockbox.sharpe', 3.1, 1, ?, 0, ?)"
        world.change(f"insert into {table} {fields}", step, run)
    return Change("metric lockbox.sharpe added", ("metric lockbox.sharpe:",))


def tag(world: World, rng: random.Random) -> Change:
    run, key = of_any_run(world, rng, "select run_uuid, key from tags where key like 'countersign.%'")
    world.change("update tags set value = value || 'x' where run_uuid = ? and key = ?", run, key)
    return Change(f"tag {key}", (f"tag {key}:", "gone from MLflow"))


def dataset(world: World, rng: random.Random) -> Change:
    """What a run is said to have read."""
    number, key = rng.choice(world.rows("select dataset_uuid, name from datasets"))
    part, value = rng.choice((("digest", "0" * 36), ("dataset_source", "elsewhere@7")))
    world.change(f"update datasets set {part} = ? where dataset_uuid = ?", value, number)
    return Change(f"dataset {key}", (f"dataset {key}:",))


def unread(world: World, rng: random.Random) -> Change:
    [number] = rng.choice(world.rows("select input_uuid from inputs where source_type = 'DATASET'"))
    world.change("delete from inputs where input_uuid = ?", number)
    return Change("dataset of a run taken away", ("dataset ",))


def dated(world: World, rng: random.Random) -> Change:
    run, part = of_any_run(world, rng, "select run_uuid, 'start_time' from runs")[0], rng.choice(("start", "end"))
    world.change(f"update runs set {part}_time = {part}_time - 86400000 where run_uuid = ?", run)
    return Change(f"{part} of a run", (f"run {part}ed:",))


def moved(world: World, rng: random.Random) -> Change:
    """A run, trials included, put into another experiment, or an experiment given another name."""
    run, home = of_any_run(world, rng, "select run_uuid, experiment_id from runs")
    if rng.random() < 0.5:
        world.change("update experiments set name = name || '-old' where experiment_id = ?", home)
    else:
        to = rng.choice([each for (each,) in world.rows("select experiment_id from experiments") if each != home])
        world.change("update runs set experiment_id = ? where run_uuid = ?", to, run)
    return Change("run in another experiment", ("run experiment:", "gone from MLflow"))


def parent(world: World, rng: random.Random) -> Change:
    """A trial put under another run."""
    query = "select t.run_uuid, t.value from tags t where t.key = 'mlflow.parentRunId'"
    run, under = of_any_run(world, rng, query)
    to = rng.choice([each for (each,) in world.rows("select run_uuid from runs") if each not in (run, under)])
    world.change("update tags set value = ? where run_uuid = ? and key = 'mlflow.parentRunId'", to, run)
    return Change("parent of a trial", ("gone from MLflow", f"trial run {run}:"))


def trial(world: World, rng: random.Random) -> Change:
    """A trial that never was."""
    query = "select run_uuid, value from params where key = 'trial_key'"
    run, _ = of_any_run(world, rng, query)
    made = f"{rng.getrandbits(128):032x}"
    columns = "name, source_type, user_id, status, start_time, end_time, lifecycle_stage, artifact_uri, experiment_id"
    world.change(f"insert into runs (run_uuid, {columns}) select ?, {columns} from runs where run_uuid = ?", made, run)
    world.change("insert into tags (key, value, run_uuid) select key, value, ? from tags where run_uuid = ?", made, run)
    copied = "insert into params (key, value, run_uuid) select key, case key when 'trial_key' then ? else value end, ? "
    world.change(copied + "from params where run_uuid = ?", made * 2, made, run)
    return Change(f"trial {made}", (f"trial run {made}:",))


def version_entry(world: World, rng: random.Random) -> Change:
    """Of which run a version is said to be, or a stage that MLflow knew before aliases."""
    name, number = rng.choice((NAME, LIVE)), rng.choice((1, 2))
    if rng.random() < 0.5:
        world.change(
            "update model_versions set current_stage = 'Production' where name = ? and version = ?", name, number
        )
    else:
        [(run,)] = world.rows("select run_id from model_versions where name = ? and version = ?", NAME, 3 - number)
        world.change("update model_versions set run_id = ? where name = ? and version = ?", run, name, number)
    return Change(f"version {name}/{number}", (f"version {name}/{number}: its",))


def model_page(world: World, rng: random.Random) -> Change:
    """A figure on the page of the model that a version was registered from."""
    model, home, run = rng.choice(world.rows("select model_id, experiment_id, source_run_id from logged_models"))
    fields = "(model_id, experiment_id, run_id, metric_name, metric_value, metric_timestamp_ms, metric_step)"
    world.change(f"insert into logged_model_metrics {fields} values (?, ?, ?, 'sharpe', 3.1, 1, 0)", model, home, run)
    return Change("figure of a model", (": sharpe on its model's page",))


def note(world: World, rng: random.Random) -> Change:
    [(run,), *_] = world.rows("select run_uuid from tags where key = 'mlflow.note.content' order by random()")
    world.change("update tags set value = 'all is well' where run_uuid = ? and key = 'mlflow.note.content'", run)
    return Change("note of a run", ("tag mlflow.note.content:",))


def description(world: World, rng: random.Random) -> Change:
    number = rng.choice((1, 2))
    world.change("update model_versions set description = 'approved' where name = ? and version = ?", NAME, number)
    return Change("description of a version", ("its description in MLflow",))


def version_tag(world: World, rng: random.Random) -> Change:
    key = rng.choice(("countersign.decision", "countersign.candidate"))
    number = rng.choice((1, 2))
    query = "update model_version_tags set value = 'refused' where name = ? and version = ? and key = ?"
    world.change(query, NAME, number, key)
    return Change(f"tag {key} of a version", (f"its {key} in MLflow", "no evidence", "no version in MLflow"))


def alias(world: World, rng: random.Random) -> Change:
    model, name, version = rng.choice(world.rows("select name, alias, version from registered_model_aliases"))
    query = "update registered_model_aliases set version = ? where name = ? and alias = ?"
    world.change(query, 3 - version, model, name)
    return Change(f"alias {name}", (f"alias {model}@{name}:",))


def dropped_alias(world: World, rng: random.Random) -> Change:
    model, name = rng.choice(world.rows("select name, alias from registered_model_aliases"))
    world.change("delete from registered_model_aliases where name = ? and alias = ?", model, name)
    return Change(f"alias {name} removed", (f"alias {model}@{name}:",))


def own_alias(world: World, rng: random.Random) -> Change:
    model = rng.choice((NAME, LIVE))
    world.change("insert into registered_model_aliases (alias, version, name) values ('pilot', 1, ?)", model)
    return Change("alias pilot made", (f"alias {model}@pilot:",))


def deleted_run(world: World, rng: random.Random) -> Change:
    (run,) = rng.choice(world.rows("select run_uuid from runs"))
    world.change("update runs set lifecycle_stage = 'deleted' where run_uuid = ?", run)
    return Change("run deleted", ("run lifecycle:", "gone from MLflow"))


def other_source(world: World, rng: random.Random) -> Change:
    sources = dict(world.rows("select version, source from model_versions where name = ?", NAME))
    number = rng.choice((1, 2))
    query = "update model_versions set source = ? where name = ? and version = ?"
    world.change(query, sources[3 - number], NAME, number)
    return Change("source of a version", (f"version {NAME}/{number}: registered from",))


def deleted_version(world: World, rng: random.Random) -> Change:
    model = rng.choice((NAME, LIVE))
    number = rng.choice((1, 2))
    for table in ("registered_model_aliases", "model_version_tags", "model_versions"):
        with sqlite3.connect(world.database) as connection:
            connection.execute(f"delete from {table} where name = ? and version = ?", (model, number))
    return Change(f"version of {model} deleted", ("no version in MLflow", "no such model version", "removed;"))


def byte(world: World, rng: random.Random) -> Change:
    path = rng.choice([path for path in world.artifacts() if path.stat().st_size])
    content = bytearray(path.read_bytes())
    content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    path.write_bytes(bytes(content))
    return Change(f"byte of {path.name}", (path.name,))


def truncated(world: World, rng: random.Random) -> Change:
    path = rng.choice([path for path in world.artifacts() if path.stat().st_size > 1])
    path.write_bytes(path.read_bytes()[: -rng.randrange(1, path.stat().st_size)])
    return Change(f"end of {path.name}", (path.name,))


def removed(world: World, rng: random.Random) -> Change:
    path = rng.choice(world.artifacts())
    path.unlink()
    return Change(f"{path.name} removed", (path.name,))


def added(world: World, rng: random.Random) -> Change:
    path = rng.choice(world.artifacts()).with_name("extra.txt")
    path.write_text("trust me")
    return Change("file added", ("extra.txt", "joined by another file"))


def link(world: World, rng: random.Random) -> Change:
    """A byte of what a link says."""
    path = rng.choice([path for folder in world.folders for path in sorted(folder.glob("*.link"))])
    inside(path, rng)
    return Change("link", (f"link {path.name.partition('.')[0]}:",))


def unsigned_link(world: World, rng: random.Random) -> Change:
    path = rng.choice([path for folder in world.folders for path in sorted(folder.glob("*.link"))])
    path.write_text(json.dumps(json.loads(path.read_text()) | {"signatures": []}))
    return Change("signature of a link", (f"link {path.name.partition('.')[0]}:",))


def dropped_link(world: World, rng: random.Random) -> Change:
    path = rng.choice([path for folder in world.folders for path in sorted(folder.glob("*.link"))])
    path.unlink()
    return Change("link removed", (f"link {path.name.partition('.')[0]}:",))


def layout(world: World, rng: random.Random) -> Change:
    path = rng.choice([path for folder in world.folders for path in sorted(folder.glob("*.layout"))])
    inside(path, rng)
    return Change("layout", (f"layout {path.name}:",))


def replayed(world: World, rng: random.Random) -> Change:
    """The approval of version 1 beside the links of version 2."""
    first, second = world.of(1), world.of(2)
    for path in (*first.glob("approve.*.link"), first / "release.layout"):
        shutil.copy(path, second / path.name)
    world.change("update registered_model_aliases set version = 2 where name = ? and alias = 'champion'", LIVE)
    return Change("approval replayed", ("link approve:", f"alias {LIVE}@champion:"))


def swapped(world: World, rng: random.Random) -> Change:
    """The whole evidence of one version under another."""
    first, second = world.of(1), world.of(2)
    aside = first.with_name("aside")
    first.rename(aside)
    second.rename(first)
    aside.rename(second)
    return Change("evidence swapped", ("link ", "layout "))


def entry(world: World, rng: random.Random) -> Change:
    path = rng.choice(world.entries())
    inside(path, rng)
    return Change("entry of the journal", (f"journal: entry {path.name}",))


def dropped_entry(world: World, rng: random.Random) -> Change:
    path = rng.choice(world.entries()[:-1])
    path.unlink()
    return Change("entry removed", (f"journal: entry {int(path.stem) + 1:06d}.json",))


def reordered(world: World, rng: random.Random) -> Change:
    paths = world.entries()
    at = rng.randrange(len(paths) - 1)
    one, two = paths[at].read_bytes(), paths[at + 1].read_bytes()
    paths[at].write_bytes(two)
    paths[at + 1].write_bytes(one)
    return Change("entries in another order", (f"journal: entry {paths[at].name}",))


def cut(world: World, rng: random.Random) -> Change:
    """The newest entries gone, and with them nothing else."""
    paths = world.entries()
    count = rng.randrange(1, 6)
    for path in paths[-count:]:
        path.unlink()
    return Change("journal cut short", (f"journal: entry {paths[-count].name}",))


def repeated_entry(world: World, rng: random.Random) -> Change:
    paths = world.entries()
    path = paths[-1].with_name(f"{len(paths) + 1:06d}.json")
    path.write_bytes(rng.choice(paths).read_bytes())
    return Change("old entry written again", (f"journal: entry {path.name}",))


def listed(world: World, rng: random.Random) -> Change:
    """Oneself among the people in the register."""
    path = world.home / "register" / "000001.json"
    envelope = json.loads(path.read_text())
    said = json.loads(base64.b64decode(envelope["payload"]))
    [person] = [each for each in said["people"]["people"] if each["name"] == "development-approver"]
    person["keys"].append({"public": "ab" * 32})
    envelope["payload"] = base64.b64encode(json.dumps(said).encode()).decode()
    path.write_text(json.dumps(envelope))
    return Change("register", ("register: entry 000001.json",))


def posted(world: World, rng: random.Random) -> Change:
    """A figure or an outcome in a table on a run's page."""
    table, number, key, data = tables(world, rng)
    rows = json.loads(json.loads(data)) if json.loads(data)[:1] == "[" else json.loads(data)
    row = rng.choice(rows)
    row[rng.choice(sorted(row))] = rng.choice(("pass", "0.99", "1")) + " "
    world.ask_prefect(f"update {table} set data = ? where id = ?", json.dumps(json.dumps(rows)), number)
    return Change(f"table {key} in Prefect", (f"table {key} of run",))


def posted_title(world: World, rng: random.Random) -> Change:
    table, number, key, _ = tables(world, rng)
    world.ask_prefect(f"update {table} set description = description || ' well done' where id = ?", number)
    return Change(f"title of table {key} in Prefect", (f"table {key} of run",))


def tables(world: World, rng: random.Random) -> tuple[str, str, str, str]:
    """Any of our tables in Prefect: where it stands, its number, key and content."""
    table = rng.choice(("artifact", "artifact_collection"))
    keys = ("verdict", "training", "rows", "validate", "backtest")
    query = f"select id, key, data from {table} where key in {keys} order by id"
    return (table, *rng.choice(world.ask_prefect(query)))


def schedule(world: World, rng: random.Random) -> Change:
    """The nightly retrain switched off, or put on another day."""
    to = rng.choice(("active = 0", "schedule = replace(schedule, '1-5', '6')"))
    world.ask_prefect(f"update deployment_schedule set {to}")
    return Change("schedule in Prefect", ("schedule: Prefect has",))


def deployed(world: World, rng: random.Random) -> Change:
    """What is run, otherwise: fewer families, other data, or not at all."""
    to, said = rng.choice(
        (
            ("parameters = json_set(parameters, '$.families', json('[\"ridge\"]'))", "parameters: Prefect has"),
            ("parameters = json_set(parameters, '$.data', 'mine.csv')", "parameters: Prefect has"),
            ("paused = 1", "paused: Prefect has"),
        )
    )
    flow = rng.choice(("retrain", "collect", "train"))
    of_flow = "flow_id = (select id from flow where name = ?)"
    world.ask_prefect(f"update deployment set {to} where {of_flow}", flow)
    return Change(f"deployment {flow} in Prefect", (f"deployment {flow}/{SHIPPED}: {said}",))


def undeployed(world: World, rng: random.Random) -> Change:
    flow = rng.choice(("retrain", "collect", "train"))
    world.ask_prefect("delete from deployment where flow_id = (select id from flow where name = ?)", flow)
    return Change(f"deployment {flow} deleted in Prefect", (f"deployment {flow}/{SHIPPED}: is gone",))


CHANGES: tuple[Callable[[World, random.Random], Change], ...] = (
    *(
        metric,
        dropped_metric,
        added_metric,
        param,
        tag,
        note,
        description,
        version_tag,
        alias,
        dropped_alias,
        own_alias,
    ),
    *(dataset, unread, dated, moved, parent, trial, version_entry, model_page),
    *(deleted_run, other_source, deleted_version, byte, truncated, removed, added),
    *(link, unsigned_link, dropped_link, layout, replayed, swapped),
    *(entry, dropped_entry, reordered, cut, repeated_entry, listed),
    *(posted, posted_title, schedule, deployed, undeployed),
)


def inside(path: Path, rng: random.Random) -> None:
    """Change a letter of what an envelope says."""
    envelope = json.loads(path.read_text())
    payload = bytearray(base64.b64decode(envelope["payload"]))
    letters = [at for at, each in enumerate(payload) if chr(each).isalnum()]
    at = rng.choice(letters)
    payload[at] = ord("b") if payload[at] != ord("b") else ord("c")
    path.write_text(json.dumps(envelope | {"payload": base64.b64encode(bytes(payload)).decode()}))


# --- what is seen -------------------------------------------------------------------------------------------


def said() -> list[str]:
    """All that the reconciler finds."""
    from flows import compared
    from tasks import reconciling
    from tasks.domain.errors import CountersignError

    try:
        found = reconciling.compare(NAME, every=True)
        found += [each for problem in (NAME, SHIPPED) for each in compared.differences(problem)]
        return [each.what for each in found]
    except CountersignError as fault:
        return [str(fault)]


def plain() -> str:
    """What MLflow by itself shows of its runs and versions and whether each model loads: a fault, or what was read."""
    import mlflow

    from tasks import ledger

    client = ledger.client()
    try:
        for model in (NAME, LIVE):
            for version in ledger.versions(model):
                client.get_run(version.run_id)
                mlflow.pyfunc.load_model(f"models:/{model}/{version.version}")
    except Exception as fault:  # noqa: BLE001 - whatever stops it, somebody sees it
        return f"{type(fault).__name__}: {fault}"[:200]
    return ""


def clock_set_back() -> list[str]:
    """What is said to an event dated back, such as with a key that has expired."""
    from tasks import journal
    from tasks.domain.errors import UsageError

    class Clock(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:
            return datetime.now(tz) - timedelta(days=400)

    kept = journal.datetime
    journal.datetime = Clock  # type: ignore[misc]
    try:
        journal.append(NAME, journal.REJECTION, {"comment": "long ago", "candidate": "none"})
    except UsageError as fault:
        return [str(fault)]
    finally:
        journal.datetime = kept  # type: ignore[misc]
    return []


def bundle(whole: Path, owner: Path, rng: random.Random) -> tuple[Change, list[str]]:
    """A byte of any signed file of a bundle, and what verifying that bundle says."""
    from tasks import bundles

    folder = whole.with_name("carried")
    shutil.copytree(whole, folder)
    unsigned = {folder / bundles.README, folder / bundles.BUNDLE}
    path = rng.choice([path for path in sorted(folder.rglob("*")) if path.is_file() and path not in unsigned])
    content = bytearray(path.read_bytes() or b" ")
    content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    path.write_bytes(bytes(content))
    names = (path.name, f"link {path.name.partition('.')[0]}:", "journal: its head")
    try:
        return Change(f"byte of {path.relative_to(folder)}", names), bundles.verify(folder, owner).faults
    finally:
        shutil.rmtree(folder)


@contextmanager
def attacked(world: World, kept: Path) -> Iterator[None]:
    """The state as it was before, afterwards."""
    try:
        yield
    finally:
        for part in ("evidence", "register", "artifacts"):
            shutil.rmtree(world.home / part)
            shutil.copytree(kept / part, world.home / part)
        copy_database(kept / "mlflow.db", world.database)
        copy_database(kept / "prefect.db", world.prefect)


class Tally:
    """What was made and what was seen of it, by kind of change."""

    def __init__(self) -> None:
        self.made, self.seen, self.right, self.alone = Counter[str](), Counter[str](), Counter[str](), Counter[str]()
        self.missed: dict[str, list[str]] = defaultdict(list)

    def add(self, kind: str, change: Change, found: list[str], shown: str) -> None:
        """`found`: what was said of a change, the first thing first; `shown`: what MLflow alone said."""
        named = bool(found) and any(each in found[0] for each in change.names)
        self.made[kind] += 1
        self.seen[kind] += bool(found)
        self.right[kind] += named
        self.alone[kind] += bool(shown)
        if not named:
            self.missed[kind].append(f"{change.what}: {found[:1]}")

    def print(self) -> None:
        print(f"\n{'change':>16}  made  detected  named right  by MLflow alone")
        for kind in self.made:
            line = f"{self.made[kind]:4}  {self.seen[kind]:8}  {self.right[kind]:11}  {self.alone[kind]:15}"
            print(f"{kind:>16}  {line}")
            for each in self.missed[kind][:3]:
                print(f"{'':>16}  ✗ {each}")
        total = {"changes": self.made, "detected": self.seen, "named_right": self.right}
        total["plain_mlflow_detected"] = self.alone
        print(json.dumps({name: counted.total() for name, counted in total.items()}))


def copy_database(source: Path, target: Path) -> None:
    """As a transaction, since MLflow's own connections to it stay open."""
    with closing(sqlite3.connect(source)) as read, closing(sqlite3.connect(target)) as written:
        read.backup(written)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--changes", type=int, default=430, help="how many, evenly over the kinds")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--keep", type=Path, help="a folder whose retrained versions are used again")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = given.keep or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        print("Two versions are trained, the first approved", flush=True)
        home = retrained(folder.resolve())
        os.environ |= {"COUNTERSIGN_HOME": str(home), "COUNTERSIGN_ANCHORS": str(home.parent / "anchors")}
        os.environ.pop("MLFLOW_TRACKING_URI", None)
        with served():
            measure(World(home), Path(scratch) / "as-it-was", given.changes, given.seed)


@contextmanager
def served() -> Iterator[None]:
    """Prefect's server on the state folder, with all deployments, as `countersign up` has it."""
    from flows import servers
    from tasks.home import prepare

    prepare()
    server = servers.start_prefect(servers.free_port())
    try:
        servers.wait_until_healthy(server.name, server.health, server.process)
        servers.declare(server.url)
        os.environ["PREFECT_API_URL"] = f"{server.url}/api"
        yield
    finally:
        server.stop()


def measure(world: World, kept: Path, changes: int, seed: int) -> None:
    from tasks import bundles

    for part in ("evidence", "register", "artifacts"):
        shutil.copytree(world.home / part, kept / part)
    copy_database(world.database, kept / "mlflow.db")
    copy_database(world.prefect, kept / "prefect.db")
    assert said() == [], said()
    assert plain() == "", plain()
    rng = random.Random(seed)
    tally = Tally()
    for number in range(changes):
        kind = CHANGES[number % len(CHANGES)]
        with attacked(world, kept):
            change, name = kind(world, rng), kind.__name__
            tally.add(name, change, said(), plain())
        if (number + 1) % len(CHANGES) == 0:
            print(f"  {number + 1} of {changes}", flush=True)
    bundles.export(f"{NAME}/1", kept / "bundle")
    for _ in range(BUNDLES):
        tally.add("bundle", *bundle(kept / "bundle", world.home / "keys" / "owner.pub", rng), "")
    tally.add("clock", Change("clock set back", ("clock:",)), clock_set_back(), "")
    tally.print()


if __name__ == "__main__":
    main()
