"""The filter audit as one small table a recipe: how well each scorer tells right from wrong, by the rows whose truth is known."""

from espalier.report.study import ScorerAudit, Study, is_number, recipes_of
from espalier.report.svg import escape
from espalier.report.tables import cell, recipe_words, table, with_range
from espalier.report.words import NOTHING, fixed

WORDS = (
    "<p>Taken on the rows that the verifier calls right or wrong, with intervals clustered by leaf. AUC: the chance that a right row scores above a wrong one;"
    " 0.5 says nothing. Over all rows a score also gains by knowing which leaf is hard; within the leaves it does not, and that is what a choice in each leaf"
    " gets. Precision and recall are those of the threshold that audit.target_precision sets; where no threshold reaches it they are in grey, at the one that"
    " comes nearest. On other leaves: the precision on a leaf of the threshold that all others set, which is what a leaf without a verifier gets.</p>"
)
HEADS = ("scorer", "AUC, all rows", "AUC within leaves", "precision, %", "recall, %", "precision on other leaves, %", "leaves with both")


def audit_section(study: Study) -> str:
    """The words and a table for each recipe with an audit; "" when there is none."""
    tables = "".join(_recipe(study, recipe) for recipe in recipes_of(study) if any(row.recipe == recipe for row in study.audit))
    return f"{WORDS}<div>{tables}</div>" if tables else ""


def _recipe(study: Study, recipe: str) -> str:
    rows = sorted((row for row in study.audit if row.recipe == recipe), key=lambda row: (-(row.auc if is_number(row.auc) else -1), row.scorer))
    best = f"{rows[0].scorer} tells best, AUC {fixed(rows[0].auc, 2)}" if is_number(rows[0].auc) else "not measured"
    return (
        f"<details><summary>{recipe_words(study, recipe)} <span>{escape(best)}</span></summary>"
        f"{table(HEADS, [_row(row) for row in rows], n_words=1)}</details>"
    )


def _row(row: ScorerAudit) -> str:
    aucs = [_interval(row, name, 2, 1) for name in ("auc", "leaf_auc")]
    at_cut = [_interval(row, name, 1, 100) for name in ("precision", "recall")]
    if not is_number(row.threshold):
        at_cut = [f'<span class="quiet">{one}</span>' for one in at_cut]
    cells = [*aucs, *at_cut, _interval(row, "carried_precision", 1, 100), escape(f"{row.leaves_both} of {row.leaves}")]
    return f"<tr>{cell(escape(row.scorer), head=True)}{''.join(cell(one, number=True) for one in cells)}</tr>"


def _interval(row: ScorerAudit, name: str, digits: int, factor: float) -> str:
    value, low, high = (getattr(row, name + end) for end in ("", "_low", "_high"))
    if not is_number(value):
        return NOTHING
    ends = [fixed(factor * end, digits) for end in (low, high) if is_number(end)]
    return with_range(fixed(factor * value, digits), " to ".join(ends))
