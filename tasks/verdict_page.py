"""The page on which a trader reads a verdict: one HTML file that opens offline, made from signed files alone.

Its first screen says what the model does, why it was accepted or refused, and what would hurt it. Below is every gate,
and whatever the reports hold: tables that this page does not know are shown as they are.
"""

import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any, NamedTuple
from urllib.parse import quote

from tasks import evidence, ledger
from tasks.candidates import Candidate
from tasks.domain import names
from tasks.domain.figure_words import THEMES, theme_of, words_of, written
from tasks.domain.gates import evidence_of, word
from tasks.domain.verdict_words import ROW_TITLES, Plain, named_rows, plain_words, reason
from tasks.pages import assembled, bullets, cell, kind, picture, section, table, text

BEFORE = (names.COLLECT, names.TRAIN, names.VALIDATE, names.BACKTEST)
EQUITY = "equity.png"
# Pictures that are worth a place, by stage; of the validation every one is.
SHOWN = {
    names.BACKTEST: ("drawdown.png", "sensitivity.png", "luck.png", "states.png"),
    names.TRAIN: ("importance.png",),
}
# What the page tells elsewhere, or what is no matter for people.
TOLD = (
    *("model", "candidate", "figures", "not_computable", "probes", "strategy", "bootstrap_block_sessions"),
    *("seconds", "walls"),
)
TITLES = {
    "sensitivity": "Had it cost more, or come later",
    "years": "Year by year",
    "scenarios": "What if: scenarios",
    "fault": "What it did that no model may",
    "robustness": "How firmly it stands, and what it mostly does",
    "yardsticks": "How accurate it is, by every yardstick",
    "rank_ic_by_state": "When and where its ranking is worth something",
    "rank_ic_by_horizon": "How far ahead it sees",
    "rank_ic_when_late": "What it is worth when acted on late",
    "known_factors": "What well-known rules of thumb explain of it",
    "champion": "Against the champion",
    "instruments_outside_list": "Scored, though not on the problem's list",
    "lockbox_starts": "The unseen sessions start on",
    "engines_differ": "Where the two calculations of its profit part",
    "third_opinion": "What a third calculation says",
}
PROBES = {
    "truncation": "Later prices taken away",
    "perturbation": "Later prices altered",
    "repetition": "Asked again, rows in another order",
    "renaming": "Every name hidden behind another",
    "displacement": "Everything ten years earlier",
    "extra_rows": "Names and days added later",
}
COUNTED = {
    "passed": "tests passed",
    "failed": "failed",
    "failed, waived": "failed and waived",
    "warning": "warned",
    "does not apply": "did not apply",
}
SAME = ("scores are the same", "scores are kept")
NEXT_TO_NOTHING = 1e-6
PERCENT = ("return", "drawdown", "benchmark", "share", "volatility", "coverage")


class Signed(NamedTuple):
    """One stage's link: who signed it, in which run, what it put out (SHA-256 by name), and its files' folder as seen
    from the page."""

    stage: str
    role: str
    run: str
    products: Mapping[str, str]
    folder: str


class Told(NamedTuple):
    """All that the page is made of. `decision`, `validation`, `backtest`: as they were signed; `pictures`: PNG bytes by
    stage and file; `is_signed`: the page itself will be; `trials`: of the candidate, as its trainer signed them."""

    title: str
    universe: str
    decision: Mapping[str, Any]
    plain: Plain
    validation: Mapping[str, Any] = {}
    backtest: Mapping[str, Any] = {}
    pictures: Mapping[tuple[str, str], bytes] = {}
    signed: Sequence[Signed] = ()
    is_signed: bool = False
    trials: Mapping[str, Any] = {}


# --- from signed files --------------------------------------------------------------------------------------


def plain(found: Candidate, decision: Mapping[str, Any]) -> Plain:
    """A verdict in plain words."""
    trials = report(found, names.TRAIN, names.TRIALS)
    family = str(trials["trials"][trials["chosen"]]["family"])
    validation, backtest = (report(found, stage, names.REPORTS[stage]) for stage in (names.VALIDATE, names.BACKTEST))
    return plain_words(found.problem(), family, decision, validation, backtest)


def words(found: Candidate, decision: Mapping[str, Any]) -> Plain:
    """Those that were signed with a decision; one from before there were any has them made anew."""
    told = decision.get("in_plain_words")
    return Plain(**told) if told else plain(found, decision)


