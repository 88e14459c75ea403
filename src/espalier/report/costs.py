"""In what a comparison is at equal cost: tokens of text, training FLOPs and total FLOPs, generation included; never one without the others."""

from espalier.report.study import RecipeCost, Study, is_number, recipes_of
from espalier.report.tables import cell, recipe_words, table, with_range
from espalier.report.words import NOTHING, fixed

NAMES = {"tokens": "tokens of text", "train_flops": "training FLOPs", "total_flops": "total FLOPs"}
HEADS = ("recipe", "tokens of text", "training FLOPs of a student", "read by the teacher, tokens", "written by the teacher, tokens", "total FLOPs")
WORDS = (
    "<p>Costs within 2\u00a0% of the baseline's count as equal. Total FLOPs are those of training one student and of generating all rows of the recipe, dropped"
    " ones too: 2 a parameter for every token that the teacher read or wrote. Training the teacher and scoring are not in them.</p>"
)


def equality_words(study: Study, recipe: str) -> str:
    """In one line what is equal and what is not; "" where no cost was measured."""
    cost = next((one for one in study.recipe_costs if one.recipe == recipe), None)
    return "; ".join(f"{name}: {_words(cost, key)}" for key, name in NAMES.items()) if cost else ""


def cost_section(study: Study) -> str:
    """What the words mean, and the table; "" where no cost was measured."""
    found = {cost.recipe: cost for cost in study.recipe_costs}
    rows = [_row(study, found[recipe]) for recipe in recipes_of(study) if recipe in found]
    return f"<h3>Equal in what?</h3>{WORDS}{table(HEADS, rows, n_words=1)}" if rows else ""


def _row(study: Study, cost: RecipeCost) -> str:
    compared = {key: "" if cost.recipe == study.baseline else _words(cost, key) for key in NAMES}
    cells = [
        with_range(fixed(cost.tokens, 0), compared["tokens"]), with_range(_large(cost.train_flops), compared["train_flops"]),
        fixed(cost.read_tokens, 0), fixed(cost.written_tokens, 0), with_range(_large(cost.total_flops), compared["total_flops"]),
    ]  # fmt: skip
    return f"<tr>{cell(recipe_words(study, cost.recipe), head=True)}{''.join(cell(one, number=True) for one in cells)}</tr>"


def _words(cost: RecipeCost, key: str) -> str:
    ratio, is_equal = getattr(cost, f"{key}_ratio"), getattr(cost, f"equal_{key}")
    if not is_number(ratio):
        return "not known"
    return f"{'equal' if is_equal else 'NOT equal'}, {fixed(ratio, 3)} \u00d7"


def _large(value: float | None) -> str:
    """1.79e12."""
    return f"{value:.2e}".replace("e+", "e") if is_number(value) else NOTHING
