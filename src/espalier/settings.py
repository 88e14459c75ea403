"""The sections of params.yaml as frozen dataclasses: names, types and ranges. Meaning and unit stand beside each value in params.yaml.

No defaults: every value is written in params.yaml.
"""

from dataclasses import dataclass
from typing import Annotated

from espalier.engine_settings import Ray, Server, Vllm
from espalier.ranges import BRANCHES, CONTEXTS, SCHEDULES, SCORER_NAMES, WORLDS, Count, OneOf, Price, Share, Within


@dataclass(frozen=True, slots=True)
class Study:
    baseline: str
    recipes: tuple[str, ...]
    seeds: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Recipe:
    leaves: Annotated[str, OneOf(("teacher", "taxonomy"))]
    attributes: tuple[str, ...]
    operations: tuple[str, ...]
    steps: dict[str, str]


@dataclass(frozen=True, slots=True)
class Taxonomy:
    tree: str
    attributes: str
    prompts: str
    openings: str
    documents: str


@dataclass(frozen=True, slots=True)
class Exam:
    key_items: Annotated[int, Within(1, 1000)]
    template_items: Annotated[int, Within(0, 1000)]
    difficulty_items: Annotated[int, Within(0, 1000)]
    reference_texts: Annotated[int, Within(1, 10**6)]
    held_out_examples: Annotated[int, Within(0, 100)]


@dataclass(frozen=True, slots=True)
class Model:
    hidden: Annotated[int, Within(32, 32768)]
    layers: Annotated[int, Within(1, 100)]
    feed_forward: Annotated[int, Within(8, 131072)]
    context_tokens: Annotated[int, Within(8, 10**6)]


@dataclass(frozen=True, slots=True)
class Optimizer:
    tokens: Count
    batch_tokens: Count
    learning_rate: Annotated[float, Within(0, 1, above=True)]
    matrix_learning_rate: Annotated[float, Within(0, 1, above=True)]
    weight_decay: Annotated[float, Within(0, 10)]
    schedule: Annotated[str, OneOf(SCHEDULES)]
    warmup_share: Share
    decay_share: Share


@dataclass(frozen=True, slots=True)
class Teacher:
    engine: Annotated[str, OneOf(("hf", "server", "vllm", "ray"))]
    path: str
    skew: Annotated[float, Within(0, 3)]
    examples: Annotated[int, Within(1, 10**7)]
    answer_share: Share
    model: Model
    optimizer: Optimizer


@dataclass(frozen=True, slots=True)
class Plan:
    rows: Annotated[int, Within(1, 10**8)]


@dataclass(frozen=True, slots=True)
class Gen:
    temperature: Annotated[float, Within(0, 5)]
    top_p: Annotated[float, Within(0, 1, above=True)]
    max_tokens: Annotated[int, Within(1, 10**5)]
    answers: Annotated[int, Within(1, 64)]
    round_rows: Annotated[int, Within(1, 10**8)]
    max_overlap: Share
    chunk_rows: Annotated[int, Within(1, 10**5)]
    second_answers: Annotated[int, Within(0, 64)]
    second_temperature: Annotated[float, Within(0, 5)]
    round_trip: str


@dataclass(frozen=True, slots=True)
class Score:
    repeat_words: Annotated[int, Within(1, 20)]
    likelihood_model: str
    clusters: Annotated[int, Within(1, 10**5)]
    embeddings: str
    labels: str


@dataclass(frozen=True, slots=True)
class Audit:
    target_precision: Annotated[float, Within(0, 1, above=True)]


@dataclass(frozen=True, slots=True)
class Filter:
    kind: Annotated[str, OneOf(("rules", "top", "random"))]
    min_words: Annotated[int, Within(0, 10**5)]
    max_words: Annotated[int, Within(1, 10**5)]
    max_repeat: Share
    max_echo: Share
    require_verified: bool
    min_vote: Share
    rules: tuple[str, ...]
    scorer: Annotated[str, OneOf(SCORER_NAMES)]
    threshold: Annotated[str, OneOf(("share", "audit"))]
    keep_share: Share
    per_leaf: bool
    max_cluster_rows: Annotated[int, Within(0, 10**8)]
    min_leaf_rows: Annotated[int, Within(0, 10**8)]
    max_leaf_rows: Annotated[int, Within(0, 10**8)]


