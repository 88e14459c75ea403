"""What the section train of params.yaml demands of itself and of the section tokens; one of the checks that every stage makes in its first second."""

from espalier.errors import ParamsError
from espalier.ranges import BRANCHES, CONTEXTS
from espalier.settings import Params


def check_train(params: Params, file: str) -> None:
    """Raises: ParamsError for sequences longer than the student sees, a step they or processes cannot fill evenly, sizes or phases out of order."""
    train, length, room = params.train, params.tokens.context_tokens, CONTEXTS[params.train.size]
    at, (rows, rest) = f"{file}: train.optimizer.batch_tokens is {train.optimizer.batch_tokens}", divmod(train.optimizer.batch_tokens, length)
    if length > room:
        raise ParamsError(f"{file}: tokens.context_tokens is {length:,}, but train.size {train.size} sees {room:,}; lower it, or take a larger size")
    if rest:
        raise ParamsError(f"{at}, no multiple of tokens.context_tokens {length}; a batch holds whole sequences")
    if rows % train.processes:
        raise ParamsError(f"{at}, {rows} sequences of {length} tokens; train.processes is {train.processes}, which must divide them: change one of the two")
    if train.skip_spikes and not train.spike_deviations:
        raise ParamsError(f"{file}: train.skip_spikes is true but train.spike_deviations is 0, which finds no spike; raise it")
    sizes = train.sizes
    if sizes and (len(sizes) < 2 or any(smaller >= larger for smaller, larger in zip(sizes, (*sizes[1:], 1.0), strict=True))):
        raise ParamsError(f"{file}: train.sizes is {list(sizes)}; it must be [], or two shares and more that rise and stay below 1")
    if train.phases:
        _check_phases(params, file)


def _check_phases(params: Params, file: str) -> None:
    """Every branch has one phase, the shares make the whole run, and there is something to replay."""
    at, phases = f"{file}: train.phases", params.train.phases
    named = [branch for phase in phases for branch in phase.branches]
    if sorted(named) != sorted(BRANCHES) or not all(phase.branches for phase in phases):
        raise ParamsError(f"{at} names {', '.join(named) or 'no branch'}; it must name {', '.join(BRANCHES)} each once, and in every phase at least one")
    total = sum(phase.share for phase in phases)
    if abs(total - 1) > 1e-6:
        raise ParamsError(f"{at} has shares that add up to {total:g}; they must add up to 1")
    if phases[0].replay:
        raise ParamsError(f"{at}[0].replay is {phases[0].replay:g}, but nothing was read before the first phase; make it 0")
    if not params.tokens.by_branch:
        raise ParamsError(f"{at} holds {len(phases)} phases but tokens.by_branch is false, so that a sequence holds several branches; make it true")