def report(found: Candidate, stage: str, name: str) -> dict[str, Any]:
    return dict(json.loads(found.file(stage, name)))


def run_links(found: Candidate) -> dict[str, str]:
    """The runs behind a candidate, as links inside MLflow's pages."""
    return {each: ledger.run_link(evidence.read_statement(found.folder, each).run_id) for each in BEFORE}


def page(found: Candidate, decision: Mapping[str, Any], run: str, is_signed: bool) -> str:
    """The page for a decision; `run` holds the decision, and the page too where that is signed with it.

    Raises:
        VerificationFailed: a file is not what was signed.
    """
    problem, own = found.problem(), ledger.run_folder(run)
    signed = []
    for stage in BEFORE:
        statement = evidence.read_statement(found.folder, stage)
        folder = os.path.relpath(ledger.run_folder(statement.run_id), own)
        signed.append(Signed(stage, names.SIGNERS[stage], statement.run_id, statement.products, quote(folder)))
    return assemble(
        Told(
            f"Verdict on {found.reference}: {problem.title}",
            problem.universe,
            decision,
            words(found, decision),
            report(found, names.VALIDATE, names.VALIDATION),
            report(found, names.BACKTEST, names.BACKTEST_REPORT),
            {(each.stage, name): found.file(each.stage, name) for each in signed for name in wanted(each)},
            signed,
            is_signed,
            report(found, names.TRAIN, names.TRIALS),
        )
    )


def wanted(signed: Signed) -> list[str]:
    """A stage's pictures that the page shows, of those that it signed."""
    held = sorted(name.removeprefix(f"{signed.stage}/") for name in signed.products if name.endswith(".png"))
    if signed.stage == names.VALIDATE:
        return held
    chosen = (EQUITY, *SHOWN[signed.stage]) if signed.stage == names.BACKTEST else SHOWN.get(signed.stage, ())
    return [name for name in chosen if name in held]


# --- the page -----------------------------------------------------------------------------------------------


def assemble(told: Told) -> str:
    return assembled(
        told.title,
        [
            first_screen(told),
            section("Every test", gates(told)),
            waivers(told.decision),
            section("Asked as a black box", probes(told.validation)),
            section("The unseen sessions", drawn(told, names.VALIDATE) + tables(told.validation)),
            section("The backtest, after costs", drawn(told, names.BACKTEST) + tables(told.backtest)),
            section("What was tried", trials(told)),
            section("Who signed what", signatures(told)),
        ],
        STYLE,
    )


def first_screen(told: Told) -> str:
    plain = told.plain
    equity = told.pictures.get((names.BACKTEST, EQUITY))
    shown = picture(EQUITY, equity) if equity else text("There is no picture of what it earned.", "quiet")
    return (
        f'<header><h1>{escape(told.title)}</h1>{badge(told.decision)}<div class="screen"><div>'
        f"<h3>What it does</h3>{text(plain.does)}"
        f"<h3>Why it was {escape(outcome(told.decision))}</h3>{text(plain.why)}{bullets(plain.reasons)}"
        f"<h3>What would hurt it</h3>{bullets(plain.hurts) if plain.hurts else text('Not known.', 'bad')}"
        f"</div><div>{in_figures(told)}{shown}{themes(told.decision)}</div></div></header>"
    )


def outcome(decision: Mapping[str, Any]) -> str:
    return word(decision["accepted"], decision.get("waived", []))


def badge(decision: Mapping[str, Any]) -> str:
    said = outcome(decision)
    style = {"accepted": "yes", "refused": "no"}.get(said, "but")
    mark = {"yes": "✓", "no": "✗", "but": "!"}[style]
    counts = Counter(state(each)[1].removeprefix(f"{state(each)[1][0]} ") for each in decision["findings"])
    tests = ", ".join(f"{counts[name]} {said}" for name, said in COUNTED.items() if counts[name])
    return f'<p class="badge {style}"><b>{mark} {escape(said.upper())}</b> <span>{escape(tests)}</span></p>'