@dataclass(frozen=True, slots=True)
class Dedup:
    threshold: Annotated[float, Within(0, 1, above=True)]
    shingle_words: Annotated[int, Within(1, 20)]
    permutations: Annotated[int, Within(16, 1024)]


@dataclass(frozen=True, slots=True)
class Decontaminate:
    benchmarks: str
    ngram: Annotated[int, Within(2, 50)]
    max_coverage: Annotated[float, Within(0, 1, above=True)]
    min_similarity: Annotated[float, Within(0, 1, above=True)]
    max_leaked_share: Share


@dataclass(frozen=True, slots=True)
class Mix:
    budget_tokens: Count
    allow_short: bool


@dataclass(frozen=True, slots=True)
class Tokens:
    tokenizer: str
    context_tokens: Annotated[int, Within(8, 10**6)]
    by_branch: bool


@dataclass(frozen=True, slots=True)
class Phase:
    branches: tuple[Annotated[str, OneOf(BRANCHES)], ...]
    share: Annotated[float, Within(0, 1, above=True)]
    replay: Share


@dataclass(frozen=True, slots=True)
class Train:
    size: Annotated[str, OneOf(tuple(CONTEXTS))]
    precision: Annotated[str, OneOf(("auto", "fp32", "bf16"))]
    processes: Annotated[int, Within(1, 1024)]
    sharding: Annotated[str, OneOf(("ddp", "fsdp"))]
    micro_batch: Annotated[int, Within(0, 10**6)]
    gradient_checkpointing: bool
    checkpoint_steps: Count
    sizes: tuple[Annotated[float, Within(0, 1, above=True)], ...]
    spike_deviations: Annotated[float, Within(0, 1000)]
    skip_spikes: bool
    phases: tuple[Phase, ...]
    optimizer: Optimizer


@dataclass(frozen=True, slots=True)
class Evaluate:
    batch_items: Annotated[int, Within(1, 10**5)]
    max_tokens: Annotated[int, Within(1, 10**4)]
    tasks: tuple[str, ...]
    task_files: str
    task_data: str
    task_form: Annotated[str, OneOf(("chat", "text"))]
    task_items: Annotated[int, Within(0, 10**8)]


@dataclass(frozen=True, slots=True)
class Diversity:
    sample_words: Count
    covered_rows: Count


@dataclass(frozen=True, slots=True)
class Compare:
    draws: Annotated[int, Within(100, 10**6)]
    confidence: Annotated[float, Within(0.5, 0.999)]


@dataclass(frozen=True, slots=True)
class Report:
    samples: Annotated[int, Within(0, 1000)]


@dataclass(frozen=True, slots=True)
class Estimate:
    power_w: Price
    price_kwh: Price
    price_hour: Price
    price_million_prompt_tokens: Price
    price_million_tokens: Price


@dataclass(frozen=True, slots=True)
class Params:
    """The whole of params.yaml; a stage is handed only the sections that it declares."""

    format: Annotated[int, Within(1, 10**6)]
    seed: Annotated[int, Within(0, 2**63)]
    world: Annotated[str, OneOf(WORLDS)]
    study: Study
    recipes: dict[str, Recipe]
    taxonomy: Taxonomy
    exam: Exam
    teacher: Teacher
    server: Server
    vllm: Vllm
    ray: Ray
    plan: Plan
    gen: Gen
    score: Score
    audit: Audit
    filter: Filter
    dedup: Dedup
    decontaminate: Decontaminate
    mix: Mix
    tokens: Tokens
    train: Train
    evaluate: Evaluate
    diversity: Diversity
    compare: Compare
    estimate: Estimate
    report: Report
