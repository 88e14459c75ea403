"""`espalier profile list | apply NAME | undo`: lay a whole study over params.yaml, and take it off again.

The text before is kept in .espalier/params.before.yaml, and the one that `apply` made beside it, so that `undo` sees whether somebody edited params.yaml since.
"""

from pathlib import Path

import click

from espalier.errors import InputMissing, ParamsError
from espalier.io import files_under, read_bytes, read_text, write_bytes, write_text
from espalier.log import say
from espalier.params import FILE, load_yaml, parse_params
from espalier.profiles import Profile, chain, overlay, parse_profile
from espalier.settings import Params

FOLDER = Path("data/seeds/profiles")
BEFORE, APPLIED = Path(".espalier/params.before.yaml"), Path(".espalier/params.applied.yaml")


@click.group()
def profile() -> None:
    """Whole studies as overlays on params.yaml."""


@profile.command("list")
def list_profiles() -> None:
    """Names, and what each is for."""
    for name, one in _read_profiles().items():
        click.echo(f"{name:12} {one.about}")


@profile.command()
@click.argument("name")
@click.option("--teacher", help="Folder of the teacher in Hugging Face layout; becomes teacher.path.")
def apply(name: str, teacher: str | None) -> None:
    """Lay a profile over params.yaml."""
    if BEFORE.exists():
        raise ParamsError(f"{BEFORE}: there is one, so a profile is applied already; take it off with `espalier profile undo` first")
    before, profiles = read_text(FILE), chain(name, _read_profiles())
    text = overlay(before, profiles, teacher=teacher)
    params = _checked(text, name)
    write_text(BEFORE, before)
    write_text(APPLIED, text)
    write_text(FILE, text)
    say(f"profile: {name} -> {FILE}: {len(params.study.recipes)} recipes of {params.plan.rows:,} rows, teacher {params.teacher.path}")
    say("profile: next `dvc repro taxonomy teacher`, then `espalier preview -n 3` and `dvc repro`; back with `espalier profile undo`")


@profile.command()
def undo() -> None:
    """Put back the params.yaml from before."""
    if not BEFORE.exists():
        raise InputMissing(f"{BEFORE}: no such file, so no profile is applied; see `espalier profile list`")
    before, now = read_bytes(BEFORE), read_bytes(FILE)
    if now != before and not (APPLIED.exists() and now == read_bytes(APPLIED)):
        raise ParamsError(
            f"{FILE} was edited since the profile was applied, and undo would lose that; see `diff {APPLIED} {FILE}`. To go back all the same: "
            f"`cp {APPLIED} {FILE}`, then `espalier profile undo`. To keep {FILE} as it is: `rm {BEFORE} {APPLIED}`"
        )
    write_bytes(FILE, before)
    APPLIED.unlink(missing_ok=True)
    BEFORE.unlink()
    say(f"profile: {FILE} is as before")


def _checked(text: str, name: str) -> Params:
    """What the text would set. Raises: ParamsError, for a world that the built-in teacher does not speak with the option that names another."""
    found = load_yaml(text, file=FILE)
    if found["world"] != "builtin" and found["teacher"]["path"] == "built-in":
        raise ParamsError(f"the profile {name} has the world {found['world']}, and the built-in teacher does not speak it; name another with --teacher FOLDER")
    return parse_params(text, file=f"{FILE} with the profile {name}")


def _read_profiles() -> dict[str, Profile]:
    """All profiles by name."""
    if not FOLDER.is_dir():
        raise InputMissing(f"{FOLDER}: no such folder; run in the folder that holds params.yaml")
    return {Path(path).stem: parse_profile(read_text(FOLDER / path), file=str(FOLDER / path)) for path in files_under(FOLDER, (".yaml",))}
