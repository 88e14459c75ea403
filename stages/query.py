"""The teacher writes a problem, or a question about the context."""

from espalier.generate import write_queries
from espalier.stage import stage
from stages._generation import READS, Asker, read_step, write_step


@stage("query", items=("recipe",), reads=("seed", *READS))
def main(params, recipe):
    """Run the step query of a recipe."""
    rows = read_step("context", recipe)
    asker = Asker("query", recipe, params)
    write_step(asker, write_queries(rows, asker.prompt, asker.sampling, asker))


if __name__ == "__main__":
    main()
