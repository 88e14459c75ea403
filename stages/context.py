"""The teacher writes the material or document that a problem is about, where the recipe has such a step."""

from espalier.generate import start_rows, write_contexts
from espalier.stage import stage
from stages._generation import READS, open_step, read_step, write_step


@stage("context", items=("recipe",), reads=("seed", *READS))
def main(params, recipe):
    """Run the step context of a recipe."""
    rows = read_step("plan", recipe)
    step = open_step("context", recipe, params)
    write_step(step, write_contexts(start_rows(rows), step.prompt, step.sampling, step.ask))


if __name__ == "__main__":
    main()
