"""The leaf whose seed examples a text is most like, by cosine over TF-IDF of words and pairs of words; for worlds that cannot parse their texts.

A diagnosis, not a verdict: it tells where rows without an asked leaf (recipes whose teacher picks) most likely lie, so that coverage can be measured.
Source: nearest centroid over TF-IDF, Manning, Raghavan, Schütze 2008, "Introduction to Information Retrieval", sections 6.2 and 14.2.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable

from espalier.text import match_words


class NearestLeaf:
    """Leaves as points; `find` is a look-up of the text's own terms, about 30 microseconds for 60 words."""

    def __init__(self, examples: Iterable[tuple[str, str]]) -> None:
        """examples: (leaf, text), any number for each leaf."""
        texts: dict[str, list[str]] = defaultdict(list)
        for leaf, text in examples:
            texts[leaf].append(text)
        counts = {leaf: Counter(term for text in several for term in _terms(text)) for leaf, several in sorted(texts.items())}
        spread = Counter(term for terms in counts.values() for term in terms)
        self._idf = {term: math.log((1 + len(counts)) / n) for term, n in spread.items()}
        self._by_term: dict[str, list[tuple[str, float]]] = defaultdict(list)
        for leaf, terms in counts.items():
            weights = {term: (1 + math.log(n)) * self._idf[term] for term, n in terms.items()}
            length = math.sqrt(sum(weight * weight for weight in weights.values()))
            for term, weight in weights.items():
                self._by_term[term].append((leaf, weight / length))

    def find(self, text: str) -> str:
        """The nearest leaf; "" for a text that shares no term with any; of equally near ones the first by name."""
        sums: dict[str, float] = defaultdict(float)
        for term, n in Counter(_terms(text)).items():
            weight = (1 + math.log(n)) * self._idf.get(term, 0.0)
            for leaf, share in self._by_term.get(term, ()):
                sums[leaf] += weight * share
        return min(sums, key=lambda leaf: (-sums[leaf], leaf)) if sums else ""


def _terms(text: str) -> list[str]:
    found = [word for word in match_words(text) if word.isalnum()]
    return [*found, *(f"{one} {other}" for one, other in zip(found, found[1:], strict=False))]
