"""The teacher answers every problem, several times for the vote."""

from espalier.generate import write_answers
from espalier.stage import stage
from stages._generation import READS, open_step, read_step, write_step


@stage("answer", items=("recipe",), reads=("seed", *READS, "gen.answers"))
def main(params, recipe):
    """Run the step answer of a recipe."""
    rows = read_step("evolve", recipe)
    step = open_step("answer", recipe, params)
    write_step(step, write_answers(rows, step.prompt, step.sampling, step.ask))


if __name__ == "__main__":
    main()
