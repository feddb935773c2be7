"""Great Expectations over tables too large to be handed to it whole: exact results within bounded memory.

A result is made of metrics. How each is made exact for the whole table:
- counts of row-wise expectations (rows, missing, unexpected) are additive: taken slice by slice and added up; the
  expectation itself then judges the totals, so that `mostly` means the share of the whole table;
- uniqueness needs equal keys side by side: a table in the order of its key, or of time alone, is cut only between
  different keys or times; any other table is dealt out by the hash of its keys, so that equal keys fall into one part;
- what depends on the set of values alone (their number, the smallest, the largest) gets that set;
- rows and columns of the table are known without looking at any value;
- all else gets its columns whole.
Great Expectations only ever receives the columns that an expectation names.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import polars as pl

from tasks.domain.bars import KEY, KEY_FALLS, codes_of
from tasks.suites import COUNTED, Suite

SLICE = 1_000_000
EXAMPLES = 5
FORMAT = {"result_format": "SUMMARY", "partial_unexpected_count": EXAMPLES}
ROW_WISE = frozenset(
    {
        "expect_column_values_to_not_be_null",
        "expect_column_values_to_be_null",
        "expect_column_values_to_be_between",
        "expect_column_values_to_be_in_set",
        "expect_column_values_to_not_be_in_set",
        "expect_column_values_to_match_regex",
        "expect_column_values_to_not_match_regex",
        "expect_column_value_lengths_to_be_between",
        "expect_column_pair_values_a_to_be_greater_than_b",
        "expect_column_pair_values_to_be_equal",
    }
)
# Text is judged once for each distinct value of a slice, and counted as often as it occurs.
OF_TEXT = frozenset(kind for kind in ROW_WISE if re.search("in_set|regex|lengths", kind))
UNIQUE = frozenset({"expect_compound_columns_to_be_unique", "expect_column_values_to_be_unique"})
OF_DISTINCT = frozenset(
    {
        "expect_column_unique_value_count_to_be_between",
        "expect_column_distinct_values_to_be_in_set",
        "expect_column_distinct_values_to_contain_set",
        "expect_column_distinct_values_to_equal_set",
        "expect_column_min_to_be_between",
        "expect_column_max_to_be_between",
    }
)
ADDED = ("unexpected_count", "filtered_row_count", "row_count")
LISTED = ("unexpected_values", "unexpected_index_list")
KNOWN = ("table.row_count", "table.columns")


class CannotBeAnswered(Exception):
    """The table makes it impossible to evaluate an expectation: a column is absent, or of another type."""


class Part(NamedTuple):
    """Some rows of a table, and the place of each in it."""

    rows: pl.DataFrame
    places: pd.Index


class Frames:
    """A part's columns as Great Expectations reads them; each is converted once, without a copy where possible."""

    def __init__(self, part: Part) -> None:
        self.part = part
        self._columns: dict[str, pd.Series] = {}

    def __getitem__(self, name: str) -> pd.Series:
        if name not in self._columns:
            self._columns[name] = as_pandas(self.part.rows[name], self.part.places)
        return self._columns[name]

    def values(self, columns: Sequence[str], metrics: Iterable[Any]) -> dict[Any, Any]:
        """The metrics over these columns, by the metrics' ids; one that can't be computed is a CannotBeAnswered."""
        return resolved(pd.DataFrame({name: self[name] for name in columns}, copy=False), metrics)


def plain(value: Any) -> Any:
    """An example as plain Python, which reads well on a page: 1.5, not np.float64(1.5)."""
    if isinstance(value, tuple):
        return tuple(plain(each) for each in value)
    return value.item() if isinstance(value, np.generic) else value


