"""The engine `vllm`: offline batch inference with vLLM (continuous batching, paged KV cache, shared prefixes), on GPUs or the CPU.

Prompts are ids that our own chat form makes, never text through a chat template: no word of a text becomes a control token, and every engine of ours puts
the same ids to the model. Each request has its own random numbers, so a reply does not depend on what shares its batch, but for ties of floating-point sums.
On the CPU vLLM 0.32 fails on a seeded request whose prompt is read in two pieces ("CPU Generator does not use offset"), so prompts are read whole there.
Source: arXiv 2309.06180 (PagedAttention).
"""

import importlib.util
import math
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from espalier.errors import EspalierError
from espalier.interrupt import unheard
from espalier.prompts import Messages
from espalier.settings import Vllm
from espalier.teachers.base import Completion, Request
from espalier.teachers.chat import open_chat
from espalier.teachers.pin import fingerprint
from espalier.teachers.replicas import Place, Result, Score, Work

if TYPE_CHECKING:
    from vllm import LLM, RequestOutput, SamplingParams

VARIABLES = {  # what is set where the user has not; stdout is data, and a run tells nobody of itself
    "VLLM_LOGGING_LEVEL": "ERROR",
    "VLLM_LOGGING_STREAM": "ext://sys.stderr",
    "VLLM_NO_USAGE_STATS": "1",
}
CPU_VARIABLES = {
    "VLLM_CPU_NUM_OF_RESERVED_CPU": "0",  # cores
    "VLLM_CPU_KVCACHE_SPACE": "1",  # GiB
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # all in this process: ready in 4 s instead of 55
    "TORCH_COMPILE_DISABLE": "1",  # compiling the sampler took longer than it won (first 2,000 replies: 2.5 s instead of 4.3)
}


class VllmTeacher:
    """A model folder in Hugging Face layout; see teachers/base.py for the interface, replicas.py for `submit` and `step`."""

    def __init__(self, folder: Path, settings: Vllm) -> None:
        """Raises: InputMissing, CorruptInput, ParamsError (the tokenizer); EspalierError when vLLM is not installed or does not start."""
        check_installed()
        self.fingerprint = fingerprint(folder)
        self._chat = open_chat(folder)
        self._llm = _start(folder, settings)
        config = self._llm.llm_engine.vllm_config
        self.capacity: int = config.scheduler_config.max_num_seqs
        self._context: int = config.model_config.max_model_len
        self._asked = 0
        self._under_way: dict[str, tuple[Place, list[int] | None]] = {}  # by vLLM's name: where it belongs, and the ids of a reply that is scored
        self._ready: list[tuple[Place, Result]] = []

    @property
    def busy(self) -> bool:
        """Whether `step` has anything to do."""
        return bool(self._under_way or self._ready)

    def generate(self, requests: Sequence[Request]) -> list[Completion]:
        """One completion for each request, in their order."""
        return self._run(requests)

    def score(self, pairs: Sequence[tuple[Messages, str]]) -> list[Score]:
        """Log-probability in nats and number of tokens of each reply, the end token included; nan where it does not fit into the context."""
        return self._run(pairs)

    def submit(self, work: Sequence[tuple[Place, Work]]) -> None:
        """Take requests and pairs; `step` gives each back once.

        Those that want log-probabilities go first: where one of a batch does, vLLM computes them for all.
        """
        work = sorted(work, key=lambda one: isinstance(one[1], Request) and not one[1].logprob)
        asked = [one.messages if isinstance(one, Request) else one[0] for _, one in work]
        for (place, one), prompt in zip(work, self._chat.prompts(asked), strict=True):
            if isinstance(one, Request):
                self._ask(place, one, prompt)
            else:
                self._weigh(place, prompt, self._chat.replies([one[1]])[0])

    def step(self) -> list[tuple[Place, Result]]:
        """What is finished after one more pass of the model."""
        finished, self._ready = self._ready, []
        if self._under_way:
            outputs = [output for output in self._llm.llm_engine.step() if output.finished and output.request_id in self._under_way]
            taken = [self._under_way.pop(output.request_id) for output in outputs]
            texts = self._chat.decode([_without_end(output) for output in outputs])
            for (place, reply), output, text in zip(taken, outputs, texts, strict=True):
                finished.append((place, _score(output, reply) if reply else _completion(output, text)))
        return finished

    def _run(self, work: Sequence[Work]) -> list:
        results: dict[Place, Result] = {}
        try:
            self.submit(list(enumerate(work)))
            while self.busy:
                results.update(self.step())
        finally:
            if self._under_way:  # an interrupt: the next call begins with an empty engine
                self._llm.llm_engine.abort_request(list(self._under_way))
                self._under_way.clear()
        return [results[place] for place in range(len(work))]

    def _ask(self, place: Place, request: Request, prompt: list[int]) -> None:
        from vllm import SamplingParams
        from vllm.exceptions import VLLMClientError
        from vllm.sampling_params import RequestOutputKind, StructuredOutputsParams

        room = self._context - len(prompt)
        if room < 1:
            self._ready.append((place, _refused(len(prompt), f"the prompt's {len(prompt)} tokens leave no room for a reply in the model's {self._context}")))
            return
        try:
            sampling = SamplingParams(
                temperature=request.temperature,
                top_p=request.top_p,
                max_tokens=min(request.max_tokens, room),
                seed=request.seed,
                stop_token_ids=list(self._chat.end_ids(request.messages)),
                ignore_eos=True,  # only the chat's ends count, whatever the folder's other files say
                logprobs=0 if request.logprob else None,
                detokenize=False,
                output_kind=RequestOutputKind.FINAL_ONLY,
                structured_outputs=StructuredOutputsParams(json=request.schema) if request.schema else None,
            )
            self._add(place, prompt, sampling, None)
        except (VLLMClientError, ValueError) as error:  # a schema that is none, or that the grammar cannot hold
            self._ready.append((place, _refused(len(prompt), f"vllm refuses the request: {' '.join(str(error).split())[:200]}")))

    def _weigh(self, place: Place, prompt: list[int], reply: list[int]) -> None:
        """Ask for the likelihood of a reply: all ids but the last are the prompt, the last is the one that may come next."""
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind

        known = [*prompt, *reply[:-1]]
        if len(known) >= self._context:
            self._ready.append((place, (math.nan, len(reply))))
            return
        sampling = SamplingParams(
            temperature=0, max_tokens=1, prompt_logprobs=0, logprob_token_ids=reply[-1:], detokenize=False, output_kind=RequestOutputKind.FINAL_ONLY
        )
        self._add(place, known, sampling, reply)

    def _add(self, place: Place, prompt: list[int], sampling: "SamplingParams", reply: list[int] | None) -> None:
        name = str(self._asked)
        self._asked += 1
        self._llm.llm_engine.add_request(name, {"prompt_token_ids": prompt}, sampling)
        self._under_way[name] = (place, reply)


