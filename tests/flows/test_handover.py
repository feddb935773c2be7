"""What a stage that is left to another machine does to the one that waits: whom it believes, how long, and the lock."""

from contextlib import ExitStack
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Completed, Running, Scheduled

from flows import handover, pools, worker
from flows.handover import Elsewhere
from flows.process import result_of, wait_until_known
from tasks import keys, recovery
from tasks.domain import names
from tasks.domain.errors import CountersignError, DataRefused, StageKilled, UsageError
from tasks.home import HOME_VARIABLE, exclusive

RUN = uuid4()


class Api:
    """Prefect's, with a run that goes through some states; the last one stays."""

    def __init__(self, *states: State[Any]) -> None:
        self.states, self.set_to = list(states), StateType.SCHEDULED

    def read_flow_run(self, run: UUID) -> FlowRun:
        state = self.states.pop(0) if len(self.states) > 1 else self.states[0]
        return FlowRun(id=run, flow_id=uuid4(), name="left", state=state)

    def set_flow_run_state(self, run: UUID, state: State[Any], force: bool) -> None:
        assert force
        self.set_to = state.type

    def read_artifacts(self, **_: Any) -> list[Any]:
        return []


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> Elsewhere:
    monkeypatch.setattr(handover, "LOOK_SECONDS", 0)
    return Elsewhere("validate", "p", lock=-1)


def test_what_happens_elsewhere_is_told_as_it_changes(elsewhere: Elsewhere) -> None:
    told: list[Any] = []
    states = (Scheduled(), Scheduled(), Running(), Completed())
    elsewhere.follow(Api(*states), RUN, told.append)  # type: ignore[arg-type]
    assert [each["step"] for each in told] == [
        "scheduled at the validator's worker",
        "running at the validator's worker",
    ]


def test_nobody_comes_and_the_run_is_taken_back(elsewhere: Elsewhere, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handover, "PATIENCE_SECONDS", 0)
    api = Api(Scheduled())
    with pytest.raises(UsageError, match="start `countersign worker validator` on its machine, then retrain again"):
        elsewhere.follow(api, RUN, lambda _: None)  # type: ignore[arg-type]
    assert api.set_to == StateType.CANCELLED


def test_a_run_without_news_is_a_killed_stage(elsewhere: Elsewhere, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handover, "NEWS_SECONDS", 0)
    assert elsewhere.news(Api(Completed()), RUN) == {}  # type: ignore[arg-type]
    with pytest.raises(StageKilled, match="no result"):
        result_of({}, "no result")
    with pytest.raises(DataRefused, match="half of it"):
        result_of({"error": {"kind": "DataRefused", "message": "half of it"}}, "")


def test_a_lent_problem_can_be_taken_and_must_be_given_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(HOME_VARIABLE, str(tmp_path))
    with exclusive("p") as lock:
        with pytest.raises(UsageError), exclusive("p"):
            raise AssertionError("it is held")
        with recovery.lent(lock), exclusive("p"):
            pass
        with pytest.raises(UsageError), exclusive("p"):
            raise AssertionError("it is held again")
    other = exclusive("p")
    with exclusive("p") as lock:
        lent = recovery.lent(lock)
        lent.__enter__()
        with other, pytest.raises(UsageError, match="another run took this problem while a stage was done elsewhere"):
            lent.__exit__(None, None, None)


def test_what_went_wrong_elsewhere_is_told_though_the_lock_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(HOME_VARIABLE, str(tmp_path))

    def take_and_fail(others: ExitStack) -> None:
        others.enter_context(exclusive("p"))
        raise DataRefused("half of it")

    with exclusive("p") as lock, ExitStack() as others:
        with pytest.raises(DataRefused, match="half of it"), recovery.lent(lock):
            take_and_fail(others)
        assert not recovery.regained(lock), "it is the other's"


def test_a_task_run_that_prefect_never_hears_of_is_waited_for_in_vain(prefect: str) -> None:
    with temporary_settings({PREFECT_API_URL: prefect}), pytest.raises(CountersignError, match="retrain again"):
        wait_until_known(str(RUN), seconds=0.2)


def test_a_pool_is_here_where_its_key_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(HOME_VARIABLE, str(tmp_path))
    assert pools.elsewhere() == ["steward", "trainer", "validator"]
    keys.make(keys.path_of(names.TRAINER).with_suffix(""))
    assert pools.elsewhere() == ["steward", "validator"]
    assert {pools.of(flow) for flow in ("validate", "backtest", "promote", "approval")} == {"validator"}


@pytest.mark.parametrize(
    ("pool", "flow", "parameters", "said"),
    [
        ("validator", "train", {"problem": "sp500_alpha"}, "train: is not done in pool validator"),
        ("trainer", "train", {"problem": "/tmp/mine.yaml"}, "problem '/tmp/mine.yaml': not found"),
        ("validator", "validate", {"model": "../keys"}, "expected MODEL/VERSION"),
    ],
)
def test_a_worker_takes_only_what_it_knows(pool: str, flow: str, parameters: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        worker.problem_of(pool, flow, parameters)


def test_a_worker_knows_the_retrain_by_its_tag_alone() -> None:
    run = FlowRun(flow_id=uuid4(), tags=["problem:p", "retrain:" + "0" * 32, "retrain:; rm"])
    assert worker.environment_of(run) == {"COUNTERSIGN_RETRAIN_ID": "0" * 32}
    assert worker.environment_of(FlowRun(flow_id=uuid4(), tags=["retrain:; rm"])) == {}