class Question:
    """One expectation of a table, and what its metrics come to so far."""

    def __init__(self, expectation: Any, table: pl.DataFrame) -> None:
        self.expectation = expectation
        self.kind: str = expectation.configuration.type
        self.found: dict[str, Any] = {}
        self.fault: CannotBeAnswered | None = None
        needs = expectation.get_validation_dependencies(runtime_configuration={"result_format": FORMAT})
        self.metrics: dict[str, Any] = dict(needs.metric_configurations)
        self.listed = [name for name in self.metrics if name.endswith(LISTED)]
        self.counted = [name for name in self.metrics if not name.endswith((*LISTED, "index_query"))]
        self.table, self.columns = table, []
        try:
            self.table, self.columns = subject(expectation.configuration.kwargs, table, set(self.metrics) <= set(KNOWN))
        except CannotBeAnswered as fault:
            self.fault = fault

    @property
    def judges_text(self) -> bool:
        kwargs = self.expectation.configuration.kwargs
        plain = self.kind in OF_TEXT and len(self.columns) == 1 and not kwargs.get("row_condition")
        return plain and self.table.schema[self.columns[0]] in (pl.String, pl.Categorical, pl.Enum)

    def wanted(self) -> list[Any]:
        return [self.metrics[name] for name in self.counted]

    def take(self, frames: Frames, values: dict[Any, Any]) -> None:
        """Add what a part of the table has to say; a fault ends the question, not the suite."""
        try:
            counts = self.weigh(frames) if self.judges_text else self.pick(self.counted, values)
            for name, value in counts.items():
                self.found[name] = self.found.get(name, 0) + value if name.endswith(ADDED) else value
            if self.lacks_examples(counts):
                listed = frames.values(self.columns, [self.metrics[name] for name in self.listed])
                for name, examples in self.pick(self.listed, listed).items():
                    self.found[name] = [*self.found.get(name, ()), *map(plain, examples)][:EXAMPLES]
        except CannotBeAnswered as fault:
            self.fault = fault

    def pick(self, names: Iterable[str], values: dict[Any, Any]) -> dict[str, Any]:
        picked = {name: values[self.metrics[name].id] for name in names}
        for value in picked.values():
            if isinstance(value, CannotBeAnswered):
                raise value
        return picked

    def lacks_examples(self, counts: dict[str, Any]) -> bool:
        """Whether the part holds examples of what was not expected, and more of them are wanted."""
        if not self.listed or len(self.found.get(self.listed[0], ())) >= EXAMPLES:
            return False
        return bool(counts[self.listed[0].replace(LISTED[0], ADDED[0])] > 0)

    def weigh(self, frames: Frames) -> dict[str, Any]:
        """The counts of a row-wise expectation of text: each distinct value is judged once."""
        from great_expectations.validator.metric_configuration import MetricConfiguration

        column = frames[self.columns[0]]
        values = column.cat.categories
        times = np.bincount(column.cat.codes + 1, minlength=len(values) + 1)
        unexpected = f"{self.expectation.map_metric}.{ADDED[0]}"
        metric = self.metrics[unexpected]
        condition = MetricConfiguration(
            f"{self.expectation.map_metric}.condition", metric.metric_domain_kwargs, metric.metric_value_kwargs
        )
        count = 0
        if len(values):
            judged = resolved(pd.DataFrame({self.columns[0]: values}), [condition])[condition.id]
            if isinstance(judged, CannotBeAnswered):
                raise judged
            count = int(times[1:][judged[0].to_numpy(bool)].sum())
        return {
            "table.row_count": len(column),
            f"column_values.nonnull.{ADDED[0]}": int(times[0]),
            unexpected: count,
        }

    def judged(self) -> Any:
        """The expectation's own verdict on what was found in the whole table."""
        from great_expectations.core.expectation_validation_result import ExpectationValidationResult

        if self.fault is not None:
            return ExpectationValidationResult(
                success=False,
                expectation_config=self.expectation.configuration,
                result={},
                exception_info={
                    "raised_exception": True,
                    "exception_message": str(self.fault),
                    "exception_traceback": "",
                },
            )
        known = {"table.row_count": self.table.height, "table.columns": self.table.columns}
        nothing = dict.fromkeys(self.metrics) | dict.fromkeys(self.counted, 0) | {name: [] for name in self.listed}
        found = nothing | known | self.found
        return self.expectation.metrics_validate(
            metrics={metric.id: found[name] for name, metric in self.metrics.items()},
            runtime_configuration={"result_format": dict(FORMAT)},
        )


