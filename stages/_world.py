"""The world of params.yaml, for the stages that ask it."""

from espalier.io import read_rows
from espalier.worlds import World, open_world


def read_world(params) -> World:
    """The world with the leaves and seed examples that the stage taxonomy left."""
    return open_world(params.world, read_rows("data/taxonomy/leaves.parquet"), read_rows("data/taxonomy/seeds.parquet"))
