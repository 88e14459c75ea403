"""Reads params.yaml and checks all of it: names, types, ranges and what one section demands of another.

YAML 1.2 through ruamel, as DVC reads it (PyYAML takes 3e-4 for a string). A message says where, what was found, what is wanted and what to do.
"""

import dataclasses
import difflib
import re
import types
import typing
from collections.abc import Iterable, Mapping
from typing import Annotated, Any
from urllib.parse import urlsplit

from espalier.errors import ParamsError
from espalier.ranges import BUILTIN_OPERATIONS, OPERATIONS, RULE_FAMILIES, STEPS, OneOf, Within
from espalier.settings import Params
from espalier.train_checks import check_train

FILE = "params.yaml"
TEACHER = "models/teacher"  # where the stage teacher leaves it
# What ruamel lets through: a value that looks like a date, a number or a tag and is none; nesting without end.
BROKEN_VALUES = (ValueError, RecursionError, LookupError, TypeError, AttributeError, AssertionError)


def parse_params(text: str, *, file: str = FILE) -> Params:
    """The checked settings of a params.yaml text. Raises: ParamsError at the first thing that is wrong."""
    value = load_yaml(text, file=file)
    if not isinstance(value, dict):
        raise ParamsError(f"{file}: found {_shown(value)}; it must be a mapping of sections")
    params = _build(Params, value, file, "")
    _check_study(params, file)
    _check_recipes(params, file)
    _check_sizes(params, file)
    check_train(params, file)
    _check_filter(params, file)
    _check_agreement(params, file)
    _check_server(params, file)
    _check_ray(params, file)
    _check_score(params, file)
    return params


