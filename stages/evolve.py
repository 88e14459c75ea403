"""The teacher turns problems into harder or other ones; a failed evolution gives the parent back."""

from espalier.evolve import evolve_queries
from espalier.stage import stage
from stages._generation import READS, open_step, read_step, write_step
from stages._world import read_world


@stage("evolve", items=("recipe",), reads=("seed", "world", *READS, "recipes.{recipe}.operations"))
def main(params, recipe):
    """Run the step evolve of a recipe."""
    rows = read_step("query", recipe)
    step = open_step("evolve", recipe, params)
    operations = params.recipes[recipe].operations
    write_step(step, evolve_queries(rows, step.prompt, operations, step.sampling, step.ask, world=read_world(params)))


if __name__ == "__main__":
    main()
