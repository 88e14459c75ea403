"""`espalier profile`: what is laid over params.yaml, that its comments stay, and that undo gives back every byte."""

import re

import pytest
from click.testing import CliRunner

from espalier.cli import cli
from espalier.errors import ParamsError
from espalier.params import load_yaml, parse_params
from espalier.profiles import chain, overlay, parse_profile
from espalier.scorers.heuristics import heuristics
from espalier.taxonomy import parse_tree
from tests.closure import ROOT
from tests.test_house import _is_recipe_part

TEXT = (ROOT / "params.yaml").read_text()
FILES = {path.stem: path for path in sorted((ROOT / "data/seeds/profiles").glob("*.yaml"))}
PROFILES = {name: parse_profile(path.read_text(), file=path.name) for name, path in FILES.items()}
SMALL = """\
# A comment.
seed: 1                     # of all draws

study:
  baseline: direct          # the first
  recipes:                  # names
  - direct
  - lab

recipes:                    # ways
  direct:                   # plain
    leaves: teacher         # who picks

teacher:
  path: built-in            # folder
"""


def applied(name, teacher="models/real"):
    return overlay(TEXT, chain(name, PROFILES), teacher=teacher)


def small(changes, about="a test", **more):
    lines = [f"about: {about}", *(f"{key}: {value}" for key, value in more.items()), "params:", *(f"  {line}" for line in changes.splitlines())]
    return parse_profile("\n".join(lines) + "\n", file="p.yaml")


def comments(text):
    """What stands behind #, by dotted name, outside of recipes."""
    found, path = {}, []
    for line in text.splitlines():
        if match := re.match(r"^( *)(\w+):.*?(?: # *(.*))?$", line):
            path = [*path[: len(match[1]) // 2], match[2]]
            if match[3] and path[0] != "recipes":
                found[".".join(path)] = match[3]
    return found


def run(*arguments):
    result = CliRunner().invoke(cli, [str(one) for one in arguments])
    assert isinstance(result.exception, SystemExit | None), result.exc_info  # no traceback
    return result.exit_code, result.stdout, result.stderr


@pytest.fixture
def study(tmp_path, monkeypatch):
    """A working folder with params.yaml and the profiles."""
    (tmp_path / "data/seeds/profiles").mkdir(parents=True)
    for name, path in FILES.items():
        (tmp_path / f"data/seeds/profiles/{name}.yaml").write_text(path.read_text())
    (tmp_path / "params.yaml").write_bytes(TEXT.encode())
    monkeypatch.chdir(tmp_path)
    return tmp_path


# The overlay


def test_nothing_changes_but_what_a_profile_names():
    assert overlay(SMALL, []) == SMALL
    assert overlay(TEXT, []) == TEXT
    assert overlay(SMALL, [small("seed: 7")]) == SMALL.replace("seed: 1 ", "seed: 7 ")
    assert overlay(SMALL, [small("study:\n  recipes:  # others\n  - lab  # alone\n\n")]) == SMALL.replace("  - direct\n", "")
    assert overlay(SMALL, [], teacher="a: b") == SMALL.replace("path: built-in ", "path: 'a: b' ".replace("'a: b' ", "'a: b'   "))


def test_recipes_are_replaced_as_a_whole_with_their_comments_and_one_empty_line_after_them():
    text = overlay(SMALL, [small("recipes:\n  magpie:         # open\n    leaves: teacher  # who")])
    assert load_yaml(text, file="")["recipes"] == {"magpie": {"leaves": "teacher"}}
    assert "# open" in text
    assert "# plain" not in text
    assert text.endswith("# who\n\nteacher:\n  path: built-in            # folder\n")


def test_a_later_profile_wins_over_the_one_that_it_extends():
    base, top = small("seed: 7\nstudy:\n  baseline: lab"), small("seed: 9", extends="base")
    assert [one.about for one in chain("top", {"base": base, "top": top})] == ["a test", "a test"]
    found = load_yaml(overlay(SMALL, chain("top", {"base": base, "top": top})), file="")
    assert (found["seed"], found["study"]["baseline"]) == (9, "lab")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ("sed: 7", 'p.yaml: params.sed is not in params.yaml; did you mean "seed"?'),
        ("study:\n  recipe: []", 'p.yaml: params.study.recipe is not in params.yaml; did you mean "recipes"?'),
        ("study: lab", 'p.yaml: params.study is "lab"; params.yaml has a mapping of 2 there'),
        ("seed:\n  n: 1", "p.yaml: params.seed is a mapping of 1; params.yaml has 1 there"),
    ],
)
def test_a_value_that_params_has_no_place_for_is_refused(changes, said):
    with pytest.raises(ParamsError) as raised:
        overlay(SMALL, [small(changes)])
    assert str(raised.value) == said


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("- a", "p.yaml: found a list of 1; a profile has the keys about, extends, params"),
        ("about: a\nparms: {seed: 1}", 'p.yaml: parms is no key of a profile; did you mean "params"?'),
        ("params: {seed: 1}", "p.yaml: about is empty; it must be one line that says what the profile is for"),
        ("about: a\nextends: [general]\nparams: {seed: 1}", "p.yaml: extends is a list of 1; it must be the name of another profile, or be left out"),
        ("about: a\nparams: {}", "p.yaml: params is a mapping of 0; it must hold values in the nesting of params.yaml"),
        ("about: a\nabout: b\nparams: {seed: 1}", None),
    ],
)
def test_a_file_that_is_no_profile_is_refused(text, said):
    with pytest.raises(ParamsError) as raised:
        parse_profile(text, file="p.yaml")
    assert said is None or str(raised.value) == said