def load_yaml(text: str, *, file: str) -> Any:
    """The plain value of a YAML 1.2 text, loaded safely. Raises: ParamsError with line and column."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        return YAML(typ="safe", pure=True).load(text)
    except YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        at = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise ParamsError(f"{file}{at}: not YAML ({getattr(error, 'problem', None) or error}); mend the line") from error
    except BROKEN_VALUES as error:
        raise ParamsError(f"{file}: holds a value that is none ({error}); put it in quotes") from error


def did_you_mean(found: str, known: Iterable[str]) -> str:
    """` did you mean "rows"?` when one of `known` is close, else the list of what is known."""
    known = sorted(known)
    close = difflib.get_close_matches(found, known, n=1, cutoff=0.6)
    return f'did you mean "{close[0]}"?' if close else f"known: {', '.join(known) or 'none'}"


def _build(kind: type, value: Mapping[str, Any], file: str, at: str) -> Any:
    """A dataclass from a mapping; `at` is the dotted path so far."""
    hints = typing.get_type_hints(kind, include_extras=True)
    for name in value:
        if name not in hints:
            raise ParamsError(f"{file}: {_join(at, name)} is not a setting; {did_you_mean(str(name), hints)}")
    for name in hints:
        if name not in value:
            raise ParamsError(f"{file}: {_join(at, name)} is missing; every value must be written, with a comment")
    return kind(**{name: _convert(hint, value[name], file, _join(at, name)) for name, hint in hints.items()})


def _convert(hint: Any, value: Any, file: str, at: str) -> Any:
    rule = None
    if typing.get_origin(hint) is Annotated:
        hint, rule = typing.get_args(hint)
    if dataclasses.is_dataclass(hint):
        _demand(isinstance(value, dict), file, at, value, "a mapping")
        return _build(hint, value, file, at)
    if typing.get_origin(hint) is dict:
        _demand(isinstance(value, dict) and all(isinstance(name, str) for name in value), file, at, value, "a mapping")
        return {name: _convert(typing.get_args(hint)[1], inner, file, _join(at, name)) for name, inner in value.items()}
    if typing.get_origin(hint) is tuple:
        _demand(isinstance(value, list), file, at, value, "a list")
        return tuple(_convert(typing.get_args(hint)[0], inner, file, f"{at}[{i}]") for i, inner in enumerate(value))
    return _checked(_scalar(hint, value, file, at), rule, file, at)


def _scalar(hint: type, value: Any, file: str, at: str) -> Any:
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    words = {float: "a number", int: "a whole number", bool: "true or false", str: "a word"}
    _demand(type(value) is hint, file, at, value, words[hint])
    return value


def _checked(value: Any, rule: Within | OneOf | None, file: str, at: str) -> Any:
    if isinstance(rule, OneOf) and value not in rule.words:
        raise ParamsError(f"{file}: {at} is {_shown(value)}; {did_you_mean(value, rule.words)}")
    if isinstance(rule, Within) and not (rule.low <= value <= rule.high and not (rule.above and value == rule.low)):
        low = f"above {rule.low:,}" if rule.above else f"{rule.low:,}"
        raise ParamsError(f"{file}: {at} is {value}; it must lie in {low} .. {rule.high:,}")
    return value


def _check_study(params: Params, file: str) -> None:
    study = params.study
    for name in study.recipes:
        if name not in params.recipes:
            raise ParamsError(f'{file}: study.recipes names "{name}", which recipes does not declare; {did_you_mean(name, params.recipes)}')
    if study.baseline not in study.recipes:
        raise ParamsError(f'{file}: study.baseline is "{study.baseline}", which is not in study.recipes; {did_you_mean(study.baseline, study.recipes)}')
    for at, values in (("study.recipes", study.recipes), ("study.seeds", study.seeds)):
        if not values or len(set(values)) < len(values):
            raise ParamsError(f"{file}: {at} is {list(values)}; it must name at least one, each once")
    tasks = params.evaluate.tasks
    if len(set(tasks)) < len(tasks) or not all(name.strip() for name in tasks):
        raise ParamsError(f"{file}: evaluate.tasks is {list(tasks)}; it must name each task once, or be [] for none")


def _check_recipes(params: Params, file: str) -> None:
    for name, recipe in params.recipes.items():
        at = f"recipes.{name}"
        if not name.isidentifier():
            raise ParamsError(f'{file}: {at}: "{name}" names files and stages; use letters, digits and _ only')
        for step in recipe.steps:
            if step not in STEPS:
                raise ParamsError(f"{file}: {at}.steps.{step} is not a step; {did_you_mean(step, STEPS)}")
        for step in ("query", "answer"):
            if step not in recipe.steps:
                raise ParamsError(f"{file}: {at}.steps has no {step}; a recipe needs query and answer, context and evolve are free")
        for operation in recipe.operations:
            known = BUILTIN_OPERATIONS if params.world == "builtin" else OPERATIONS
            if operation not in known:
                raise ParamsError(f"{file}: {at}.operations names {_shown(operation)}; the world {params.world} has {', '.join(known)}")
        if ("evolve" in recipe.steps) != bool(recipe.operations):
            raise ParamsError(f"{file}: {at} must have both steps.evolve and operations, or neither")


def _check_sizes(params: Params, file: str) -> None:
    """What one section demands of another."""
    if params.world != "builtin" and params.teacher.path == "built-in":
        raise ParamsError(f"{file}: world is {params.world} but teacher.path is built-in, which speaks the built-in world alone; name a model's folder")
    if params.teacher.model.hidden % 32:
        raise ParamsError(f"{file}: teacher.model.hidden is {params.teacher.model.hidden}; it must be a multiple of 32 (heads have 32 dimensions)")
    for at, optimizer in (("teacher", params.teacher.optimizer), ("train", params.train.optimizer)):
        if optimizer.tokens < optimizer.batch_tokens:
            raise ParamsError(f"{file}: {at}.optimizer.tokens is {optimizer.tokens}, less than one batch of {optimizer.batch_tokens}; raise it")
        if optimizer.schedule == "wsd" and optimizer.warmup_share + optimizer.decay_share > 1:
            raise ParamsError(f"{file}: {at}.optimizer: warmup_share and decay_share add up to more than 1; lower one")


def _check_filter(params: Params, file: str) -> None:
    limits, answers = params.filter, params.gen.answers
    if limits.min_words > limits.max_words:
        raise ParamsError(f"{file}: filter.min_words is {limits.min_words}, above filter.max_words {limits.max_words}; lower it")
    if limits.min_vote > 0 and answers < 2:
        raise ParamsError(f"{file}: filter.min_vote is {limits.min_vote} but gen.answers is {answers}; a vote needs 2 answers or more")
    if limits.kind == "top" and limits.scorer in ("vote", "entropy") and answers < 2:
        raise ParamsError(f"{file}: filter.scorer is {limits.scorer} but gen.answers is {answers}; a vote needs 2 answers or more")
    for name in limits.rules:
        if name not in RULE_FAMILIES:
            raise ParamsError(f'{file}: filter.rules names "{name}", which is no family of rules; {did_you_mean(name, RULE_FAMILIES)}')
    if limits.kind == "top" and (limits.scorer, limits.threshold) == ("verifier", "audit"):
        raise ParamsError(f"{file}: filter.scorer is verifier, which the audit judges the others by; set filter.threshold to share")
    if 0 < limits.max_leaf_rows < limits.min_leaf_rows:
        raise ParamsError(f"{file}: filter.max_leaf_rows is {limits.max_leaf_rows}, below filter.min_leaf_rows {limits.min_leaf_rows}; raise it or set 0 (off)")


def _check_agreement(params: Params, file: str) -> None:
    """Second answers differ from the first ones and among each other; a round trip needs a teacher that knows more than one small world."""
    gen = params.gen
    if gen.second_answers and gen.second_temperature == gen.temperature:
        raise ParamsError(f"{file}: gen.second_temperature is {gen.second_temperature}, as gen.temperature is; second answers need another one")
    if gen.second_answers > 1 and gen.second_temperature == 0:
        raise ParamsError(f"{file}: gen.second_answers is {gen.second_answers}, but at gen.second_temperature 0 all are the same; ask for 1")
    if gen.round_trip and params.teacher.path == "built-in":
        raise ParamsError(
            f'{file}: gen.round_trip is "{gen.round_trip}" but teacher.path is built-in, which was taught no such prompt; write "", or name a model\'s folder'
        )


def _check_score(params: Params, file: str) -> None:
    if params.score.likelihood_model == TEACHER and params.teacher.engine == "server":
        raise ParamsError(f'{file}: score.likelihood_model is {TEACHER}, but a teacher behind an endpoint has no weights; name a small model, or write ""')
    if not params.score.labels.endswith(".jsonl"):
        raise ParamsError(f"{file}: score.labels is {_shown(params.score.labels)}; it must name a .jsonl file (an empty file stands for no labels)")


def _check_server(params: Params, file: str) -> None:
    server = params.server
    for i, url in enumerate(server.urls):
        if not _is_base_url(url):  # not shown: it may hold a password
            raise ParamsError(f"{file}: server.urls[{i}] is no base URL; write http://host:port/v1 or https://..., without name, password, ? and #")
    if len({url.rstrip("/") for url in server.urls}) < len(server.urls):
        raise ParamsError(f"{file}: server.urls is {list(server.urls)}; it must name each once")
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", server.key_variable):  # not shown: it may be the key
        raise ParamsError(f"{file}: server.key_variable is no name of an environment variable; name one, and put the key there, never into a file")
    if params.teacher.engine != "server":
        return
    for name, wanted in (("urls", "at least one base URL"), ("model", "the model that the endpoint serves")):
        if not getattr(server, name):
            raise ParamsError(f"{file}: teacher.engine is server but server.{name} is empty; it must name {wanted}")
    if params.teacher.path == "built-in":
        raise ParamsError(
            f"{file}: teacher.path is built-in but teacher.engine is server; an endpoint gives no tokenizer: name a folder with tokenizer.json"
        )


def _check_ray(params: Params, file: str) -> None:
    ray = params.ray
    if not re.fullmatch(r"|auto|[\w.-]+:\d{1,5}", ray.address):
        raise ParamsError(f'{file}: ray.address is "{ray.address}"; it must be "" (a cluster of this machine), auto or host:port')
    if ray.gpus > 1 and ray.gpus % 1:
        raise ParamsError(f"{file}: ray.gpus is {ray.gpus}; it must be a whole number above 1 (only parts of one GPU can be shared)")


def _is_base_url(url: str) -> bool:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return False
    plain = parts.username is None and parts.password is None and not parts.query and not parts.fragment and url.isprintable() and " " not in url
    return parts.scheme in ("http", "https") and bool(parts.hostname) and port != 0 and plain


def _demand(holds: bool, file: str, at: str, value: Any, wanted: str) -> None:
    if not holds:
        raise ParamsError(f"{file}: {at} is {_shown(value)}; it must be {wanted}")


def _shown(value: Any) -> str:
    return f'"{value}"' if isinstance(value, str) else "empty" if isinstance(value, types.NoneType) else str(value)


def _join(at: str, name: object) -> str:
    return f"{at}.{name}" if at else str(name)
