"""The teacher answers every problem, several times for the vote."""

from espalier.generate import write_answers
from espalier.stage import stage
from stages._generation import READS, Asker, read_step, write_step


@stage("answer", items=("recipe",), reads=("seed", *READS, "gen.answers"))
def main(params, recipe):
    """Run the step answer of a recipe."""
    rows = read_step("evolve", recipe)
    asker = Asker("answer", recipe, params)
    write_step(asker, write_answers(rows, asker.prompt, asker.sampling, asker))


if __name__ == "__main__":
    main()