def test_an_unknown_name_and_a_circle_are_refused():
    one, other = small("seed: 1", extends="other"), small("seed: 2", extends="one")
    with pytest.raises(ParamsError, match='^there is no profile "on"; did you mean "one"[?]$'):
        chain("on", {"one": one, "other": other})
    with pytest.raises(ParamsError, match='^p.yaml: extends names "zzz"; known: one$'):
        chain("one", {"one": small("seed: 1", extends="zzz")})
    with pytest.raises(ParamsError, match='^p.yaml: extends names "one", which extends it in turn; take one of them out$'):
        chain("one", {"one": one, "other": other})


# The shipped profiles


@pytest.mark.parametrize("name", FILES)
def test_a_shipped_profile_gives_right_params_and_keeps_every_comment(name):
    text = applied(name)
    params = parse_params(text)
    assert (params.world, params.teacher.path, len(params.recipes)) == ("general", "models/real", 9)
    assert comments(text) == comments(TEXT)
    assert re.findall(r"\n\n(\w+):", text) == re.findall(r"\n\n(\w+):", TEXT)
    assert "\n\n\n" not in text


@pytest.mark.parametrize("name", FILES)
def test_every_value_of_a_profile_has_a_comment(name):
    bare = set()
    for line in FILES[name].read_text().split("params:\n")[1].splitlines():
        key = line.split(":")[0].strip()
        if ":" in line and "#" not in line and not line.rstrip().endswith(":") and not _is_recipe_part(key):
            bare.add(key)
    assert bare <= {"leaves", "attributes", "operations"}  # which the first recipe explains


def test_the_machines_are_those_that_their_names_say():
    eight, one, many = (parse_params(applied(name)) for name in ("rtx4090x8", "rtx4090x1", "cluster"))
    assert [(params.teacher.engine, params.vllm.tensor_parallel, params.vllm.context_tokens) for params in (eight, one, many)] == [
        ("vllm", 1, 4096), ("vllm", 1, 4096), ("ray", 1, 4096),
    ]  # fmt: skip
    assert (eight.vllm.replicas, one.vllm.replicas) == (8, 1)
    assert (many.ray.address, many.ray.replicas, many.ray.engine, many.ray.gpus) == ("auto", 32, "vllm", 1)
    assert {(params.train.size, params.train.precision) for params in (eight, one, many)} == {("125m", "bf16")}


@pytest.mark.parametrize(("name", "teacher_s", "student_s"), [("rtx4090x8", 243_000, 320_000), ("rtx4090x1", 243_000, 38_400), ("cluster", 121_500, 320_000)])
def test_the_arithmetic_of_a_machine_adds_up(name, teacher_s, student_s):
    """As in the comments of the files: 1,620 teacher tokens a row of four recipes at 1,000 tokens/s a card, 12 students at 30,000 tokens/s."""
    params = parse_params(applied(name))
    cards = params.ray.replicas if params.teacher.engine == "ray" else params.vllm.replicas
    assert params.plan.rows * (300 + 320 + 620 + 380) / (1_000 * cards) == pytest.approx(teacher_s)
    assert 12 * params.train.optimizer.tokens / 30_000 == pytest.approx(student_s)
    assert params.mix.budget_tokens <= params.plan.rows * 0.6 * 300
    assert params.train.optimizer.tokens <= 4 * params.mix.budget_tokens