def themes(decision: Mapping[str, Any]) -> str:
    """A line for each thing that was tested: how many of its tests passed."""
    lines = []
    for theme in THEMES:
        of_theme = [each for each in decision["findings"] if theme_of(each["figure"]) == theme]
        states = [state(each)[0] for each in of_theme if each["outcome"] != "not applicable"]
        if of_theme:
            style = next((each for each in ("no", "but", "yes") if each in states), "na")
            count = f"{states.count('yes')} of {len(states)}" if states else "not asked"
            mark = {"no": "✗", "but": "!", "yes": "✓", "na": "–"}[style]
            lines.append(f'<div class="{style}"><b>{mark} {count}</b> {escape(theme)}</div>')
    return f'<div class="themes">{"".join(lines)}</div>'


def in_figures(told: Told) -> str:
    figures = {**told.validation.get("figures", {}), **told.backtest.get("figures", {})}
    ratio, error = figures.get("backtest.sharpe_ratio"), figures.get("backtest.sharpe_ratio_error")
    apart = "–" if ratio is None else f"{ratio:+.2f}" + ("" if error is None else f" ± {error:.2f}")
    lines = [
        ("return after costs", percent(figures.get("backtest.total_return"), "+")),
        ("deepest fall on the way", percent(figures.get("backtest.max_drawdown"), "")),
        ("Sharpe ratio (1 is good)", apart),
    ]
    cells = "".join(f"<div><b>{escape(value)}</b><span>{escape(name)}</span></div>" for name, value in lines)
    return f'<div class="key">{cells}</div>'


def percent(value: float | None, sign: str) -> str:
    return "–" if value is None else f"{value:{sign}.1%}"


def gates(told: Told) -> str:
    links = {each.stage: each for each in told.signed}
    head = "".join(
        f"<th>{name}</th>" for name in ("", "question", "figure", "interval", "must be", "in words", "evidence")
    )
    rows = []
    for theme in THEMES:
        found = [each for each in told.decision["findings"] if theme_of(each["figure"]) == theme]
        if found:
            rows.append(f'<tr><th colspan="7" class="theme">{escape(theme)}</th></tr>')
            rows += [gate(each, links) for each in found]
    note = "A test that blocks refuses the model where it fails; one that warns is only told. Intervals hold the true "
    note += "value with about 95 % certainty. What is missing fails."
    return text(note, "quiet") + f'<div class="wide"><table class="gates"><tr>{head}</tr>{"".join(rows)}</table></div>'


def gate(found: Mapping[str, Any], links: Mapping[str, Signed]) -> str:
    figure = found["figure"]
    severity = "blocks" if found["severity"] == "block" else "warns"
    owner = ", asked by the problem itself" if found["source"] == "problem" else ""
    question = f'{escape(words_of(figure).question)}<br><span class="name">{escape(figure)} · {severity}{owner}</span>'
    style, said = state(found)
    value = "–" if found["outcome"] == "not applicable" else written(figure, found["value"])
    cells = [
        (style, escape(said)),
        ("", question),
        ("number", escape(value)),
        ("number", escape(interval(found))),
        ("number", escape(threshold(figure, found["threshold"]))),
        ("", escape(reason(found)) + escape(borne(found))),
        ("name", source(found, links)),
    ]
    return "<tr>" + "".join(f'<td class="{kind}">{content}</td>' for kind, content in cells) + "</tr>"


def state(found: Mapping[str, Any]) -> tuple[str, str]:
    if found["outcome"] == "not applicable":
        return "na", "– does not apply"
    if found["outcome"] == "pass":
        return "yes", "✓ passed"
    if found.get("waived"):
        return "but", "✗ failed, waived"
    return ("no", "✗ failed") if found["severity"] == "block" else ("but", "! warning")


def borne(found: Mapping[str, Any]) -> str:
    waived = found.get("waived")
    return f" Waived until {waived['until']} by {waived['by']}: {waived['reason']}" if waived else ""


def interval(found: Mapping[str, Any]) -> str:
    lower, upper = (found.get(end) for end in ("lower", "upper"))
    figure = found["figure"]
    if lower is None:
        return "" if upper is None else f"up to {written(figure, upper)}"
    return f"from {written(figure, lower)}" + ("" if upper is None else f" to {written(figure, upper)}")


def threshold(figure: str, told: str) -> str:
    """A threshold as the figure's values are written."""
    parts = []
    for part in told.split(" and "):
        sign, _, number = part.partition(" ")
        value = float(number)
        if 0 < abs(value) < NEXT_TO_NOTHING:
            parts.append(f"next to 0 ({value:g})")
            continue
        shown = "0" if value == 0 else written(figure, value).removeprefix("+").replace(".0%", "%")
        parts.append(f"{'at least' if sign == '≥' else 'at most'} {shown}")
    return " and ".join(parts)