def evaluate(table: pl.DataFrame, suite: Suite, size: int = SLICE) -> Any:
    """Great Expectations' result of a suite over a whole table (an ExpectationSuiteValidationResult).

    Args:
        table: any columns; need not be in order, but in key order (instrument, timestamp) uniqueness is cheaper.
        suite: as loaded for this table's columns.
        size: about how many rows are handed over at once, save for expectations that need their columns whole.
    """
    from great_expectations import __version__
    from great_expectations.core.expectation_validation_result import ExpectationSuiteValidationResult

    questions = [Question(expectation, table) for expectation in suite.expectations]
    begins = beginnings(table, size)
    together = [q for q in questions if q.table is table and sliceable(q, ordered=begins is not None)]
    for part in cut(table, begins, size):
        ask(together, Frames(part))
    for question in questions:
        if question not in together:
            for part in parts(question, size):
                ask([question], Frames(part))
    results = [question.judged() for question in questions]
    passed = sum(bool(result.success) for result in results)
    return ExpectationSuiteValidationResult(
        results=results,
        success=passed == len(results),
        suite_name=suite.name,
        statistics={
            "evaluated_expectations": len(results),
            "successful_expectations": passed,
            "unsuccessful_expectations": len(results) - passed,
            "success_percent": 100 * passed / len(results),
        },
        meta={"great_expectations_version": __version__, "rows": table.height, "columns": table.columns},
    )


def ask(questions: Sequence[Question], frames: Frames) -> None:
    """Put questions to one part; those of the same columns together, so that what they share is computed once."""
    groups: dict[tuple[str, ...], list[Question]] = {}
    for question in questions:
        if question.fault is None:
            groups.setdefault(tuple(question.columns), []).append(question)
    for columns, group in groups.items():
        metrics = [metric for question in group if not question.judges_text for metric in question.wanted()]
        try:
            values = frames.values(columns, metrics) if metrics else {}
        except CannotBeAnswered as fault:
            values = {metric.id: fault for metric in metrics}
        for question in group:
            question.take(frames, values)


def subject(kwargs: dict[str, Any], table: pl.DataFrame, of_shape: bool) -> tuple[pl.DataFrame, list[str]]:
    """The table that an expectation's arguments speak of, and the columns of it that they need.

    `of_shape`: the expectation asks for rows or columns only, not for what is in them.

    Raises:
        CannotBeAnswered: a column is not in the table.
    """
    named = [kwargs[key] for key in ("column", "column_A", "column_B") if key in kwargs]
    named += kwargs.get("column_list", [])
    if len(named) == 1 and (counted := COUNTED.fullmatch(named[0])):
        what, per = counted.groups()
        present(table, [what, per])
        counts = table.group_by(per, maintain_order=True).agg(pl.col(what).drop_nulls().n_unique().alias(named[0]))
        return counts, named
    condition = str(kwargs.get("row_condition") or "")
    if of_shape:
        named = []
    present(table, named)
    named += [name for name in table.columns if re.search(rf"\b{re.escape(name)}\b", condition)]
    return table, list(dict.fromkeys(named))


def present(table: pl.DataFrame, columns: list[str]) -> None:
    if missing := [name for name in columns if name not in table.columns]:
        raise CannotBeAnswered(f"column {missing[0]} is missing; the table has {table.columns}")


def sliceable(question: Question, ordered: bool) -> bool:
    """Whether the question's counts may be taken from the slices that all share."""
    if question.kind in ROW_WISE:
        return True
    return ordered and question.kind in UNIQUE and set(question.columns) == set(KEY)


def parts(question: Question, size: int) -> Iterator[Part]:
    """The parts of its table in which a question that can't share slices must be asked."""
    table = question.table
    if question.fault is not None or not question.columns:
        return
    if question.kind in ROW_WISE:
        yield from cut(table, None, size)
    elif question.kind in UNIQUE and table.height > size:
        yield from dealt(table.select(question.columns), size)
    elif question.kind in OF_DISTINCT and not question.expectation.configuration.kwargs.get("row_condition"):
        distinct = table.select(pl.col(question.columns[0]).drop_nulls().unique())
        yield Part(distinct, pd.RangeIndex(distinct.height))
    else:
        yield Part(table.select(question.columns), pd.RangeIndex(table.height))


def beginnings(table: pl.DataFrame, size: int) -> np.ndarray | None:
    """Rows before which the table may be cut without parting equal keys: where the key differs from the row before,
    or, for a table in the order of time alone, where the time does. None for one without a key, with gaps in it, or
    in another order."""
    if not set(KEY) <= set(table.columns) or any(table[name].null_count() for name in KEY):
        return None
    name, time = (pl.col(column) for column in KEY)
    before, earlier = name.shift(), time.shift()
    by_key = changes(table, size, KEY_FALLS, (name != before) | (time != earlier))
    return changes(table, size, time < earlier, time != earlier) if by_key is None else by_key


