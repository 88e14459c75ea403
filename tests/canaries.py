"""What decontamination sees and what it misses, and how fast it is: the tables of LOG.md (`make canaries`).

Items are put among clean rows as they stand, lightly and heavily reworded (espalier.canaries); every tier and signal is counted on its own. Worlds: problems of the
built-in world; GSM8K (items: its test problems, clean: its training problems); XQuAD (items: the questions of every other article with their passages, clean: those
of the others). The last two need the folder of real data and are left out where it is absent.
"""

import gzip
import json
import os
import resource
import time
from collections import Counter
from collections.abc import Iterator
from itertools import islice

import numpy as np
import polars as pl

from espalier.benchmarks import COLUMNS
from espalier.canaries import KINDS, paraphrase
from espalier.decontaminate import TIERS, find_leaks, part_texts
from espalier.seeds import rng
from espalier.settings import Decontaminate
from espalier.suspects import SIGNALS, list_suspects
from espalier.text import match_words
from espalier.world.grammar import LEAF_OF, STYLES, Problem, make, parse
from tests.bench_dedup import documents
from tests.closure import ROOT

REAL = ROOT.parent / "shared" / "data"
CANARIES, CLEAN = 200, 2_000  # of each kind
SIZES = (8, 10, 13)
DOCUMENTS, ITEMS, PEER_DOCUMENTS = 40_000, 10_000, 4_000
Pair = tuple[str, str, str]  # context, query, problem key


def settings(ngram: int) -> Decontaminate:
    return Decontaminate(benchmarks="", ngram=ngram, max_coverage=0.8, min_similarity=0.5, max_leaked_share=1.0)


def items_of(pairs: list[Pair], benchmark: str) -> pl.DataFrame:
    rows = [(benchmark, f"{benchmark}:{place:06}", "test", *pair) for place, pair in enumerate(pairs)]
    return pl.DataFrame(rows, schema=dict.fromkeys(COLUMNS, pl.String), orient="row")


def rows_of(pairs: list[Pair]) -> pl.DataFrame:
    rows = [{"id": f"{place:06}", "context": c, "query": q, "answer": "That is 17, I think.", "problem_key": key} for place, (c, q, key) in enumerate(pairs)]
    return pl.DataFrame(rows)


def builtin() -> tuple[list[Pair], list[Pair], dict[str, list[Pair]]]:
    """(items, clean, canaries by kind); `other wording` says the same problem in another wording of the grammar."""
    problems: dict[str, Problem] = {}
    random, names = rng(0, "canaries"), sorted(LEAF_OF)
    while len(problems) < 1_350 + CLEAN:
        problem = make(LEAF_OF[names[len(problems) % len(names)]], 1 + int(random.integers(4)), random)
        problems[problem.key] = problem
    asked, clean = list(problems.values())[:1_350], list(problems.values())[1_350:]
    reworded = [Problem(one.leaf, one.material, one.argument, one.opening, (one.wording + 1) % len(STYLES)) for one in asked[:CANARIES]]
    canaries = {kind: [("", text, key_of(text)) for text in texts] for kind, texts in _said([one.text for one in asked[:CANARIES]]).items()}
    canaries["other wording"] = [(one.context, one.query, key_of(one.text)) for one in reworded]
    return [(one.context, one.query, one.key) for one in asked], [(one.context, one.query, one.key) for one in clean], canaries


def key_of(text: str) -> str:
    """The key that `score` would give a row."""
    problem = parse(text)
    return problem.key if problem else ""


def gsm8k() -> tuple[list[Pair], list[Pair], dict[str, list[Pair]]]:
    packed = [(REAL / f"gsm8k/{name}.jsonl.gz").read_bytes() for name in ("test", "train")]
    tests, training = ([json.loads(line)["question"] for line in gzip.decompress(data).splitlines()] for data in packed)
    canaries = {kind: [("", text, "") for text in texts] for kind, texts in _said(tests[:CANARIES]).items()}
    return [("", text, "") for text in tests], [("", text, "") for text in training[:CLEAN]], canaries