def source(found: Mapping[str, Any], links: Mapping[str, Signed]) -> str:
    """Stage, run and file; the link works as long as the page lies in the state folder."""
    told = found.get("evidence") or evidence_of(found["figure"]).model_dump()
    signed = links.get(told["stage"])
    if signed is None:
        return ""
    file = escape(told["file"])
    return f'<a href="{escape(signed.folder)}/{file}">{file}</a><br>run {escape(signed.run[:8])}'


def waivers(decision: Mapping[str, Any]) -> str:
    given = [each["waived"] for each in decision["findings"] if each.get("waived")]
    if not given:
        return ""
    head = ["test", "waived until", "by", "because", "entry of the journal"]
    order = ("until", "by", "reason", "entry")
    lines = [[(words_of(each["figure"]).question, ""), *((each[name], "") for name in order)] for each in given]
    return section("Waivers: failures that a person signed for", table(head, lines))


def probes(validation: Mapping[str, Any]) -> str:
    told = validation.get("probes", {})
    if not told:
        return text("Nothing is known of this.", "bad")
    lines = [[(PROBES.get(name, title_of(name)), ""), (words, answered(name, words))] for name, words in told.items()]
    return text("An honest model answers each of these as it did before.", "quiet") + table(["asked", "answer"], lines)


def answered(name: str, words: str) -> str:
    """Mishaps may move scores a little; what an honest model is sure to keep may not change at all."""
    return "good" if words in SAME else "bad" if name in PROBES else ""


def drawn(told: Told, stage: str) -> str:
    held = [(name, content) for (of, name), content in told.pictures.items() if of == stage and name != EQUITY]
    return f'<div class="pictures">{"".join(picture(name, content) for name, content in held)}</div>' if held else ""


def tables(report: Mapping[str, Any]) -> str:
    """Whatever a report holds besides its figures, as tables and lines; what is empty is left out."""
    if not report:
        return text("Nothing is known of this.", "bad")
    return "".join(
        shown(name, told) for name, told in report.items() if name not in TOLD and told not in (None, [], {})
    )


def shown(name: str, told: Any) -> str:
    title = f"<h3>{escape(title_of(name))}</h3>"
    if rows := named_rows(told):
        if isinstance(told, Mapping) and len(rows) < len(told):  # a mapping of this and that
            return title + "".join(shown(key, part) for key, part in told.items() if part not in (None, [], {}))
        if all(isinstance(value, Mapping | list) for _, row in rows for value in row.values()):
            return title + "".join(shown(key, row) for key, row in rows)
        counted = isinstance(told, list)  # rows that nothing names are numbered, which tells nobody anything
        named = [("" if counted and key.isdigit() else key.replace("_", " "), flat(row)) for key, row in rows]
        return title + rows_table(named)
    if isinstance(told, Mapping):
        return title + table(
            [], [[(title_of(str(key)), ""), (value_of(str(key), value), kind(value))] for key, value in told.items()]
        )
    if isinstance(told, list):
        return title + bullets([cell(each) for each in told])
    return text(f"{title_of(name)}: {cell(told)}")


