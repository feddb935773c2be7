"""What the validator says of all nine families on real data, why, and what asking costs beside training.

Each family is a problem of its own, retrained by the command that users run, on the embedded data and on a panel of 404
names (both with the features that closes alone allow). Told are the verdict with the gates that failed, the figures it
rests on, and the seconds of the training and of the validation as their MLflow runs have them. A problem that searches
tries what the shipped one does; other families have their default parameters. Deep families need `make deep`. Prints a
table per panel, the slowest questions, and, as its last line, one JSON object.
"""

import json
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from families import Setting, over_panels, problem_file, retrain
from features import CHECKOUT

FIGURES = (
    "lockbox.rank_ic",
    "lockbox.adjusted_p_value",
    "lockbox.deflated_sharpe_ratio",
    "backtest.total_return",
    "backtest.sharpe_ratio",
    "backtest.max_drawdown",
)
HEAD = "    family   verdict  rank IC    adj. p    DSR    return  Sharpe   fall  train s  valid. s  ratio  failed"


def told(name: str) -> dict[str, Any]:
    """The signed verdict and figures of version 1, and the seconds of the stages that made them."""
    from tasks import candidates, evidence, ledger
    from tasks.domain import names

    found = candidates.candidate(name, 1)
    verdict = found.decision()
    figures = found.figures(names.VALIDATE) | found.figures(names.BACKTEST)

    def seconds(stage: str) -> float:
        run = ledger.client().get_run(evidence.read_statement(found.folder, stage).run_id).info
        return (run.end_time - run.start_time) / 1000

    blocked = [each for each in verdict["findings"] if (each["outcome"], each["severity"]) == ("fail", "block")]
    validation = json.loads(found.file(names.VALIDATE, names.VALIDATION))
    return {
        "accepted": verdict["accepted"],
        "failed": sorted({each["figure"] for each in blocked}),
        "figures": {figure: figures.get(figure, float("nan")) for figure in FIGURES},
        "train_s": seconds(names.TRAIN),
        "validate_s": seconds(names.VALIDATE),
        "questions": validation.get("seconds", {}),
    }


def report(family: str, found: dict[str, Any]) -> None:
    rank_ic, p, deflated, total, sharpe, deepest = (found["figures"][figure] for figure in FIGURES)
    print(
        f"{family:>10}  {'accepted' if found['accepted'] else 'refused':>8}  {rank_ic:+.4f}  {p:8.2g}  {deflated:5.2f}"
        f"  {total:+8.1%}  {sharpe:+.2f}  {deepest:6.1%}  {found['train_s']:7.1f}  {found['validate_s']:7.1f}"
        f"  {found['validate_s'] / found['train_s']:5.2f}  {', '.join(found['failed'])}",
        flush=True,
    )


def slowest(results: list[dict[str, Any]]) -> dict[str, float]:
    """Mean seconds of each question, slowest first."""
    spent = defaultdict[str, list[float]](list)
    for found in results:
        for question, seconds in found["questions"].items():
            spent[question].append(seconds)
    return {name: float(np.mean(each)) for name, each in sorted(spent.items(), key=lambda at: -np.mean(at[1]))}


def judged(setting: Setting, family: str, folder: Path) -> dict[str, Any]:
    path = problem_file(folder, setting, family)
    retrain(path, setting.data)
    return told(path.stem)


def main() -> None:
    results = over_panels(__doc__, ("price_only", "price_only"), HEAD, judged, report)
    every = [found for families in results.values() for found in families.values()]
    questions = slowest(every)
    print("\nMean seconds of each question, slowest first")
    for question, seconds in questions.items():
        print(f"{seconds:8.2f}  {question}")
    ratios = [found["validate_s"] / found["train_s"] for found in every]
    print(
        json.dumps(
            {
                "verdicts": len(every),
                "accepted": sum(found["accepted"] for found in every),
                "validation_over_training": {"median": float(np.median(ratios)), "largest": max(ratios)},
                "questions": questions,
                "table": results,
            }
        )
    )


if __name__ == "__main__":
    sys.path.insert(0, str(CHECKOUT))
    main()
