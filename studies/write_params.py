"""Writes each study's params.yaml: the pipeline's own with what study.yaml changes (`make studies`). A test says whether they are stale."""

from pathlib import Path

from espalier.io import read_text, write_text
from espalier.params import parse_params
from espalier.profiles import overlay, parse_profile

HERE = Path(__file__).resolve().parent


def study_params(study: Path) -> str:
    """The text of a study's params.yaml. Raises: ParamsError."""
    file = study / "study.yaml"
    text = overlay(read_text(HERE.parent / "params.yaml"), [parse_profile(read_text(file), file=str(file))])
    parse_params(text, file=str(study / "params.yaml"))
    return text


if __name__ == "__main__":
    for found in sorted(HERE.glob("*/study.yaml")):
        write_text(found.parent / "params.yaml", study_params(found.parent))