def flat(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row without rows in it: its figures are columns, limits are left out, and what is a list is joined."""
    plain = {name: value for name, value in row.items() if not isinstance(value, Mapping | list)}
    lists = {name: ", ".join(map(str, value)) for name, value in row.items() if isinstance(value, list)}
    return {**plain, **row.get("figures", {}), **lists}


def rows_table(rows: Sequence[tuple[str, Mapping[str, Any]]]) -> str:
    columns = list(dict.fromkeys(name for _, row in rows for name in row if name not in ROW_TITLES))
    lines = [
        [(title, ""), *((value_of(name, row.get(name)), tone(row.get(name))) for name in columns)]
        for title, row in rows
    ]
    return table(["", *(name.replace("_", " ") for name in columns)], lines)


def title_of(name: str) -> str:
    plain = name.replace("_", " ")
    return TITLES.get(name, f"{plain[:1].upper()}{plain[1:]}")


def value_of(name: str, value: Any) -> str:
    if isinstance(value, float):
        if any(part in name for part in PERCENT) and "correlation" not in name:
            return f"{value:+.2%}" if "return" in name else f"{value:.2%}"
        return f"{value:,.0f}" if value == int(value) and abs(value) >= 10 else f"{value:.4g}"
    return cell(value)


def tone(value: Any) -> str:
    return "number bad" if isinstance(value, int | float) and value < 0 else kind(value)


def trials(told: Told) -> str:
    tried = told.trials.get("trials", [])
    if not tried:
        return text("Nothing is known of this.", "bad")
    figures = told.validation.get("figures", {})
    counted, looks = figures.get("lockbox.trials"), figures.get("lockbox.looks")
    said = f"{len(tried)} models were tried for this one; {told.trials.get('reason', '')}."
    if counted is not None:
        said += f" {counted:,.0f} were ever tried for this problem; the more there were, the better the best must be."
    if looks is not None:
        said += f" These unseen sessions have been looked at by {looks:,.0f} candidate{'s' if looks > 1 else ''}."
    return text(said) + drawn(told, names.TRAIN)


def signatures(told: Told) -> str:
    head = ["stage", "signed by the", "MLflow run", "what", "SHA-256"]
    lines: list[Sequence[tuple[Any, str]]] = [
        [(each.stage, ""), (each.role, ""), (each.run, "code"), (name, ""), (digest, "code")]
        for each in told.signed
        for name, digest in important(each)
    ]
    decision = told.decision
    whole = "with the decision by the validator" if told.is_signed else "by nobody: it was made later, of signed files"
    said = f"This page is signed {whole}. “countersign verify {decision['model']}” checks everything again, "
    said += "from the delivered data on."
    facts = [
        [("candidate", ""), (decision["candidate"], "code")],
        [("gates", ""), (f"{decision['policy']}, tier {decision.get('tier', 'full')}", "")],
        [("SHA-256 of the gates", ""), (decision["policy_sha256"], "code")],
        [("problem version", ""), (decision["problem_version"], "")],
        [("criteria changed", ""), ("; ".join(decision["changed_criteria"]) or "none", "")],
        [("decided on", ""), (decision.get("decided_on", "not recorded"), "")],
        [("decided before", ""), (decision.get("supersedes") or "no", "code")],
        [("universe", ""), (told.universe, "")],
        [("in short", ""), (decision["summary"], "")],
    ]
    return text(said) + table([], facts) + table(head, lines)


def important(signed: Signed) -> Iterator[tuple[str, str]]:
    """A stage's reports and the model, not its pictures and pages."""
    for name, digest in sorted(signed.products.items()):
        is_report = name.endswith(("MLmodel", ".json")) and "/artifacts/" not in name and "example" not in name
        if is_report or name in (names.DEVELOPMENT, names.LOCKBOX):
            yield name, digest


STYLE = """
body{max-width:76rem;margin-top:1rem}h1{font-size:1.3rem;margin:.2rem 0}header{border-bottom:1px solid #e2e8f0}
.screen{display:grid;grid-template-columns:1.15fr 1fr;gap:0 1.6rem}.screen p{margin:.15rem 0 .5rem}
.screen h3{margin:.7rem 0 .1rem;font-size:1rem}.screen img{margin:.6rem 0}
.badge{margin:.3rem 0;padding:.35rem .9rem;border-radius:4px;color:#fff;display:flex;align-items:baseline;gap:1rem}
.badge b{font-size:1.5rem;letter-spacing:.03em}
p.yes{background:#276749}p.no{background:#c53030}p.but{background:#975a16}
.screen ul{margin:.1rem 0}.pictures{display:grid;grid-template-columns:1fr 1fr;gap:0 1.6rem;align-items:start}
.themes{font-size:14px;margin:.6rem 0}
.themes b{display:inline-block;min-width:5.2rem}.themes .yes b{color:#276749}.themes .no{color:#c53030}
.themes .but{color:#975a16}.themes .na{color:#718096}
.key{display:grid;grid-template-columns:repeat(3,1fr);gap:.6rem;margin-top:.7rem}
.key div{background:#f7fafc;padding:.4rem .7rem}
.key b{font-size:1.2rem;display:block;font-variant-numeric:tabular-nums}
.key span,.name{color:#4a5568;font-size:12px}.gates td.yes{color:#276749;white-space:nowrap}
.gates td.no{color:#c53030;font-weight:600;white-space:nowrap}.gates td.but{color:#975a16;font-weight:600}
.gates td.na{color:#718096;white-space:nowrap}.theme{padding-top:1rem;font-size:14px}.gates .number{white-space:nowrap}
"""
