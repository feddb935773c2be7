"""What figures that gates ask for mean, for people who trade and know no statistics. The one place that says so."""

import math
from typing import NamedTuple

# What a model should be able to say of itself, so that a tick means yes.
LOOKS_AHEAD = "It does not look ahead, or look answers up"
SKILL = "It is skilled, on sessions it had never seen"
LUCK = "It is more than luck"
EARNED = "It earns money after costs, as a desk could trade it"
CHAMPION = "It is no worse than what trades today"
CONDUCT = "It behaves as a model must"
SCENARIOS = "It bears it when the market turns against it"
ROBUST = "It holds up in other times and states"
DATA = "Today's data is like what it learned from"
OTHER = "Other tests"
# In the order in which they are read.
THEMES = (LOOKS_AHEAD, CONDUCT, SKILL, LUCK, CHAMPION, EARNED, ROBUST, SCENARIOS, DATA, OTHER)
BY_FAMILY = {
    "probe": LOOKS_AHEAD,
    "model": CONDUCT,
    "lockbox": SKILL,
    "trials": LUCK,
    "train": LUCK,
    "champion": CHAMPION,
    "backtest": EARNED,
    "robustness": ROBUST,
    "scenario": SCENARIOS,
    "drift": DATA,
    "data": DATA,
}
NUMBER, SHARE, COUNT, RATIO, GAP = "{:+.4f}", "{:.1%}", "{:,.0f}", "{:+.2f}", "{:.2g}"


class Words(NamedTuple):
    """A figure in words. `question`: what it answers; `meaning`: what it is, in one sentence; `failed`: what is wrong
    where its gate fails, as the end of "it was refused because …"; `form`: how its values are written; `theme`: under
    which heading it is read, that of its family where it is empty."""

    question: str
    meaning: str
    failed: str
    form: str = NUMBER
    theme: str = ""


