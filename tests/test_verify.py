import ast

import pytest

from espalier.errors import EspalierError, ParamsError
from espalier.verifiers.constraints import Constraint
from espalier.verifiers.verify import VERIFIERS, check_verifier, verify_answer
from tests.closure import ROOT

SHORT = Constraint("max_words", 3)


def verdict(verifier, answer, *, gold="", context="Ana met Bob in 1998.", checks=()):
    found = verify_answer(verifier, answer=answer, context=context, query="Who met?", gold=gold, checks=checks)
    return found.verdict, found.reason


@pytest.mark.parametrize(
    ("verifier", "answer", "gold", "wanted"),
    [
        ("math", "So it is 42.", "42", ("right", "")),
        ("math", "So it is 43.", "42", ("wrong", "found 43, wanted 42")),
        ("math", "So it is 42.", " ", ("unparseable", "math needs a gold answer, and there is none")),
        ("math", "So it is 42.", "many", ("unparseable", "the gold value holds words (many), which are not compared")),
        ("choice", " “b”. ", "B", ("right", "")),
        ("choice", "B or C", "B", ("wrong", "is not the gold choice B")),
        ("choice", "B", "", ("unparseable", "choice needs a gold answer, and there is none")),
        ("grounding", "It was Bob.", "", ("right", "")),
        ("grounding", "It was Tom.", "", ("wrong", "the name Tom stands neither in the context nor in the query")),
        ("grounding", " ", "", ("wrong", "the answer is empty")),
        ("checks", "It was Bob.", "", ("unparseable", "the verifier is checks, and there are none")),
        ("", "It was Bob.", "", ("unknown", "")),
    ],
)
def test_each_verifier_gives_its_verdict_and_reason(verifier, answer, gold, wanted):
    assert verdict(verifier, answer, gold=gold) == wanted


@pytest.mark.parametrize(("verifier", "gold"), [("math", "42"), ("choice", "It is surely 42"), ("grounding", ""), ("checks", ""), ("", "")])
def test_checks_must_hold_whatever_the_verifier(verifier, gold):
    found = verdict(verifier, "It is surely 42", gold=gold, context="42", checks=[SHORT])
    assert found == ("wrong", "max_words: 4 words, wanted at most 3; asked: Answer in at most 3 words.")
    kept = verdict(verifier, "It is surely 42", gold=gold, context="42", checks=[Constraint("max_words", 4)])
    assert kept == ("unknown" if not verifier else "right", "")


def test_an_unknown_verifier_is_refused_with_a_suggestion():
    with pytest.raises(ParamsError, match='leaf.yaml: verifier is "maths"; did you mean "math"?'):
        check_verifier("maths", where="leaf.yaml: verifier")
    with pytest.raises(EspalierError, match='gym:chain_sums names no task that is allowed; did you mean "chain_sum"?'):
        check_verifier("gym:chain_sums", where="leaf.yaml: verifier")
    for word in ("", "gym:chain_sum", *VERIFIERS[:-1]):
        check_verifier(word, where="leaf.yaml: verifier")


def test_heavy_libraries_are_imported_only_where_they_are_needed():
    heavy = {"sympy", "math_verify", "jsonschema", "reasoning_gym", "referencing"}
    for file in sorted((ROOT / "src/espalier/verifiers").glob("*.py")):
        body = ast.parse(file.read_text()).body
        roots = {alias.name.split(".")[0] for node in body if isinstance(node, ast.Import) for alias in node.names}
        roots |= {(node.module or "").split(".")[0] for node in body if isinstance(node, ast.ImportFrom)}
        assert (roots & heavy == set()) or file.name == "symbolic.py"
        assert not any(isinstance(node, ast.ImportFrom) and "symbolic" in {alias.name for alias in node.names} for node in body), file.name
