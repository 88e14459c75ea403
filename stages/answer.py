"""The teacher answers every problem, several times for the vote, and where a round trip is wanted asks each question back."""

from espalier.generate import write_answers
from espalier.io import read_json
from espalier.prompts import Prompt
from espalier.round_trip import ask_back
from espalier.stage import stage
from stages._generation import READS, open_step, read_step, write_step


@stage("answer", items=("recipe",), reads=("seed", *READS, "gen.answers", "gen.second_answers", "gen.second_temperature"))
def main(params, recipe):
    """Run the step answer of a recipe."""
    rows = read_step("evolve", recipe)
    step = open_step("answer", recipe, params)
    back = read_json(f"data/plan/{recipe}/round_trip.json")
    answers = write_answers(rows, step.prompt, step.sampling, step.ask)
    write_step(step, ask_back(answers, Prompt.from_json(back) if back else None, step.sampling, step.ask))


if __name__ == "__main__":
    main()
