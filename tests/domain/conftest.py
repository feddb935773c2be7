from pathlib import Path

import pytest

from tasks.configuration import load_policy, load_problem
from tasks.domain.gates import Policy
from tasks.domain.problem import Problem

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def shipped() -> Problem:
    """The problem that ships with the project."""
    return load_problem(str(ROOT / "problems" / "sp500_alpha.yaml"))


@pytest.fixture(scope="session")
def policy(shipped: Problem) -> Policy:
    return load_policy(shipped.policy)