def xquad() -> tuple[list[Pair], list[Pair], dict[str, list[Pair]]]:
    passages = [json.loads(line) for line in (REAL / "xquad_en/xquad_en.jsonl").read_text().splitlines()]
    titles = sorted({passage["title"] for passage in passages})
    halves = [[(one["context"], qa["q"], "") for one in passages if titles.index(one["title"]) % 2 == side for qa in one["qas"]] for side in (0, 1)]
    asked = halves[0][:: max(1, len(halves[0]) // CANARIES)][:CANARIES]
    canaries = {kind: [("", text, "") for text in texts] for kind, texts in _said([f"{context} {query}" for context, query, _ in asked]).items()}
    canaries["question alone"] = [("", query, "") for _, query, _ in asked]
    canaries["passage, other question"] = [(context, "In which order does the text tell what it tells?", "") for context, _, _ in asked]
    return halves[0], halves[1][:CLEAN], canaries


def _said(texts: list[str]) -> dict[str, list[str]]:
    return {kind: [paraphrase(text, kind, place=place) for place, text in enumerate(texts)] for kind in KINDS}


def recall(items: pl.DataFrame, rows: pl.DataFrame) -> dict[str, float]:
    """The share of rows that each tier and signal sees on its own, that are dropped with the default settings, and that are dropped or listed."""
    no_keys = rows.with_columns(problem_key=pl.lit(""))
    leaks, unkeyed = find_leaks(rows, items, settings=settings(8)), find_leaks(no_keys, items, settings=settings(8))
    listed = list_suspects(rows, items, settings=settings(8))
    seen = {"key": set(leaks.filter(reason="key")["row"]), "exact": set(unkeyed.filter(reason="exact")["row"])}
    for n in SIZES:
        found = find_leaks(no_keys, items, settings=settings(n))
        seen[f"{n}-grams"] = set(found.filter(pl.col("coverage") >= 0.8)["row"])
    seen["dropped"] = set(leaks["row"])
    place = {one: row for row, one in enumerate(rows["id"])}
    for signal in SIGNALS:
        seen[signal] = {place[one] for one in listed.filter(signal=signal)["id"]}
    seen["dropped or listed"] = seen["dropped"] | {place[one] for one in listed["id"]}
    return {name: len(found) / rows.height for name, found in seen.items()}


def print_recall() -> None:
    """The table of recall, and of false alarms in the rows `clean`."""
    head = ["key", "exact", *(f"{n}-grams" for n in SIZES), "dropped", *SIGNALS, "dropped or listed"]
    print(f"| items | rows | number | {' | '.join(head)} |\n|{'---|' * (3 + len(head))}")
    for name, source, needs in (("built-in world", builtin, ""), ("GSM8K", gsm8k, "gsm8k"), ("XQuAD", xquad, "xquad_en")):
        if not (REAL / needs).is_dir() and needs:
            print(f"| {name} | not there: {needs} of the real data |")
            continue
        asked, clean, canaries = source()
        items = items_of(asked, "b")
        for kind, pairs in {**canaries, "clean": clean}.items():
            found = recall(items, rows_of(pairs))
            print(f"| {name}, {len(asked):,} | {kind} | {len(pairs):,} | {' | '.join(f'{100 * found[column]:.1f} %' for column in head)} |", flush=True)


def corpus() -> tuple[pl.DataFrame, pl.DataFrame]:
    """(documents as rows, items): 150-300 words of a Zipf vocabulary; items of 30-80; every hundredth document holds an item, half of them most of one."""
    random = np.random.default_rng(5)
    asked = [" ".join(text.split()[: random.integers(30, 81)]) for text in islice(_texts(seed=1), ITEMS)]
    texts = list(islice(_texts(seed=0), DOCUMENTS))
    for place in range(0, DOCUMENTS, 100):
        item = asked[random.integers(ITEMS)].split()
        words = texts[place].split()
        texts[place] = " ".join([*words[:50], *item[: len(item) * (9 if place % 200 else 10) // 10], *words[50:]])
    pairs = [("", " ".join(words[: len(words) // 2]), " ".join(words[len(words) // 2 :])) for words in (text.split() for text in texts)]
    rows = pl.DataFrame([{"id": f"{i:06}", "context": c, "query": q, "answer": a, "problem_key": ""} for i, (c, q, a) in enumerate(pairs)])
    return rows, items_of([("", text, "") for text in asked], "b")


def _texts(*, seed: int) -> Iterator[str]:
    for block, _ in documents(10**7, seed=seed):
        yield from block


def holders_of(items: pl.DataFrame, n: int) -> tuple[dict[tuple[str, ...], list[int]], list[int]]:
    """n-gram -> the items that hold it, and how many distinct ones each item has."""
    holders: dict[tuple[str, ...], list[int]] = {}
    grams = [_tuples(query, n) for query in items["query"]]
    for place, found in enumerate(grams):
        for gram in found:
            holders.setdefault(gram, []).append(place)
    return holders, [len(found) for found in grams]


def by_sets(rows: pl.DataFrame, items: pl.DataFrame, known: tuple[dict[tuple[str, ...], list[int]], list[int]], *, n: int) -> dict[int, tuple[str, float]]:
    """row -> (item, coverage) at 0.8 or above, by sets of word tuples and a dictionary of them, as lm-eval and datatrove do it."""
    holders, sizes = known
    found = {}
    for row, (prompt, reply) in enumerate(zip(*(iter(part_texts(rows)),) * 2, strict=True)):
        shared = Counter(place for gram in _tuples(f"{prompt} {reply}", n) for place in holders.get(gram, ()))
        best = max(shared, key=lambda place: (shared[place] / sizes[place], -place), default=-1)
        if best >= 0 and shared[best] / sizes[best] >= 0.8:
            found[row] = (items["item"][best], shared[best] / sizes[best])
    return found


def _tuples(text: str, n: int) -> set[tuple[str, ...]]:
    words = match_words(text)
    return {tuple(words[i : i + n]) for i in range(len(words) - n + 1)}


def print_speeds() -> None:
    """Documents a second, ours with and without the list, and sets of Python on the first documents, in this one process."""
    rows, items = corpus()
    find_leaks(rows.head(10), items.head(10), settings=settings(8))
    list_suspects(rows.head(10), items.head(10), settings=settings(8))  # the compiled code is there
    print(f"\n{len(os.sched_getaffinity(0))} cores; {ITEMS:,} items\n\n| what | documents | documents/s |\n|---|---|---|")
    for n in SIZES:
        ours, first, known = _timed(find_leaks, rows, items, settings=settings(n)), rows.head(PEER_DOCUMENTS), holders_of(items, n)
        theirs = _timed(by_sets, first, items, known, n=n)
        print(f"| all tiers, {n}-grams, with indexing the items | {rows.height:,} | {rows.height / ours[1]:,.0f} |")
        print(f"| sets of Python, {n}-grams, without | {first.height:,} | {first.height / theirs[1]:,.0f} |", flush=True)
        same = ours[0].filter((pl.col("row") < PEER_DOCUMENTS) & (pl.col("reason") == TIERS[-1])).select("row", "item", "coverage").rows()
        assert {row: (item, round(share, 12)) for row, item, share in same} == {row: (item, round(share, 12)) for row, (item, share) in theirs[0].items()}
        assert len(same) > PEER_DOCUMENTS // 200
    listed = _timed(list_suspects, rows, items, settings=settings(8))
    print(f"| the list for people | {rows.height:,} | {rows.height / listed[1]:,.0f} |")
    print(f"\nequal verdicts on {PEER_DOCUMENTS:,} documents; peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:,.0f} MiB")


def _timed(work, *arguments, **options):
    start = time.perf_counter()
    made = work(*arguments, **options)
    return made, time.perf_counter() - start


if __name__ == "__main__":
    print_recall()
    print_speeds()