GAP_MEANS = "Largest change of any score; zero is an honest model's answer."
ORDER_MEANS = "Largest share of a session's names that change places; zero is an honest model's answer."
WORDS = {
    "probe.truncation_gap": Words(
        "Are its scores the same when later prices are taken away?",
        GAP_MEANS,
        "its scores change when later prices are taken away: it uses the future",
        GAP,
    ),
    "probe.truncation_order": Words(
        "Is its ranking the same when later prices are taken away?",
        ORDER_MEANS,
        "its ranking changes when later prices are taken away: it uses the future",
        SHARE,
    ),
    "probe.perturbation_gap": Words(
        "Are its scores the same when later prices are altered?",
        GAP_MEANS,
        "its scores change when later prices are altered: it uses the future",
        GAP,
    ),
    "probe.perturbation_order": Words(
        "Is its ranking the same when later prices are altered?",
        ORDER_MEANS,
        "its ranking changes when later prices are altered: it uses the future",
        SHARE,
    ),
    "probe.repetition_gap": Words(
        "Asked twice, does it say the same?",
        GAP_MEANS,
        "asked twice about the same prices, it gives different scores",
        GAP,
    ),
    "probe.repetition_order": Words(
        "Asked twice, does it rank the same?",
        ORDER_MEANS,
        "asked twice about the same prices, it ranks the names differently",
        SHARE,
    ),
    "backtest.restart_gap": Words(
        "Started anew, does it say the same?",
        GAP_MEANS,
        "started anew, it gives different scores for the same prices",
        GAP,
    ),
    "backtest.restart_order": Words(
        "Started anew, does it rank the same?",
        ORDER_MEANS,
        "started anew, it ranks the names differently for the same prices",
        SHARE,
    ),
    "probe.renaming_gap": Words(
        "Are its scores the same when the names are hidden?",
        GAP_MEANS,
        "its scores depend on what the names are called: it may have learned the answers by heart",
        GAP,
    ),
    "probe.renaming_order": Words(
        "Is its ranking the same when the names are hidden?",
        ORDER_MEANS,
        "its ranking depends on what the names are called: it may have learned the answers by heart",
        SHARE,
    ),
    "probe.displacement_gap": Words(
        "Are its scores the same when the dates are hidden?",
        GAP_MEANS,
        "its scores depend on the date: it may have learned the answers by heart",
        GAP,
    ),
    "probe.displacement_order": Words(
        "Is its ranking the same when the dates are hidden?",
        ORDER_MEANS,
        "its ranking depends on the date: it may have learned the answers by heart",
        SHARE,
    ),
    "probe.rescaling_share": Words(
        "Are its scores the same after a stock split?",
        "Share of scores that change when prices are doubled or halved throughout, as splits do.",
        "a mere stock split would change its scores: it rests on how high prices are, not on how they move",
        SHARE,
    ),
    "probe.extra_rows_gap": Words(
        "Are its scores the same when names and days are added later?",
        GAP_MEANS,
        "its scores change when names and days are added later: it uses the future",
        GAP,
    ),
    "probe.extra_rows_order": Words(
        "Is its ranking the same when names and days are added later?",
        ORDER_MEANS,
        "its ranking changes when names and days are added later: it uses the future",
        SHARE,
    ),
    "probe.missing_names_kept": Words(
        "Does it still answer when a third of the names is missing?",
        "Share of the scores of the other names that are still there.",
        "when some names are missing it stops scoring the others",
        SHARE,
        CONDUCT,
    ),
    "probe.missing_fields_kept": Words(
        "Does it still answer when some prices lack a field?",
        "Share of the scores of the other names that are still there.",
        "when one name's prices lack a field it stops scoring the others",
        SHARE,
        CONDUCT,
    ),
    "probe.extreme_bars_kept": Words(
        "Does it still answer in extreme markets?",
        "Share of scores that are there when prices jump, stand still, or nothing is traded.",
        "when prices jump, stand still, or nothing is traded it stops scoring",
        SHARE,
        CONDUCT,
    ),
    "probe.missing_names_agreement": Words(
        "Does its ranking stay much the same when a third of the names is missing?",
        "Agreement of the rankings with and without them; 1 is the same, 0 unrelated.",
        "its ranking hangs on which other names are there",
        "{:.2f}",
        ROBUST,
    ),
    "probe.missing_fields_agreement": Words(
        "Does one name's missing price leave the others alone?",
        "Agreement of the rankings of names that nothing happened to; 1 is the same, 0 unrelated.",
        "what one name's prices lack moves the ranking of the others",
        "{:.2f}",
        ROBUST,
    ),
    "probe.extreme_bars_agreement": Words(
        "Does one name's wild price leave the others alone?",
        "Agreement of the rankings of names that nothing happened to; 1 is the same, 0 unrelated.",
        "one name's wild price moves the ranking of the others",
        "{:.2f}",
        ROBUST,
    ),
    "probe.extreme_bars_outside": Words(
        "Do its scores stay in their usual range in extreme markets?",
        "Share of scores that are beyond twice the usual range.",
        "in extreme markets its scores leave their usual range",
        SHARE,
        ROBUST,
    ),
    "model.faults": Words(
        "Does it do nothing but read prices and answer with scores, in time?",
        "Times that it did something else, such as opening a file, calling the network or never ending.",
        "it did something that no model may do",
        COUNT,
    ),
    "scenario.finite_share": Words(
        "Does it give scores in every scenario?",
        "Share of the scores that are there, in the scenario where it is lowest.",
        "it falls silent in at least one scenario",
        SHARE,
    ),
    "scenario.breaches": Words(
        "Does it keep to all limits in every scenario?",
        "Limits of falls, trading, exposure and scores that were exceeded in any scenario.",
        "it exceeds limits in some scenarios",
        COUNT,
    ),
    "scenario.worst_drawdown": Words(
        "Would a desk survive the worst scenario?",
        "Deepest fall from its highest value in the worst of all scenarios.",
        "in the worst scenario it falls further than any mandate bears",
        SHARE,
    ),
    "robustness.noise_rank_correlation": Words(
        "Does it rank the same when prices are off by next to nothing?",
        "Agreement of its rankings when prices are off by five hundredths of a per cent; 1 is the same.",
        "its ranking changes when prices are off by next to nothing",
        "{:.2f}",
    ),
    "robustness.surrogate_fidelity": Words(
        "Can a few words say what it does?",
        "Share of its ranking that a few simple rules repeat.",
        "no few words say what it does",
        SHARE,
    ),
    "robustness.explanation_concentration": Words(
        "Does it rest on more than one quantity?",
        "Share of its ranking that is due to one simple quantity.",
        "it is nearly one single quantity",
        SHARE,
    ),
    "robustness.explanation_stability": Words(
        "Does what leads it early lead it late as well?",
        "Agreement of what matters in one half of the sessions and in the other; 1 is the same.",
        "what leads it in one half of the time does not lead it in the other",
        "{:.2f}",
    ),
    "robustness.complexity_justified": Words(
        "Is it as simple as it can be?",
        "1 where no simpler kind of model came close, 0 where one did or none was tried.",
        "a simpler kind of model came close, or none was tried",
        COUNT,
    ),
    "robustness.sense_violations": Words(
        "Does it move the way that its owner says it must?",
        "Quantities with which its scores move the other way.",
        "it moves the wrong way with quantities whose direction its owner fixed",
        COUNT,
    ),
    "probe.score_latency_ms": Words(
        "Does it answer in time?",
        "Milliseconds that a new session takes to be scored; 99 of 100 answers came faster.",
        "it takes longer to score a new session than the desk has time for",
        "{:,.1f}",
        CONDUCT,
    ),
    "lockbox.sessions": Words(
        "Was it watched for long enough?",
        "Sessions kept back from its training, on which it is judged.",
        "it was watched for too few unseen sessions to tell luck from skill",
        COUNT,
    ),
    "lockbox.instruments": Words(
        "Does it score only as many names as allowed?",
        "Names that it gave a score on the unseen sessions.",
        "it scores more names than the problem allows",
        COUNT,
        CONDUCT,
    ),
    "lockbox.instruments_outside_list": Words(
        "Does it score only names on the list?",
        "Names that it gave a score though the problem does not list them.",
        "it scores names that are not on the problem's list",
        COUNT,
        CONDUCT,
    ),
    "lockbox.score_coverage": Words(
        "Does it have an opinion on nearly every name, every day?",
        "Share of the unseen prices for which it gave a score.",
        "on too many names and days it gives no score at all",
        SHARE,
    ),
    "lockbox.rank_ic": Words(
        "Does its ranking match what happened well enough?",
        "Rank IC: 0 is guessing, 1 would be a perfect ranking; 0.02 to 0.05 is usual for a good model.",
        "its ranking matches what happened less well than is asked",
    ),
    "lockbox.rank_ic_lower": Words(
        "Does its ranking beat chance?",
        "The cautious end of its rank IC: the true value lies above it with about 97 % certainty; 0 is guessing.",
        "its ranking of names cannot be told from guessing",
    ),
    "lockbox.rank_ic_surprise": Words(
        "Is it no better on unseen sessions than its training promised?",
        "By how many standard errors it does better than promised; far better means that it has seen them.",
        "it does far better on the unseen sessions than its training promised, as if it had seen them",
        "{:+.1f}",
        LOOKS_AHEAD,
    ),
    "lockbox.auc_lower": Words(
        "Does it tell better names from worse ones?",
        "The cautious end of how often it puts the better of two names first; a coin does so in 50 %.",
        "it may tell better names from worse ones no more often than a coin",
        SHARE,
    ),
    "lockbox.positive_years_share": Words(
        "Was it right in most years?",
        "Share of calendar years in which its ranking was better than guessing.",
        "its ranking was better than guessing in too few years, so it may owe all to one lucky stretch",
        SHARE,
        ROBUST,
    ),
    "lockbox.rank_ic_late_1": Words(
        "Is it still worth something a session later?",
        "Rank IC of scores that are acted on a session late; 0 is guessing.",
        "a session later its scores are worth nothing, so nobody who is held up can trade it",
        NUMBER,
        ROBUST,
    ),
    "lockbox.residual_rank_ic_lower": Words(
        "Does it know more than well-known rules of thumb?",
        "The cautious end of the rank IC that is left without momentum, reversal, volatility and beta.",
        "without well-known rules of thumb (momentum, reversal, volatility, beta) nothing may be left of its skill",
    ),
    "lockbox.explained_by_factors": Words(
        "Is it more than a well-known rule of thumb under another name?",
        "Share of its scores that momentum, reversal, volatility and beta explain.",
        "it is mostly a well-known rule of thumb (momentum, reversal, volatility, beta) under another name",
        SHARE,
    ),
    "lockbox.hit_rate": Words(
        "Is it right more often than a coin?",
        "Share of names that it put in the right half of the ranking.",
        "it puts names in the right half of the ranking less often than a coin would",
        SHARE,
    ),
    "lockbox.precision_lift": Words(
        "Are its favourites winners more often than random picks?",
        "How many times as often as random picks its favourites were among the best third.",
        "its favourites are winners less often than names picked at random",
        "{:.2f}",
    ),
    "lockbox.sharpe_ratio": Words(
        "Does it earn enough for its ups and downs?",
        "Sharpe ratio a year after costs: profit over its swings; above 1 is good, above 3 is rare.",
        "it earns too little for its ups and downs",
        RATIO,
    ),
    "lockbox.deflated_sharpe_ratio": Words(
        "Is its profit more than the luckiest of many tries?",
        "Probability that its profit for its swings is more than the best of as many worthless tries would show.",
        "its profit could be no more than the luckiest of the models that were tried",
        SHARE,
        LUCK,
    ),
    "lockbox.adjusted_p_value": Words(
        "Is its skill more than chance?",
        "Probability that they would, after every look at these sessions was paid for; small is good.",
        "scores without any skill could rank as well by chance",
        "{:.4f}",
        LUCK,
    ),
    "trials.candidates_unreadable": Words(
        "Can the records of all earlier models be read?",
        "Earlier models whose records of trials cannot be read; they count as tries all the same.",
        "records of earlier models cannot be read, so more may have been tried than is known",
        COUNT,
    ),
    "trials.probability_of_overfitting": Words(
        "Would the model chosen still be a good choice on other data?",
        "Probability that the best model in one half of history falls behind most others in the other half.",
        "the model that looks best in one half of history is too often among the worse ones in the other",
        SHARE,
    ),
    "trials.superiority_p_value": Words(
        "Is the best model tried better than holding cash?",
        "Probability that the best of as many worthless models would do as well; small is good.",
        "the best of the models tried may be no better than holding cash",
        "{:.3f}",
    ),
    "champion.rank_ic_difference_lower": Words(
        "Is it about as skilled as today's champion, or more?",
        "The cautious end of how much its rank IC exceeds the champion's on the same sessions.",
        "it may well be worse than the champion that trades today",
    ),
    "champion.cumulative_distance": Words(
        "Is it still like the last champion that was fully validated?",
        "How far small steps have led from it: 0 is the same ranking, 1 an unrelated one.",
        "small steps have led to another model than the last champion that was fully validated",
        "{:.2f}",
    ),
    "backtest.total_return": Words(
        "Did it earn money after costs?",
        "What was earned on the unseen sessions, after all costs.",
        "it lost money after costs",
        "{:+.1%}",
    ),
    "backtest.sharpe_ratio": Words(
        "Did it earn enough for its ups and downs?",
        "Sharpe ratio a year after costs: profit over its swings; above 1 is good, above 3 is rare.",
        "it earned too little for its ups and downs",
        RATIO,
    ),
    "backtest.max_drawdown": Words(
        "Were its falls small enough to bear?",
        "Deepest fall from its highest value on the unseen sessions.",
        "it fell further from its highest value than a desk can bear",
        SHARE,
    ),
    "backtest.turnover": Words(
        "Does it trade no more than its costs are known for?",
        "How many times a year the whole book is exchanged.",
        "it trades so much that its costs can no longer be believed",
        "{:,.1f}",
    ),
    "backtest.engine_gap_bp": Words(
        "Do two separate calculations of its profit agree?",
        "Largest difference between two backtest engines written apart, in hundredths of a per cent.",
        "two separate calculations of its profit disagree, so neither can be believed",
        GAP,
    ),
}


def theme_of(figure: str) -> str:
    """Under which heading a figure is read."""
    known = WORDS.get(figure)
    return (known and known.theme) or BY_FAMILY.get(figure.partition(".")[0], OTHER)


def words_of(figure: str) -> Words:
    """A figure in words; one that has none here is called by its own name."""
    plain = figure.partition(".")[2].replace("_", " ") or figure
    return WORDS.get(figure) or Words(plain, "", f"{plain} is not as it must be", "{:.4g}", theme_of(figure))


def written(figure: str, value: float | None) -> str:
    """A value of a figure as people read it; tiny ones that are shares keep their digits."""
    if value is None or not math.isfinite(value):
        return "missing"
    form = words_of(figure).form
    told = form.format(value)
    return f"{value:.2g}" if value and form != GAP and not any(digit in told for digit in "123456789") else told
