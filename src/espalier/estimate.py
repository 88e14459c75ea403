"""How long a recipe's generation will take, and what it will cost, from a trial of its first rows. Values in, values out.

Time is a fit through two trials: seconds = round_s x batches + token_s x generated tokens. A batch is what goes through the engine together (512 rows of hf,
else a chunk); its fixed part is paid for each one, so a trial smaller than a batch does not make tokens look dear. Tokens are the mean per row times the rows.
Source: total of a finite population from a simple random sample, Cochran 1977, "Sampling Techniques", section 2.4 and 2.6.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from espalier.ledger import Asked, Prediction, Range, Speed, Spent, measured, total
from espalier.settings import Estimate
from espalier.student_t import quantile


@dataclass(frozen=True, slots=True)
class Point:
    """What a trial's engine took: batches, generated tokens, and seconds without loading; nothing of it came from the cache."""

    rounds: int
    tokens: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Batches:
    """How an engine is asked: `chunk` requests at a time, of which it puts `batch` through the model together."""

    chunk: int
    batch: int

    def rounds(self, requests: float, fresh: float) -> int:
        """Batches for so many requests, of which `fresh` are not in the cache and lie evenly among the others.

        >>> Batches(2000, 512).rounds(4000, 4000), Batches(2000, 512).rounds(4000, 1000), Batches(2000, 2000).rounds(4001, 4001)
        (8, 2, 3)
        """
        chunks = [min(self.chunk, requests - at) for at in range(0, math.ceil(requests), self.chunk)]
        return sum(math.ceil(size * fresh / requests / self.batch) for size in chunks)


def point(calls: Sequence[Asked], batches: Batches) -> Point:
    """What a trial's calls took."""
    every = total(calls)
    return Point(sum(batches.rounds(one.requests, one.requests - one.found) for one in calls if one.requests), every.fresh_tokens, every.seconds - every.load_s)


def fit(small: Point, large: Point) -> tuple[float, float]:
    """(round_s, token_s) through two trials, neither below 0. A trial with nothing fresh says nothing, and then tokens carry all the time.

    Where the line would need a negative part, noise was larger than that part: it is 0, and the larger trial alone fixes the other.
    Raises: ValueError when neither made a token.
    """
    known = [one for one in (small, large) if one.tokens]
    if not known:
        raise ValueError("neither trial made a token anew")
    last = known[-1]
    determinant = small.rounds * large.tokens - large.rounds * small.tokens
    if len(known) < 2 or determinant == 0:
        return 0.0, last.seconds / last.tokens
    round_s = (small.seconds * large.tokens - large.seconds * small.tokens) / determinant
    token_s = (small.rounds * large.seconds - large.rounds * small.seconds) / determinant
    if round_s < 0:
        return 0.0, last.seconds / last.tokens
    return (last.seconds / last.rounds, 0.0) if token_s < 0 else (round_s, token_s)


def speed_of_run(steps: Sequence[Spent]) -> Speed | None:
    """The speed of a real run by its tokens; None where too little of it was made anew."""
    every = total(spent.asked for spent in steps)
    if not steps or measured(steps).hours is None or not every.fresh_tokens:
        return None
    return Speed(max(one.asked.load_s for one in steps), 0.0, (every.seconds - every.load_s) / every.fresh_tokens, "the last run")


def total_of(values: Sequence[float], rows: int, *, confidence: float) -> Range:
    """The sum over `rows` rows of which the first len(values) are known; the interval is that of the unknown ones."""
    n = len(values)
    value = rows * fmean(values)
    if n >= rows or n < 2:
        return Range(value, value, value)
    reach = quantile((1 - confidence) / 2, n - 1) * stdev(values) * math.sqrt(rows * (rows - n) / n)
    return Range(value, max(value - reach, sum(values)), value + reach)


def seconds_of(speed: Speed, requests_by_step: Sequence[float], tokens: float, batches: Batches) -> float:
    """Seconds of all steps: each loads the model once."""
    asking = [requests for requests in requests_by_step if requests]
    return speed.load_s * len(asking) + speed.round_s * sum(batches.rounds(n, n) for n in asking) + speed.token_s * tokens


def cost_of(hours: float, prompt_tokens: float, tokens: float, prices: Estimate) -> tuple[float, float]:
    """(kWh, money) by the prices of params.yaml."""
    kwh = prices.power_w * hours / 1000
    by_time = kwh * prices.price_kwh + hours * prices.price_hour
    return kwh, by_time + (prompt_tokens * prices.price_million_prompt_tokens + tokens * prices.price_million_tokens) / 1e6


def sum_of(predictions: Sequence[Prediction]) -> Prediction:
    """All recipes together; their errors are independent, so intervals add as squares. A part that is not known for one is not known for all."""
    first = predictions[0]

    def whole(name: str) -> float | None:
        parts = [getattr(one, name) for one in predictions]
        return None if None in parts else sum(parts)

    prompt_tokens, tokens = (_sum_ranges([getattr(one, name) for one in predictions]) for name in ("prompt_tokens", "tokens"))
    rows, sample_rows, requests = (sum(getattr(one, name) for one in predictions) for name in ("rows", "sample_rows", "requests"))
    costs = [whole(name) for name in ("hours", "kwh", "money")]
    return Prediction("all", first.engine, first.teacher, rows, sample_rows, requests, prompt_tokens, tokens, None, *costs)


def _sum_ranges(ranges: Sequence[Range]) -> Range:
    value = sum(one.value for one in ranges)
    below, above = (math.sqrt(sum((end(one) - one.value) ** 2 for one in ranges)) for end in (lambda one: one.low, lambda one: one.high))
    return Range(value, value - below, value + above)
