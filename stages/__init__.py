"""One thin command for each stage of dvc.yaml; run as `python -m stages.<stage> [items]` from the repository root.

In `dvc exp run --temp` the stages run in a copy of the repository: its own src must win over an installed one.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))
