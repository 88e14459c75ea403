"""How fast the rules of tier 0 are, and where their verdicts differ from datatrove's: `make bench-rules`.

Texts: the longer ones of shared/data (150 to 250 words, and all of 50 words and more). datatrove is no requirement: `pip install datatrove==0.10.1` into any
environment of the same Python and name its site-packages in $DATATROVE. There its words are cut at white space, as ours are, not by spaCy. Times are of this process on the
CPU clock, the best of ROUNDS.
"""

import functools
import gzip
import json
import operator
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from espalier.scorers.rules.table import RULES, broken_rules

DATA = Path(__file__).parents[2] / "shared/data"
SETS = ("llamafactory_demos/c4_demo.jsonl", "alpaca_subsets/dolly_3k.json.gz", "llamafactory_demos/alpaca_en_demo.json", "alpaca_subsets/random_9k.json.gz")
ROUNDS = 5
# datatrove's reason: our rules that say it
QUALITY = {
    "gopher_short_doc": "word_count", "gopher_long_doc": "word_count", "gopher_below_avg_threshold": "word_length", "gopher_above_avg_threshold": "word_length",
    "gopher_too_many_hashes": "hashes", "gopher_too_many_ellipsis": "ellipses", "gopher_too_many_bullets": "bullets",
    "gopher_too_many_end_ellipsis": "ellipsis_lines", "gopher_below_alpha_threshold": "letters", "gopher_enough_stop_words": "stop_words",
}  # fmt: skip


def main() -> None:
    """Print both tables."""
    texts = [text for name in SETS for text in read_texts(DATA / name)]
    typical = [text for text in texts if 150 <= len(text.split()) <= 250]
    words = sum(len(text.split()) for text in typical) / len(typical)
    print(f"{len(typical):,} texts of {words:.0f} words on average; µs a text, best of {ROUNDS}")
    print(f"  all rules, as replies    {best_us(lambda text: broken_rules({'query': 'Say.', 'answer': text}), typical):7.0f}")
    print(f"  all rules, as documents  {best_us(lambda text: broken_rules({'query': '', 'answer': text}), typical):7.0f}")
    if not os.environ.get("DATATROVE"):
        print("no datatrove: name its site-packages in $DATATROVE")
        return
    for name, judge in filters().items():
        print(f"  datatrove {name:14} {best_us(judge, typical):7.0f}")
    compare([text for text in texts if len(text.split()) >= 50])


def read_texts(path: Path) -> list[str]:
    """The text or the output of every record."""
    raw = (gzip.open if path.suffix == ".gz" else open)(path, "rt", encoding="utf-8").read()
    records = [json.loads(line) for line in raw.splitlines()] if ".jsonl" in path.name else json.loads(raw)
    return [record.get("text") or record["output"] for record in records]


def best_us(judge: Callable[[str], object], texts: Sequence[str]) -> float:
    """Microseconds of CPU a text."""

    def once() -> float:
        start = time.process_time()
        for text in texts:
            judge(text)
        return time.process_time() - start

    return min(once() for _ in range(ROUNDS)) / len(texts) * 1e6


def filters() -> dict[str, Callable[[str], object]]:
    """datatrove's four filters with plain words."""
    sys.path.append(os.environ["DATATROVE"])
    from datatrove.data import Document
    from datatrove.pipeline.filters import c4_filters, fineweb_quality_filter, gopher_quality_filter, gopher_repetition_filter

    for module in (fineweb_quality_filter, gopher_quality_filter, gopher_repetition_filter):
        module.split_into_words = lambda text, language: text.split()
    c4_filters.split_into_sentences = lambda text, language: text.split(". ")
    made = {
        "quality": gopher_quality_filter.GopherQualityFilter(), "repetition": gopher_repetition_filter.GopherRepetitionFilter(),
        "c4": c4_filters.C4QualityFilter(), "fineweb": fineweb_quality_filter.FineWebQualityFilter(),
    }  # fmt: skip
    return {name: lambda text, one=one: one.filter(Document(text=text, id="")) for name, one in made.items()}


def compare(texts: Sequence[str]) -> None:
    """How often either drops a text, and how often they differ, by datatrove's first reason."""
    judges, ours = filters(), [broken_rules({"query": "", "answer": text}) for text in texts]
    print(f"{len(texts):,} texts of 50 words and more as documents: dropped by ours / datatrove's, only by ours, only by datatrove's")
    for name, family in (("quality", "gopher"), ("repetition", "repetition"), ("c4", "c4"), ("fineweb", "fineweb")):
        here = [any(rule.startswith(f"{family}:") for rule in found) for found in ours]
        there = [judges[name](text) for text in texts]
        dropped = [verdict is not True for verdict in there]
        only_ours = [found for found, one, other in zip(ours, here, dropped, strict=True) if one and not other]
        only_theirs = [verdict[1] for verdict, one, other in zip(there, here, dropped, strict=True) if other and not one]
        print(f"  {name:10} {sum(here):5,} / {sum(dropped):5,}   {len(only_ours):4} {_counts(functools.reduce(operator.iadd, only_ours, []), family)}   {len(only_theirs):4} {_counts(only_theirs)}")
    wrong = sum(verdict is not True and f"gopher:{QUALITY[verdict[1]]}" not in found for verdict, found in zip(map(judges["quality"], texts), ours, strict=True))
    print(f"  quality: first reasons of datatrove that ours do not name: {wrong}; rules of ours: {len(RULES)}")


def _counts(names: Sequence[str], family: str = "") -> str:
    kinds = sorted({name for name in names if name.startswith(family)})
    return ", ".join(f"{name.removeprefix(f'{family}:')} {names.count(name)}" for name in kinds)


if __name__ == "__main__":
    main()
