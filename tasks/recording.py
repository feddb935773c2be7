"""How every stage leaves its traces: one MLflow run with the stage's files, then one signed link.

The link is signed last, when MLflow holds every file it names and the run has ended: a stage is done exactly when
its link exists, and a crash before that leaves nothing that counts.
"""

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from securesystemslib.signer import CryptoSigner

from tasks import evidence, ledger
from tasks.domain import names
from tasks.domain.errors import VerificationFailed
from tasks.home import MLFLOW_PAGES, RETRAIN_ID, as_json, code_sha256, folder_digests, git_commit, lock_sha256, sha256


class Record:
    """A stage's run in MLflow, and the `folder` whose files become its artifacts."""

    def __init__(self, stage: str, run: ledger.Run, folder: Path) -> None:
        self.stage = stage
        self.run = run
        self.folder = folder
        self.digests: dict[str, str] = {}


@contextmanager
def recorded(problem: str, stage: str, as_of: str, snapshot: str, tags: Mapping[str, str]) -> Iterator[Record]:
    """Open the stage's run; files are logged also when the block raises, so that a refusal can be read."""
    own = {names.TAG_ROLE: names.SIGNERS[stage], names.TAG_SNAPSHOT: snapshot} | prefect_tags()
    title = names.run_name(stage, as_of, git_commit(), snapshot)
    with (
        tempfile.TemporaryDirectory() as scratch,
        ledger.run(problem, stage, title, own | dict(tags)) as run,
    ):
        record = Record(stage, run, Path(scratch))
        link_from_prefect(stage, run)
        try:
            yield record
        finally:
            run.artifacts(record.folder)
            record.digests = folder_digests(record.folder, f"{stage}/")


def prefect_tags() -> dict[str, str]:
    from prefect.context import FlowRunContext

    context = FlowRunContext.get()
    flow_run = {names.TAG_PREFECT: str(context.flow_run.id)} if context and context.flow_run else {}
    retrain = {names.TAG_RETRAIN: os.environ[RETRAIN_ID]} if RETRAIN_ID in os.environ else {}
    page = prefect_page()
    return flow_run | retrain | ({names.TAG_PREFECT_PAGE: page, ledger.NOTE: prefect_link()} if page else {})


def prefect_page() -> str:
    """Address of the page of the flow run that this process works for; empty where there is none."""
    from prefect.context import FlowRunContext

    context = FlowRunContext.get()
    if context is None or context.flow_run is None:
        return ""
    return f"{os.environ['PREFECT_API_URL'].removesuffix('/api')}/runs/flow-run/{context.flow_run.id}"


def prefect_link() -> str:
    """That page as a link for a note in MLflow."""
    page = prefect_page()
    return f"[Run in Prefect]({page})" if page else ""


def link_from_prefect(stage: str, run: ledger.Run) -> None:
    """Put a link to the stage's run on the page of its flow run, where MLflow's pages are served."""
    from prefect.artifacts import create_link_artifact

    if (pages := os.environ.get(MLFLOW_PAGES)) and prefect_page():
        link = f"{pages}/{ledger.run_link(run.id)}"
        create_link_artifact(link, link_text=f"{stage} run {run.id[:8]} in MLflow", key="mlflow-run", description=stage)


def attest(
    record: Record,
    folder: Path,
    materials: Mapping[str, str],
    products: Mapping[str, str] | None = None,
    model: str | None = None,
    by: CryptoSigner | None = None,
) -> None:
    """Sign the stage's link into an evidence folder: its files, and what else it took in and put out."""
    statement = evidence.Statement(
        dict(materials) | {"code": code_sha256(), "requirements.lock": lock_sha256()},
        sealed(record) | dict(products or {}),
        record.run.id,
        model,
    )
    evidence.sign_link(folder, record.stage, statement, by)


def sealed(record: Record) -> dict[str, str]:
    """The digests of a stage's files, with what MLflow shows of its run, now that it has ended, as one of them."""
    shown = as_json(ledger.run_state(record.run.id))
    ledger.add_artifact(record.run.id, names.RUN, shown)
    return record.digests | {f"{record.stage}/{names.RUN}": sha256(shown)}


def signed_file(folder: Path, stage: str, name: str) -> bytes:
    """A file of a completed stage as MLflow holds it, after comparing it with the stage's signed link.

    Raises:
        VerificationFailed: link or file is missing, or the file is not what was signed.
    """
    statement = evidence.read_statement(folder, stage)
    path = ledger.run_folder(statement.run_id) / name
    expected = statement.products.get(f"{stage}/{name}")
    try:
        content = path.read_bytes()
    except OSError:
        raise VerificationFailed(f"file {stage}/{name}: missing from MLflow run {statement.run_id}") from None
    if sha256(content) != expected:
        raise VerificationFailed(f"file {stage}/{name}: differs from what the {names.SIGNERS[stage]} signed")
    return content