def test_no_seed_answer_breaks_the_limits_of_the_filter():
    limits = parse_params(applied("general"))
    folder = ROOT / "data/seeds/taxonomy/general"
    files = {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*.yaml")}
    for leaf in parse_tree(files, folder="general"):
        for example in leaf.examples:
            found = heuristics(example.question, example.answer, finish="stop", repeat_words=limits.score.repeat_words)
            assert limits.filter.min_words <= found.words <= limits.filter.max_words, (leaf.leaf, found)
            assert found.repeat_share <= limits.filter.max_repeat, (leaf.leaf, found)
            assert found.echo_share <= limits.filter.max_echo, (leaf.leaf, found, example.answer)


# The command


def test_list_names_every_profile_and_what_it_is_for(study):
    code, out, err = run("profile", "list")
    assert (code, err) == (0, "")
    assert [line.split()[0] for line in out.splitlines()] == ["cluster", "general", "rtx4090x1", "rtx4090x8"]
    assert all(profile.about in out for profile in PROFILES.values())


def test_apply_and_undo_give_back_every_byte(study):
    before = TEXT.replace("seed: 42", "seed:   42   ").encode() + b"# the end, without a line end"
    (study / "params.yaml").write_bytes(before)
    code, out, err = run("profile", "apply", "rtx4090x8", "--teacher", "models/real")
    assert (code, out) == (0, "")
    assert err.splitlines()[0] == "profile: rtx4090x8 -> params.yaml: 4 recipes of 1,200,000 rows, teacher models/real"
    assert "next `dvc repro taxonomy teacher`" in err
    assert (study / ".espalier/params.before.yaml").read_bytes() == before
    assert parse_params((study / "params.yaml").read_text()).vllm.replicas == 8
    assert run("profile", "undo") == (0, "", "profile: params.yaml is as before\n")
    assert (study / "params.yaml").read_bytes() == before
    assert list((study / ".espalier").iterdir()) == []


def test_a_second_profile_wants_an_undo_first(study):
    assert run("profile", "apply", "general", "--teacher", "m")[0] == 0
    text = (study / "params.yaml").read_text()
    said = "espalier: .espalier/params.before.yaml: there is one, so a profile is applied already; take it off with `espalier profile undo` first\n"
    assert run("profile", "apply", "cluster", "--teacher", "m") == (2, "", said)
    assert (study / "params.yaml").read_text() == text


def test_undo_refuses_to_lose_an_edit_and_says_how_to_go_on(study):
    assert run("profile", "apply", "general", "--teacher", "m")[0] == 0
    edited = (study / "params.yaml").read_text().replace("seed: 42", "seed: 43")
    (study / "params.yaml").write_text(edited)
    code, _, err = run("profile", "undo")
    assert (code, (study / "params.yaml").read_text()) == (2, edited)
    assert "was edited since the profile was applied" in err
    assert "`cp .espalier/params.applied.yaml params.yaml`" in err
    (study / "params.yaml").write_bytes((study / ".espalier/params.applied.yaml").read_bytes())
    assert run("profile", "undo")[0] == 0
    assert (study / "params.yaml").read_text() == TEXT


def test_undo_without_a_profile_and_apply_of_an_unknown_one_are_one_line(study):
    assert run("profile", "undo") == (3, "", "espalier: .espalier/params.before.yaml: no such file, so no profile is applied; see `espalier profile list`\n")
    assert run("profile", "apply", "genral") == (2, "", 'espalier: there is no profile "genral"; did you mean "general"?\n')


@pytest.mark.parametrize(("params", "said"), [("params.yaml", "name another with --teacher FOLDER"), ("broken", "plan.rows is 0")])
def test_nothing_is_written_where_the_result_would_be_wrong(study, params, said):
    if params == "broken":
        file = study / "data/seeds/profiles/general.yaml"
        file.write_text(file.read_text().replace("rows: 2000 ", "rows: 0 "))
    code, _, err = run("profile", "apply", "general", *(["--teacher", "m"] if params == "broken" else []))
    assert (code, said in err) == (2, True)
    assert (study / "params.yaml").read_text() == TEXT
    assert not (study / ".espalier").exists()


def test_a_kill_between_the_writes_of_apply_can_be_undone(study):
    (study / ".espalier").mkdir()
    (study / ".espalier/params.before.yaml").write_text(TEXT)
    assert run("profile", "undo")[0] == 0
    assert (study / "params.yaml").read_text() == TEXT
