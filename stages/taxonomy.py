"""Reads the seed tree, attribute lists and prompt files, checks them all, and writes them as tables."""

from pathlib import Path

from espalier.attributes import choose, parse_attributes
from espalier.errors import InputMissing, ParamsError
from espalier.io import files_under, read_text, write_json, write_rows
from espalier.log import say
from espalier.params import did_you_mean
from espalier.prompts import parse_prompt
from espalier.stage import stage
from espalier.taxonomy import YAML_ENDINGS, parse_tree, tabulate
from espalier.world.grammar import LEAF_OF

OUT = Path("data/taxonomy")


@stage("taxonomy", reads=("world", "taxonomy", "recipes"))
def main(params):
    """Check and tabulate leaves, seed examples, attributes and prompts."""
    settings, world = params.taxonomy, params.world
    tree = parse_tree({path: read_text(Path(settings.tree) / path) for path in files_under(_folder(settings.tree), YAML_ENDINGS)}, folder=settings.tree)
    for leaf in tree:
        if leaf.verifier not in LEAF_OF:
            wanted = did_you_mean(leaf.verifier, LEAF_OF) if leaf.verifier else "the exam of this world needs one: name it"
            raise ParamsError(f'{settings.tree}/{leaf.leaf}/leaf.yaml: verifier is "{leaf.verifier}", no task of the world {world}; {wanted}')
    attributes = parse_attributes(read_text(settings.attributes), file=settings.attributes)
    prompts = {}
    for name, text in _texts(settings.prompts, "*.yaml").items():
        prompt = parse_prompt(text, file=f"{settings.prompts}/{name}", attributes=attributes)
        prompts[prompt.id] = prompt
    for name, recipe in params.recipes.items():
        _check_recipe(name, recipe, prompts, attributes)
    leaves, seeds = tabulate(tree)
    write_rows(OUT / "leaves.parquet", leaves)
    write_rows(OUT / "seeds.parquet", seeds)
    write_json(OUT / "attributes.json", attributes)
    write_json(OUT / "prompts.json", {name: prompt.as_json() for name, prompt in prompts.items()})
    branches = leaves.group_by("branch").len().sort("branch").rows()
    numbers = {"leaves": leaves.height, "seed_examples": seeds.height, "prompts": len(prompts)} | {f"{branch}_leaves": n for branch, n in branches}
    write_json("metrics/taxonomy.json", {"taxonomy": numbers})
    if leaves["rank"].n_unique() < leaves.height:
        say(f"taxonomy: {leaves.filter(leaves['rank'].is_duplicated()).height} leaves have no rank in leaf.yaml; their natural weights are all alike")
    say(f"taxonomy: {leaves.height} leaves, {seeds.height} seed examples, {len(prompts)} prompts -> {OUT}")


def _texts(folder: str, pattern: str) -> dict[str, str]:
    return {str(file.relative_to(folder)): read_text(file) for file in sorted(_folder(folder).glob(pattern))}


def _folder(name: str) -> Path:
    if not Path(name).is_dir():
        raise InputMissing(f"{name}: no such folder; taxonomy.tree and taxonomy.prompts in params.yaml name folders")
    return Path(name)


def _check_recipe(name, recipe, prompts, attributes):
    """Every prompt that a recipe names exists, belongs to the step and gets its inputs."""
    chosen = choose(attributes, recipe.attributes, where=f"params.yaml: recipes.{name}")
    for step, prompt in recipe.steps.items():
        at = f"params.yaml: recipes.{name}.steps.{step}"
        if prompt not in prompts:
            raise ParamsError(f'{at} names the prompt "{prompt}", for which there is no file; {did_you_mean(prompt, prompts)}')
        if prompts[prompt].step != step:
            raise ParamsError(f'{at} names "{prompt}", a prompt of the step {prompts[prompt].step}; name one of {step}')
        for missing in sorted((set(prompts[prompt].inputs) & set(attributes)) - set(chosen)):
            raise ParamsError(f'{at}: the prompt uses the attribute "{missing}"; add it to recipes.{name}.attributes')


if __name__ == "__main__":
    main()
