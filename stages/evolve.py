"""The teacher turns problems into harder or other ones; a failed evolution gives the parent back."""

from espalier.evolve import evolve_queries
from espalier.stage import stage
from stages._generation import READS, Asker, read_step, write_step
from stages._world import read_world


@stage("evolve", items=("recipe",), reads=("seed", "world", *READS, "recipes.{recipe}.operations"))
def main(params, recipe):
    """Run the step evolve of a recipe."""
    rows = read_step("query", recipe)
    asker = Asker("evolve", recipe, params)
    write_step(asker, evolve_queries(rows, asker.prompt, params.recipes[recipe].operations, asker.sampling, asker, world=read_world(params)))


if __name__ == "__main__":
    main()