def changes(table: pl.DataFrame, size: int, falls: pl.Expr, new: pl.Expr) -> np.ndarray | None:
    """Rows for which `new` holds against the row before, and the first; None if `falls` holds for any."""
    begins = np.ones(table.height, dtype=bool)
    # By slices: a shifted copy of a text column would cost 16 bytes a row.
    for start in range(0, table.height, size):
        first = max(start - 1, 0)
        found = table.select(KEY).slice(first, start - first + size).select(falls=falls, new=new).slice(start - first)
        if found["falls"].any():
            return None
        begins[start : start + size] = found["new"].fill_null(True).to_numpy()
    return begins


def cut(table: pl.DataFrame, begins: np.ndarray | None, size: int) -> Iterator[Part]:
    """Slices of about `size` rows; where it is known where keys begin, no key is parted."""
    start = 0
    while start < table.height:
        end = min(start + size, table.height)
        if begins is not None and end < table.height:
            later = int(np.argmax(begins[end:]))
            end = end + later if begins[end + later] else table.height
        yield Part(table.slice(start, end - start), pd.RangeIndex(start, end))
        start = end


def dealt(keys: pl.DataFrame, size: int) -> Iterator[Part]:
    """Parts of about `size` rows in which all rows with equal keys are together."""
    number = -(-keys.height // size)
    hand = (keys.hash_rows(seed=0) % number).cast(pl.UInt16)
    for turn in range(number):
        places = hand.eq(turn).arg_true()
        yield Part(keys[places], pd.Index(places.to_numpy()))


def as_pandas(column: pl.Series, index: pd.Index) -> pd.Series:
    """A column in the type that Great Expectations reads fast: 64-bit numbers, nanoseconds, categories for text.

    Raises:
        CannotBeAnswered: the column holds neither numbers, times, text nor truth values.
    """
    kind = column.dtype
    if kind in (pl.String, pl.Categorical, pl.Enum):
        codes, words = codes_of(column)
        return pd.Series(pd.Categorical.from_codes(codes, words), index=index, copy=False)
    if kind.is_temporal() and kind in (pl.Date, pl.Datetime):
        times = column.cast(pl.Datetime("us"))
        # Great Expectations compares other units than nanoseconds value by value, in Python.
        fits = times.is_between(pl.lit(pd.Timestamp.min.ceil("us")), pl.lit(pd.Timestamp.max.floor("us"))).all()
        return pd.Series((times.cast(pl.Datetime("ns")) if fits else times).to_numpy(), index=index, copy=False)
    if kind.is_numeric() or kind in (pl.Boolean, pl.Null):
        whole = (kind.is_integer() or kind == pl.Boolean) and column.null_count() == 0
        return pd.Series(column.cast(pl.Int64 if whole else pl.Float64).to_numpy(), index=index, copy=False)
    raise CannotBeAnswered(f"column {column.name} is of type {kind}; expected numbers, times or text")


def resolved(frame: pd.DataFrame, metrics: Iterable[Any]) -> dict[Any, Any]:
    """Great Expectations' values of metrics over a frame, by their ids; a CannotBeAnswered where there is none."""
    from great_expectations.execution_engine import PandasExecutionEngine
    from great_expectations.validator.metrics_calculator import MetricsCalculator

    wanted = {metric.id: metric for metric in metrics}
    calculator = MetricsCalculator(PandasExecutionEngine(batch_data_dict={"part": frame}))
    graph = calculator.build_metric_dependency_graph(list(wanted.values()), {"result_format": dict(FORMAT)})
    # The variant without log: its warnings hold whole tracebacks, and the fault is handed on anyway.
    values, aborted = calculator.resolve_validation_graph(graph, {"result_format": dict(FORMAT)})
    return {name: values[name] if name in values else reason(aborted) for name in wanted}


def reason(aborted: dict[Any, Any]) -> CannotBeAnswered:
    fault = next(iter(aborted.values()), {"exception_info": "not computed"})["exception_info"]
    message = fault.get("exception_message", fault) if isinstance(fault, dict) else fault
    return CannotBeAnswered(" ".join(str(getattr(message, "exception_message", message)).split())[:300])
