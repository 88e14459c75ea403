"""Audits every scorer against the verifier, and sets thresholds by target precision."""

from espalier.audit import audit_metrics, audit_rows
from espalier.io import read_rows, write_json, write_rows
from espalier.log import say
from espalier.stage import stage


@stage("audit", items=("recipe",), reads=("audit", "compare.confidence"))
def main(params, recipe):
    """Audit the scorers of a recipe where a verifier knows the truth."""
    out = f"data/audit/{recipe}"
    rows = read_rows(f"data/score/{recipe}/rows.parquet")
    audit = audit_rows(rows, target_precision=params.audit.target_precision, confidence=params.compare.confidence)
    write_rows(f"{out}/scorers.parquet", audit.scorers)
    write_rows(f"{out}/leaves.parquet", audit.leaves)
    write_rows(f"{out}/thresholds.parquet", audit.thresholds)
    numbers = audit_metrics(rows, audit)
    write_json(f"metrics/audit/{recipe}.json", {"audit": {recipe: numbers}})
    known, reached = numbers["rows_verified"], numbers["scorers_at_target"]
    say(f"audit: {audit.scorers.height} scorers of {recipe} on {known:,} verified rows, {reached} reach {params.audit.target_precision:.0%} right -> {out}")


if __name__ == "__main__":
    main()
