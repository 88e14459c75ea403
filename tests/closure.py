"""What each stage imports, and the code deps of dvc.yaml made of it; `python tests/closure.py` writes them (`make deps`)."""

import ast
from pathlib import Path

from ruamel.yaml import YAML

ROOT = Path(__file__).resolve().parent.parent
# Quiet modules may not change what a stage writes, so they are no deps (design: when one starts to matter, params.yaml's `format` is raised).
QUIET = {f"src/espalier/{name}.py" for name in ("__init__", "errors", "params", "ranges", "settings", "engine_settings", "io", "seeds", "heap", "log", "progress", "stage", "interrupt", "launch", "ledger", "train_checks")}
CODE = ("src/", "stages/")


def imported(file: Path, root: Path = ROOT) -> set[str]:
    """The project's files that a file imports, anywhere in it (imports for type checking alone are left out)."""
    tree = ast.parse(file.read_text())
    unused = {id(node) for guard in ast.walk(tree) if _is_type_checking(guard) for node in ast.walk(guard)}
    found: set[str] = set()
    for node in ast.walk(tree):
        if id(node) in unused:
            continue
        if isinstance(node, ast.Import):
            found |= {path for alias in node.names for path in _paths(alias.name, root)}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= _paths(node.module, root) | {path for alias in node.names for path in _paths(f"{node.module}.{alias.name}", root)}
    return found


def closure(stage: str, root: Path = ROOT) -> set[str]:
    """All files that a stage's command runs, quiet ones and empty packages left out."""
    seen: set[str] = set()
    waiting = [f"stages/{stage}.py"]
    while waiting:
        path = waiting.pop()
        if path not in seen:
            seen.add(path)
            waiting += imported(root / path, root)
    return {path for path in seen - QUIET if path != "stages/__init__.py" and not (path.endswith("__init__.py") and not _has_code(root / path))}


def _is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def _has_code(file: Path) -> bool:
    return any(not isinstance(node, ast.Expr) for node in ast.parse(file.read_text()).body)


def _paths(module: str, root: Path) -> set[str]:
    base = "" if module.startswith("stages") else "src/"
    if module.split(".")[0] not in ("stages", "espalier"):
        return set()
    path = base + module.replace(".", "/")
    packages = {"/".join(path.split("/")[:n]) + "/__init__.py" for n in range(2 if base else 1, path.count("/") + 2)}
    return {one for one in {f"{path}.py", *packages} if (root / one).is_file()}


def write_deps(root: Path = ROOT) -> None:
    """Put the closures into dvc.yaml, before the data deps."""
    yaml = YAML()
    yaml.width = 200
    yaml.indent(mapping=2, sequence=2, offset=0)
    pipeline = yaml.load(root / "dvc.yaml")
    for name, stage in pipeline["stages"].items():
        data = [dep for dep in stage["deps"] if not str(dep).startswith(CODE)]
        stage["deps"][:] = [*sorted(closure(name, root)), *data]
    yaml.dump(pipeline, root / "dvc.yaml")


if __name__ == "__main__":
    write_deps()
