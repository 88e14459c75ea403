"""The teacher writes a problem, or a question about the context."""

from functools import partial

from espalier.generate import write_queries
from espalier.stage import stage
from stages._generation import READS, Asker, read_step, write_step
from stages._world import read_world


@stage("query", items=("recipe",), reads=("seed", "world", "gen.round_rows", "gen.max_overlap", *READS))
def main(params, recipe):
    """Run the step query of a recipe."""
    rows = read_step("context", recipe)
    asker = Asker("query", recipe, params)
    world = read_world(params)
    write_step(asker, write_queries(rows, asker.prompt, asker.sampling, asker, pose=partial(world.pose, seed=params.seed)))


if __name__ == "__main__":
    main()
