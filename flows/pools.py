"""Work pools of Prefect: one for each role that signs stages, and the desk's, whose flows sign nothing.

Runs of a flow go to one pool. Whoever has a role's key polls that role's pool: this machine, or another one.
"""

from tasks import keys
from tasks.domain import names

TYPE = "countersign"  # of pools and their workers
DESK = "desk"
FLOWS = {
    DESK: ("retrain",),
    names.STEWARD: ("collect",),
    names.TRAINER: ("train",),
    names.VALIDATOR: ("validate", "backtest", "promote", "approval"),
}
OF_PROBLEM = ("retrain", "collect", "train")  # flows that have a deployment for each problem; of others there is one
ANY = "any"
# What its deployments and runs may ask of a pool's worker: nothing. (The server wants each part to hold something.)
TEMPLATE = {"job_configuration": {"labels": {}}, "variables": {"type": "object", "properties": {}}}


def of(flow: str) -> str:
    return next(pool for pool, flows in FLOWS.items() if flow in flows)


def deployment(flow: str, problem: str) -> str:
    """The name of a flow's deployment, as Prefect's addresses have it."""
    return f"{flow}/{problem if flow in OF_PROBLEM else ANY}"


def is_here(pool: str) -> bool:
    """Whether this machine can do a pool's runs: it has the role's key."""
    return pool == DESK or keys.path_of(pool).exists()


def here() -> list[str]:
    """Pools whose runs this machine does."""
    return [pool for pool in FLOWS if is_here(pool)]


def elsewhere() -> list[str]:
    """Pools whose runs another machine does."""
    return [pool for pool in FLOWS if not is_here(pool)]
