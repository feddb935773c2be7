"""What people write: problems, gates and who has which role, read from YAML."""

import os
from pathlib import Path
from typing import Any

import yaml

from tasks.domain.errors import UsageError
from tasks.domain.gates import Policy, misfits, parse_policy
from tasks.domain.people import People, parse_people
from tasks.domain.problem import Problem, parse_problem
from tasks.domain.scenarios.plan import Library, parse_scenarios
from tasks.home import CHECKOUT

ROLES_VARIABLE = "COUNTERSIGN_ROLES"


def load_people() -> People:
    """Who has which role."""
    path = Path(os.environ.get(ROLES_VARIABLE) or CHECKOUT / "expectations" / "roles.yaml")
    return parse_people(read_yaml(path), str(path))


def load_problem(reference: str) -> Problem:
    """A problem by its name in `problems/` or by the path of a YAML file.

    Raises:
        UsageError: no such problem, not YAML, or a field that is wrong.
    """
    path = Path(reference) if reference.endswith((".yaml", ".yml")) else problem_path(reference)
    return parse_problem(read_yaml(path), str(path))


def problem_path(name: str) -> Path:
    path = CHECKOUT / "problems" / f"{name}.yaml"
    if not path.exists():
        raise UsageError(f"problem {name!r}: not found; known are {problem_names()}, or give a .yaml file")
    return path


def problem_names() -> list[str]:
    return sorted(path.stem for path in (CHECKOUT / "problems").glob("*.yaml"))


def load_policy(name: str) -> Policy:
    path = CHECKOUT / "expectations" / "models" / f"{name}.yaml"
    return parse_policy(read_yaml(path), str(path))


def load_scenarios(objective: str) -> Library:
    """What models of an objective are put through."""
    path = CHECKOUT / "expectations" / "models" / "scenarios" / f"{objective}.yaml"
    return parse_scenarios(read_yaml(path), str(path))


def policy_of(problem: Problem) -> Policy:
    """The gates that a problem names.

    Raises:
        UsageError: there are none of that name, or they are for another objective.
    """
    policy = load_policy(problem.policy)
    if fault := misfits(policy, problem.policy, problem.objective):
        raise UsageError(f"problem {problem.name}: {fault}")
    return policy


def read_yaml(path: Path) -> Any:
    try:
        return yaml.safe_load(path.read_text())
    except OSError as fault:
        raise UsageError(f"{path}: cannot be read ({fault.strerror})") from None
    except (yaml.YAMLError, UnicodeDecodeError) as fault:
        raise UsageError(f"{path}: is not YAML ({' '.join(str(fault).split())})") from None
