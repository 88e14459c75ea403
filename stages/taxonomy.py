"""Reads the seed tree, attribute lists and prompt files, checks them all, and writes them as tables."""

from pathlib import Path

import polars

from espalier.attributes import choose, parse_attributes, parse_openings
from espalier.documents import ENDINGS as DOCUMENT_ENDINGS
from espalier.documents import passages
from espalier.errors import InputMissing, ParamsError
from espalier.general import check_leaf
from espalier.io import files_under, read_text, write_json, write_rows
from espalier.log import say
from espalier.params import did_you_mean
from espalier.prompts import INPUTS, parse_prompt
from espalier.round_trip import check_round_trip
from espalier.stage import stage
from espalier.taxonomy import YAML_ENDINGS, SeedLeaf, parse_tree, tabulate
from espalier.world.grammar import LEAF_OF

OUT = Path("data/taxonomy")


@stage("taxonomy", reads=("world", "taxonomy", "recipes", "gen.round_trip", "exam.held_out_examples"))
def main(params):
    """Check and tabulate leaves, seed examples, attributes and prompts."""
    settings = params.taxonomy
    tree = parse_tree(_texts(settings.tree, YAML_ENDINGS, "tree"), folder=settings.tree)
    requirements = [check_leaf(leaf, folder=settings.tree) if params.world == "general" else _check_task(leaf, settings.tree) for leaf in tree]
    attributes = parse_attributes(read_text(settings.attributes), file=settings.attributes)
    banned = parse_openings(read_text(settings.openings), file=settings.openings)
    prompts = {}
    for name, text in _texts(settings.prompts, (".yaml",), "prompts").items():
        prompt = parse_prompt(text, file=f"{settings.prompts}/{name}", attributes=attributes, banned=banned)
        prompts[prompt.id] = prompt
    documents = passages(_texts(settings.documents, DOCUMENT_ENDINGS, "documents"))
    for name, recipe in params.recipes.items():
        _check_recipe(name, recipe, prompts, attributes, documents)
    if params.gen.round_trip:
        check_round_trip(params.gen.round_trip, prompts)
    held_out = params.exam.held_out_examples
    leaves, seeds = tabulate(tree, held_out=held_out if params.world == "general" else 0)  # the built-in world's exam comes from its grammar
    leaves = leaves.with_columns(polars.Series("requirements", requirements, dtype=polars.String))
    write_rows(OUT / "leaves.parquet", leaves)
    write_rows(OUT / "seeds.parquet", seeds)
    write_rows(OUT / "documents.parquet", polars.DataFrame({"text": documents}, schema={"text": polars.String}))
    write_json(OUT / "attributes.json", attributes)
    write_json(OUT / "prompts.json", {name: prompt.as_json() for name, prompt in prompts.items()})
    branches = leaves.group_by("branch").len().sort("branch").rows()
    numbers = {"leaves": leaves.height, "seed_examples": seeds.height, "prompts": len(prompts)} | {f"{branch}_leaves": n for branch, n in branches}
    write_json("metrics/taxonomy.json", {"taxonomy": numbers})
    if leaves["rank"].n_unique() < leaves.height:
        say(f"taxonomy: {leaves.filter(leaves['rank'].is_duplicated()).height} leaves have no rank in leaf.yaml; their natural weights are all alike")
    say(f"taxonomy: {leaves.height} leaves, {seeds.height} seed examples, {len(prompts)} prompts -> {OUT}")


def _texts(folder: str, endings: tuple[str, ...], setting: str) -> dict[str, str]:
    if not Path(folder).is_dir():
        raise InputMissing(f"{folder}: no such folder; params.yaml: taxonomy.{setting} must name one")
    return {path: read_text(Path(folder) / path) for path in files_under(Path(folder), endings)}


def _check_task(leaf: SeedLeaf, tree: str) -> str:
    """The built-in world knows every leaf by its verifier, and has no requirements beside it."""
    if leaf.verifier not in LEAF_OF:
        wanted = did_you_mean(leaf.verifier, LEAF_OF) if leaf.verifier else "the exam of this world needs one: name it"
        raise ParamsError(f'{tree}/{leaf.leaf}/leaf.yaml: verifier is "{leaf.verifier}", no task of the world builtin; {wanted}')
    return ""


def _check_recipe(name, recipe, prompts, attributes, documents):
    """Every prompt that a recipe names exists, belongs to the step and gets its inputs."""
    chosen = choose(attributes, recipe.attributes, where=f"params.yaml: recipes.{name}")
    for step, prompt in recipe.steps.items():
        at = f"params.yaml: recipes.{name}.steps.{step}"
        if prompt not in prompts:
            raise ParamsError(f'{at} names the prompt "{prompt}", for which there is no file; {did_you_mean(prompt, prompts)}')
        if prompts[prompt].step != step:
            raise ParamsError(f'{at} names "{prompt}", a prompt of the step {prompts[prompt].step}; name one of {step}')
        if "answer" in prompts[prompt].inputs:
            raise ParamsError(f"{at}: the prompt {prompt} shows the answer, which is not written yet; name it in gen.round_trip, or another one here")
        if "source" in prompts[prompt].inputs and not documents:
            raise ParamsError(f"{at}: the prompt uses a passage of the documents; put some into the folder of taxonomy.documents")
        of_leaf = set(INPUTS) if recipe.leaves == "taxonomy" else set()  # `topic` is a leaf's own where no list of that name is walked through
        for missing in sorted((set(prompts[prompt].inputs) & set(attributes)) - set(chosen) - of_leaf):
            raise ParamsError(f'{at}: the prompt uses the attribute "{missing}"; add it to recipes.{name}.attributes')


if __name__ == "__main__":
    main()
