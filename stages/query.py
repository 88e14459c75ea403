"""The teacher writes a problem, or a question about the context."""

from functools import partial

from espalier.generate import write_queries
from espalier.stage import stage
from stages._generation import READS, open_step, read_step, write_step
from stages._world import read_world


@stage("query", items=("recipe",), reads=("seed", "world", "gen.round_rows", "gen.max_overlap", *READS))
def main(params, recipe):
    """Run the step query of a recipe."""
    rows = read_step("context", recipe)
    step = open_step("query", recipe, params)
    pose = partial(read_world(params).pose, seed=params.seed)
    write_step(step, write_queries(rows, step.prompt, step.sampling, step.ask, pose=pose))


if __name__ == "__main__":
    main()
