"""The Vendi score of texts: how many texts that share nothing would be as diverse."""

from collections.abc import Sequence

import numpy as np

from espalier.text import hash_ngrams, words


def vendi_score(texts: Sequence[str], n: int, *, features: int) -> float:
    """exp(-sum w ln w) over the eigenvalues w of K / |texts|, K the cosine similarities of signed hashed n-gram counts; 1 for all alike.

    Computed in the dual form when that is smaller: K = XX' and X'X (features x features) have the same non-zero eigenvalues.
    Texts of fewer than n words are left out; 0 for none.
    Source: Friedman and Dieng 2023 (arXiv 2210.02410, definition 3.1); signed hashing: Weinberger et al. 2009.
    Known traps: it cannot exceed the number of texts nor `features`, and hash collisions pull it down when the vocabulary of
    n-grams is far larger than that, so n, features and the number of texts stay the same in every comparison.
    """
    grams = [found for text in texts if (found := hash_ngrams(words(text), n))]
    if not grams:
        return 0.0
    flat = np.array([gram for one in grams for gram in one], dtype=np.uint64)
    x_ND = np.zeros((len(grams), features))
    row = np.repeat(np.arange(len(grams)), [len(one) for one in grams])
    sign = np.where(flat >> np.uint64(63), 1.0, -1.0)
    np.add.at(x_ND, (row, (flat % np.uint64(features)).astype(np.int64)), sign)
    norms = np.linalg.norm(x_ND, axis=1, keepdims=True)
    x_ND /= np.where(norms > 0, norms, 1.0)
    products = x_ND @ x_ND.T if len(grams) < features else x_ND.T @ x_ND
    eigenvalues = np.linalg.eigvalsh(products / len(grams))
    positive = eigenvalues[eigenvalues > 1e-12]
    return float(np.exp(-(positive * np.log(positive)).sum()))
