"""The shapes of our Llamas and what they cost: parameters, and floating-point operations a token. Pure arithmetic, no torch.

Letters: d hidden width, L layers, f width of the SwiGLU block, T tokens a sequence, V vocabulary.
"""

from dataclasses import dataclass

from espalier.settings import Model


@dataclass(frozen=True, slots=True)
class Shape:
    """A Llama with tied embeddings. head: dimensions of one; key_value_heads: grouped-query attention when fewer than heads (arXiv 2305.13245)."""

    hidden: int
    layers: int
    feed_forward: int
    context_tokens: int
    head: int
    key_value_heads: int
    rope_theta: float

    @property
    def heads(self) -> int:
        """Query heads."""
        return self.hidden // self.head


# 125m, 350m: SmolLM2-135M and -360M (huggingface/smollm, text/pretraining/smollm2). 1b: Llama 3.2 1B (arXiv 2407.21783 and its model card) with our vocabulary.
# 500m: between the two, with the ratios of 350m. Heads of `tiny` have 32 dimensions, for which vLLM has CPU kernels.
SIZES = {
    "tiny": Shape(hidden=96, layers=3, feed_forward=264, context_tokens=128, head=32, key_value_heads=3, rope_theta=1e3),
    "125m": Shape(hidden=576, layers=30, feed_forward=1536, context_tokens=2048, head=64, key_value_heads=3, rope_theta=1e4),
    "350m": Shape(hidden=960, layers=32, feed_forward=2560, context_tokens=2048, head=64, key_value_heads=5, rope_theta=1e4),
    "500m": Shape(hidden=1152, layers=32, feed_forward=3072, context_tokens=2048, head=64, key_value_heads=6, rope_theta=1e4),
    "1b": Shape(hidden=2048, layers=16, feed_forward=8192, context_tokens=2048, head=64, key_value_heads=8, rope_theta=1e4),
}


def shape_of(model: Model) -> Shape:
    """The shape of the built-in teacher's section: heads of 32 dimensions, each with keys of its own."""
    return Shape(model.hidden, model.layers, model.feed_forward, model.context_tokens, head=32, key_value_heads=model.hidden // 32, rope_theta=1e3)


def layer_matrix_parameters(shape: Shape) -> int:
    """Weights in the matrices of one layer: queries and output d x d, keys and values d x (head key_value_heads), three of d x f."""
    d = shape.hidden
    return 2 * d * d + 2 * d * shape.head * shape.key_value_heads + 3 * d * shape.feed_forward


def count_parameters(shape: Shape, vocabulary: int) -> int:
    """Weights in all; the tied embedding counts once."""
    return vocabulary * shape.hidden + shape.layers * (layer_matrix_parameters(shape) + 2 * shape.hidden) + shape.hidden


def train_flops(shape: Shape, vocabulary: int, sequence: int) -> int:
    """FLOPs a token of one forward and backward pass: 6 for every weight of a matrix that the token meets (the head too, the embedding's look-up not), and
    6 L d (T + 1) for attention, whose causal half alone counts. Recomputation by gradient checkpointing is work and not use, so it does not count.

    Source: Kaplan et al. 2020, arXiv 2001.08361, table 1; PaLM, arXiv 2204.02311, appendix B (which counts attention in full: twice ours).
    """
    matrices = shape.layers * layer_matrix_parameters(shape) + vocabulary * shape.hidden
    return 6 * matrices + 6 * shape.layers * shape.hidden * (sequence + 1)