def check_installed() -> None:
    """Raises: EspalierError when there is no vLLM in this environment."""
    if importlib.util.find_spec("vllm") is None:
        raise EspalierError(
            "params.yaml: teacher.engine is vllm, and the package vllm is not installed; run `pip install -r requirements-gpu.txt` (without a GPU: "
            "`make .venv-vllm/ready` makes an environment), or set teacher.engine to hf"
        )


def _start(folder: Path, settings: Vllm) -> "LLM":
    """The engine with the model in it."""
    import torch

    on_gpu = torch.cuda.is_available()
    for name, value in (VARIABLES if on_gpu else VARIABLES | CPU_VARIABLES).items():
        os.environ.setdefault(name, value)
    from vllm import LLM

    place = {"dtype": "bfloat16"} if on_gpu else {"dtype": "float32", "enforce_eager": True, "enable_chunked_prefill": False}
    try:
        with unheard(), _unseen("llvmlite.binding.ffi"):  # no Ctrl-C reaches the processes that hold a part of the model
            return LLM(
                str(folder),
                tensor_parallel_size=settings.tensor_parallel,
                gpu_memory_utilization=settings.memory_share,
                max_model_len=settings.context_tokens or None,
                enable_prefix_caching=True,
                generation_config="vllm",  # all that decides a reply is in the request
                logprobs_mode="raw_logprobs",  # of the model at temperature 1
                structured_outputs_config={"backend": "xgrammar", "disable_any_whitespace": True},  # else a small model fills its reply with spaces
                use_tqdm_on_load=False,
                **place,
            )
    except (ValueError, RuntimeError, OSError, KeyError, ImportError, AssertionError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[-1]
        raise EspalierError(f"{folder}: the engine vllm does not start with this model ({reason}); look at params.yaml's section vllm, or use hf") from error


@contextmanager
def _unseen(name: str) -> Iterator[None]:
    """Keep a loaded module out of sys.modules: on the CPU vLLM 0.32 reads every `__dict__` of every module, and that of a library of llvmlite is a function."""
    module = sys.modules.pop(name, None)
    try:
        yield
    finally:
        if module is not None:
            sys.modules[name] = module


def _without_end(output: "RequestOutput") -> list[int]:
    (made,) = output.outputs
    ids = list(made.token_ids)
    return ids[:-1] if made.finish_reason == "stop" else ids


def _completion(output: "RequestOutput", text: str) -> Completion:
    (made,) = output.outputs
    prompt_tokens, tokens = len(output.prompt_token_ids or ()), len(made.token_ids)
    if made.finish_reason not in ("stop", "length"):
        return _refused(prompt_tokens, f"vllm ended it with {made.finish_reason}")
    return Completion(text, made.finish_reason, prompt_tokens, tokens, (made.cumulative_logprob or 0.0) / max(tokens, 1))


def _score(output: "RequestOutput", reply: list[int]) -> Score:
    """The sum over the reply: its last id from what may come next, the others from the prompt."""
    before = output.prompt_logprobs[len(output.prompt_logprobs) - (len(reply) - 1) :]
    known = sum(found[i].logprob for found, i in zip(before, reply[:-1], strict=True))
    return known + output.outputs[0].logprobs[0][reply[-1]].logprob, len(reply)


def _refused(prompt_tokens: int, why: str) -> Completion:
    return Completion("", "error", prompt_tokens, 0, 0.0, why)
