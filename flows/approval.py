"""Approval: a run that waits until the people who must sign a version have signed, or said no.

It is suspended while it waits: it holds no process and survives the servers being stopped. Each answer wakes it up; it
looks at what was signed, and waits on if that is not enough.
"""

from itertools import count
from typing import Any, Literal

from prefect import flow
from prefect.artifacts import create_markdown_artifact
from prefect.flow_runs import suspend_flow_run
from prefect.input import RunInput
from prefect.runtime import flow_run

from tasks import logins, waiting

LONGEST_WAIT = 90 * 86400  # seconds; then the run fails, and a new one is made if the version still waits


class Answer(RunInput):
    """What somebody says in the form. It has no identity: a signature counts, an answer is only noted."""

    decision: Literal["I have signed", "raise a concern"]
    person: str
    comment: str


@flow(name="approval", log_prints=True, persist_result=True)
def approval(model: str) -> dict[str, Any]:
    """Wait until an accepted version is approved by as many people as its tier needs, or rejected.

    Args:
        model: an accepted candidate, MODEL/VERSION.
    """
    for number in count():
        with logins.reading():
            found = waiting.wait(model)
        print(f"{model}: {found.said}")
        if found.over:
            create_markdown_artifact(f"{model}: {found.said}", key="approval", description=model)
            return {"model": model, "said": found.said}
        with logins.reading():
            form = Answer.with_initial_data(description=waiting.page(model))
        said = suspend_flow_run(wait_for_input=form, key=f"answer-{number}", timeout=LONGEST_WAIT)
        print(f"{said.person} in the form: {said.decision}: {said.comment}")
        if said.decision == "raise a concern":
            with logins.reading():
                waiting.doubt(model, f"{flow_run.id}/{number}", said.person, said.comment)
    raise AssertionError("counting never ends")
