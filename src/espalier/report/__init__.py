"""The report of a study: one offline HTML page and one SVG figure, drawn from plain values.

    study    what a report is made of            words    numbers and verdicts in words
    svg      elements, scales, ticks, labels     theme    colours and type
    forest charts leaves funnel worth            the drawings
    tables audit costs samples page figure       what the stage writes
"""

from espalier.report.figure import result_figure
from espalier.report.page import render_report
from espalier.report.study import (
    FunnelRow,
    LeafAccuracy,
    LeafShare,
    LossPoint,
    RecipeCost,
    Result,
    Sample,
    ScorerAudit,
    SizePoint,
    SplitAccuracy,
    Study,
    Worth,
)

__all__ = [
    "FunnelRow", "LeafAccuracy", "LeafShare", "LossPoint", "RecipeCost", "Result", "Sample", "ScorerAudit", "SizePoint", "SplitAccuracy", "Study", "Worth",
    "render_report", "result_figure",
]
