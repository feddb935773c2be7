"""Who may do what in MLflow: a permission of every role on every experiment and registered model of a problem.

Whoever may write a registered model in MLflow may make versions of it and set each of its aliases, so candidates and
released versions are two models. Describing a version is a right of its own there, granted on all models at once and
of use only on those that one may read: it lets judges write what they found beside a candidate, and nothing else.
"""

from collections.abc import Iterable
from typing import Final, Literal, NamedTuple

from tasks.domain import names

Permission = Literal["NO_PERMISSIONS", "READ", "EDIT", "MANAGE"]
Kind = Literal["experiment", "registered_model", "registered_model_version"]
NONE: Final = "NO_PERMISSIONS"
# Narrowest first. Nobody is declared to MANAGE anything: that is deleting, and giving rights to others.
RANKS: Final[tuple[Permission, ...]] = (NONE, "READ", "EDIT", "MANAGE")


class Thing(NamedTuple):
    """What MLflow grants permissions on; an experiment by its name."""

    kind: Kind
    name: str


# Descriptions and tags of versions. Without a permission here, the one on their model counts.
VERSIONS: Final = Thing("registered_model_version", "*")
DESCRIBE: Final = (names.VALIDATOR, names.APPROVER)
CANDIDATES: Final = (names.CHALLENGER,)
RELEASED: Final = (names.SHADOW, names.CHAMPION)


def writers(*problems: str) -> dict[Thing, frozenset[str]]:
    """Everything of some problems, and the roles that write it; every role may read all of it."""
    found: dict[Thing, frozenset[str]] = {}
    for problem in problems:
        for stage, role in names.SIGNERS.items():
            found[Thing("experiment", names.experiment(problem, stage))] = frozenset({role})
        for model, aliases in ((problem, CANDIDATES), (names.live(problem), RELEASED)):
            found[Thing("registered_model", model)] = frozenset(names.ALIAS_SIGNERS[alias] for alias in aliases)
    return found


def permissions(role: str, *problems: str) -> dict[Thing, Permission]:
    """What a role may do with everything of some problems, and with descriptions of versions."""
    found: dict[Thing, Permission] = {
        thing: "EDIT" if role in roles else "READ" for thing, roles in writers(*problems).items()
    }
    return found | {VERSIONS: "EDIT" if role in DESCRIBE else NONE}


def widest(roles: Iterable[str], *problems: str) -> dict[Thing, Permission]:
    """What somebody with several roles may do: the widest of each; nothing without a role."""
    found: dict[Thing, Permission] = dict.fromkeys((*writers(*problems), VERSIONS), NONE)
    for role in roles:
        granted = permissions(role, *problems)
        found = {thing: max(found[thing], granted[thing], key=RANKS.index) for thing in found}
    return found
