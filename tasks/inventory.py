"""What there is: problems, versions, decisions, aliases."""

from typing import Any

from tasks import configuration, evidence, ledger
from tasks.domain import names


def problems() -> list[dict[str, Any]]:
    """One row per problem: those in `problems/` and those with evidence."""
    return [row(name) for name in sorted({*evidence.problems(), *configuration.problem_names()})]


def row(name: str) -> dict[str, Any]:
    versions = ledger.versions(name)
    pointers = {
        f"{model}@{alias}": version
        for model in (name, names.live(name))
        for alias, version in ledger.aliases(model).items()
    }
    return {
        "problem": name,
        "versions": len(versions),
        "newest": f"{name}/{versions[-1].version}" if versions else "none",
        "decision": versions[-1].tags.get(names.TAG_DECISION, "none yet") if versions else "",
        "aliases": ", ".join(f"{alias} → {version}" for alias, version in sorted(pointers.items())),
    }
