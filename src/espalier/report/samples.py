"""Samples to read, kept and dropped, with the reason of every drop. All of their text is a teacher's, so all is escaped."""

from collections.abc import Sequence

from espalier.report.study import Sample, Study, recipes_of
from espalier.report.svg import escape
from espalier.report.tables import recipe_words


def samples_section(study: Study) -> str:
    """A folded block per recipe, the first one open."""
    by_recipe = [(recipe, [s for s in study.samples if s.recipe == recipe]) for recipe in recipes_of(study)]
    blocks = [(recipe, samples) for recipe, samples in by_recipe if samples]
    if not blocks:
        return '<p class="quiet">No samples were chosen.</p>'
    return f"<div>{''.join(_recipe(study, *block, is_open=i == 0) for i, block in enumerate(blocks))}</div>"


def _recipe(study: Study, recipe: str, samples: Sequence[Sample], *, is_open: bool) -> str:
    kept = [sample for sample in samples if not sample.reason]
    dropped = [sample for sample in samples if sample.reason]
    summary = f"{recipe_words(study, recipe)} <span>{len(kept)} kept, {len(dropped)} dropped</span>"
    return f"<details{' open' if is_open else ''}><summary>{summary}</summary>{_group('Kept', kept)}{_group('Dropped', dropped)}</details>"


def _group(title: str, samples: Sequence[Sample]) -> str:
    if not samples:
        return ""
    return f'<h3>{title}</h3><div class="samples">{"".join(_sample(sample) for sample in samples)}</div>'


def _sample(sample: Sample) -> str:
    fate = f"<b>{escape(sample.reason.replace('_', ' '))}</b> at {escape(sample.stage)}" if sample.reason else "kept"
    named = (("context", sample.context), ("query", sample.query), ("answer", sample.answer))
    # An empty answer is a finding, an empty context is none.
    texts = "".join(
        f'<dt>{name}</dt><dd class="text" dir="auto">{escape(words)}</dd>' for name, words in named if words.strip() or name == "answer"
    )
    class_ = "sample dropped" if sample.reason else "sample"
    return f'<div class="{class_}"><p>{fate} &middot; {escape(sample.leaf or "no leaf asked for")}</p><dl>{texts}</dl></div>'
