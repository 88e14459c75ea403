import re
from functools import partial

import polars as pl
import pytest

from espalier.evolve import evolve_queries
from espalier.generate import Sampling, measure, start_rows, write_answers, write_contexts, write_queries
from espalier.prompts import Prompt
from espalier.replies import parse_contract
from espalier.settings import Gen
from espalier.teachers.base import Completion
from espalier.world.grammar import parse
from espalier.worlds import Builtin
from tests.worlds import Scripted, spoken


class Barren(Builtin):
    """A world in which no evolution gains anything."""

    def gain(self, parent, child, operation):
        return "nothing new"


def TEACHER_POSES(row):
    """No world poses a problem itself."""


EMPTY = spoken("")
FAILED = ("truncated", "error", "unparsed", "stopped", "known")
CUT = spoken("list : 4", finish="length")
REFUSED = Completion("", "error", 70, 0, 0.0, "the prompt's 70 tokens and gen.max_tokens 16 exceed the model's 64")
FAILURES = {"cut": CUT, "empty": EMPTY, "blank": spoken("  \n"), "refused": REFUSED}
STATES = {
    "cut": ("length", "truncated", "cut off after 4 tokens"),
    "empty": ("stop", "empty", "the reply has no text"),
    "blank": ("stop", "empty", "the reply has no text"),
    "refused": ("error", "error", "the prompt's 70 tokens and gen.max_tokens 16 exceed the model's 64"),
}
PARENT = "list : 4 9 2 . what is the largest digit ?"
SAME = "list : 4 9 2 . largest digit ?"  # in other words


def prompt(step, text, *, branches=(), reply=None):
    """A prompt file of one message, whose inputs are what the message uses."""
    inputs = tuple(re.findall(r"\{\{ (\w+) \}\}", text))
    return Prompt(f"{step}.test", step, branches, inputs, (("user", text),), parse_contract(reply, step=step, banned=(), file=""))


CONTEXT = prompt("context", "about {{ task }}", branches=("knowledge",))
QUERY = prompt("query", "{{ context }} {{ size }} ?")
EVOLVE = prompt("evolve", "{{ context }} {{ query }} {{ operation }} it .")
ANSWER = prompt("answer", "{{ context }} {{ query }}")


def sampling(*, seed=42, answers=1, second=0):
    return Sampling(Gen(0.7, 0.9, 16, answers, 4, 0.7, 10, second, 1.2, ""), seed)


def plan(n, *, branch="knowledge"):
    """Rows as the stage plan leaves them, r0 r1 ..., in order of id."""
    names = [f"r{i}" for i in range(n)]
    return pl.DataFrame(
        {"id": names, "root_id": names, "parent_id": "", "call": names, "turn": 0, "recipe": "lab", "index": range(n), "leaf": "a/b/c", "branch": branch,
         "task": [f"task {i}" for i in range(n)], "topic": "", "requirements": "", "verifier": "", "checks": "", "example": "", "examples": "", "document": "",
         "pool": "", "source": "", "attributes": '{"size": "long"}'},
        schema_overrides={"index": pl.Int64, "turn": pl.Int64},
    )  # fmt: skip


def posed(n, query=PARENT):
    """Rows that hold a problem."""
    return start_rows(plan(n)).with_columns(pl.lit(query).alias("query"))


def changed(before, after):
    """The columns in which two tables of the same rows differ, new ones included."""
    return {name for name in after.columns if name not in before.columns or before[name].to_list() != after[name].to_list()}


def said(requests):
    return [request.messages for request in requests]


def evolved(rows, reply, *, operations=("deepen", "widen"), seed=42):
    teacher = Scripted(reply)
    return evolve_queries(rows, EVOLVE, operations, sampling(seed=seed), teacher.generate, world=Builtin()), teacher


def test_start_rows_are_whole_and_have_cost_nothing():
    first = start_rows(plan(1)).row(0, named=True)
    assert {name: first[name] for name in ("context", "query", "answer", "detail")} == {"context": "", "query": "", "answer": "", "detail": ""}
    assert (first["finish"], first["status"], first["spent_tokens"]) == ("stop", "ok", 0)


def test_the_step_context_fills_its_column_and_the_cost_and_no_other():
    rows, teacher = start_rows(plan(2)), Scripted(lambda request: f"on {request.messages[0][1].split()[-1]}")
    written = write_contexts(rows, CONTEXT, sampling(), teacher.generate)
    assert written["context"].to_list() == ["on 0", "on 1"]
    assert written["spent_tokens"].to_list() == [3, 3]
    assert changed(rows, written) == {"context", "spent_tokens"}
    assert said(teacher.asked) == [(("user", "about task 0"),), (("user", "about task 1"),)]


def test_the_step_query_sees_the_context_and_the_attributes():
    rows = start_rows(plan(1)).with_columns(pl.lit("list : 4 .").alias("context"))
    teacher = Scripted(lambda request: "what ?")
    written = write_queries(rows, QUERY, sampling(), teacher.generate, pose=TEACHER_POSES)
    assert said(teacher.asked) == [(("user", "list : 4 . long ?"),)]
    assert written["query"].to_list() == ["what ?"]
    assert changed(rows, written) == {"query", "spent_tokens"}


def test_the_step_answer_fills_its_seven_columns_and_no_other():
    rows = posed(1)
    written = write_answers(rows, ANSWER, sampling(), lambda requests: [Completion("9", "stop", 13, 2, -0.125)])
    first = written.row(0, named=True)
    assert {name: first[name] for name in changed(rows, written)} == {
        "answer": "9", "answers": ["9"], "second_answers": [], "prompt_tokens": 13, "answer_tokens": 2, "logprob_mean": -0.125, "spent_tokens": 2,
    }  # fmt: skip


def test_every_request_carries_the_sampling_of_params():
    teacher = Scripted(lambda request: "9")
    write_answers(posed(1), ANSWER, sampling(), teacher.generate)
    assert [(r.temperature, r.top_p, r.max_tokens) for r in teacher.asked] == [(0.7, 0.9, 16)]


@pytest.mark.parametrize("write", [write_contexts, partial(write_queries, pose=TEACHER_POSES)])
def test_a_recipe_without_a_step_passes_its_rows_and_asks_nobody(write):
    rows, teacher = start_rows(plan(3)), Scripted(lambda request: "x")
    assert write(rows, None, sampling(), teacher.generate).equals(rows)
    assert teacher.asked == []


def test_a_recipe_without_evolution_passes_its_rows_with_no_operation():
    rows, teacher = posed(3), Scripted(lambda request: "x")
    passed = evolve_queries(rows, None, (), sampling(), teacher.generate, world=Builtin())
    assert passed.drop("operation", "eliminated").equals(rows)
    assert passed.select("operation", "eliminated").unique().rows() == [("", "")]
    assert teacher.asked == []


def test_a_prompt_asks_only_the_rows_of_its_branches():
    rows = start_rows(plan(3)).with_columns(pl.Series("branch", ["foundational", "knowledge", ""]))
    teacher = Scripted(lambda request: "text")
    assert write_contexts(rows, CONTEXT, sampling(), teacher.generate)["context"].to_list() == ["", "text", ""]
    assert said(teacher.asked) == [(("user", "about task 1"),)]


@pytest.mark.parametrize("kind", sorted(FAILURES))
@pytest.mark.parametrize(("column", "write", "step_prompt"), [("context", write_contexts, CONTEXT), ("query", partial(write_queries, pose=TEACHER_POSES), QUERY)])
def test_a_failed_reply_is_kept_with_its_status_and_reason(kind, column, write, step_prompt):
    reply = FAILURES[kind]
    first = write(start_rows(plan(1)), step_prompt, sampling(), lambda requests: [reply]).row(0, named=True)
    assert (first["finish"], first["status"], first["detail"]) == STATES[kind]
    assert (first[column], first["spent_tokens"]) == (reply.text, reply.tokens)


@pytest.mark.parametrize("kind", sorted(FAILURES))
def test_a_row_that_failed_is_asked_by_no_later_step_and_keeps_its_status(kind):
    teacher = Scripted(lambda request: PARENT if request.messages[0][1] == "about task 1" else FAILURES[kind])
    failed = write_contexts(start_rows(plan(2)), CONTEXT, sampling(), teacher.generate).filter(pl.col("status") != "ok")
    assert failed["id"].to_list() == ["r0"]
    before = len(teacher.asked)
    rows = write_queries(failed, QUERY, sampling(), teacher.generate, pose=TEACHER_POSES)
    rows = evolve_queries(rows, EVOLVE, ("deepen",), sampling(), teacher.generate, world=Builtin())
    assert rows.drop("operation", "eliminated").equals(failed)
    rows = write_answers(rows, ANSWER, sampling(answers=3), teacher.generate)
    assert len(teacher.asked) == before
    assert changed(failed, rows) == {"operation", "eliminated", "answers", "second_answers", "prompt_tokens", "answer_tokens", "logprob_mean"}
    assert rows.select("operation", "answers", "second_answers", "prompt_tokens", "answer_tokens", "logprob_mean").row(0) == ("", [], [], 0, 0, 0.0)


def test_whole_rows_beside_failed_ones_get_their_own_replies():
    rows = posed(4).with_columns(pl.Series("status", ["truncated", "ok", "error", "ok"]), pl.Series("query", ["q0", "q1", "q2", "q3"]))
    written = write_answers(rows, ANSWER, sampling(answers=2), Scripted(lambda request: f"a {request.messages[0][1]}").generate)
    assert written["answers"].to_list() == [[], ["a q1", "a q1"], [], ["a q3", "a q3"]]
    assert written["status"].to_list() == ["truncated", "ok", "error", "ok"]


def test_operations_are_taken_in_turn_by_the_rows_index():
    rows = posed(5).with_columns(pl.Series("index", [7, 2, 3, 6, 8]))
    written, teacher = evolved(rows, lambda request: "list : 4 9 2 5 . what is the largest digit ?", operations=("deepen", "widen", "deepen"))
    operations = dict(zip(written["parent_id"], written["operation"], strict=True))
    assert operations == {"r0": "widen", "r1": "deepen", "r2": "deepen", "r3": "deepen", "r4": "deepen"}  # 7, 2, 3, 6, 8 mod 3
    assert said(teacher.asked)[:2] == [(("user", f"{PARENT} widen it ."),), (("user", f"{PARENT} deepen it ."),)]


def test_an_evolved_row_is_the_reply_with_its_parent_as_parent_and_its_root_as_root():
    rows = posed(2).with_columns(
        pl.lit("list : 4 9 2 .").alias("context"), pl.lit("what is the largest digit ?").alias("query"), pl.Series("root_id", ["x", "y"])
    )
    child = "list : 4 9 2 5 . what is the largest digit ?"
    written, teacher = evolved(rows, lambda request: child)
    assert said(teacher.asked)[0] == (("user", f"{PARENT} deepen it ."),)
    assert sorted(written.select("parent_id", "root_id", "context", "query", "operation", "spent_tokens", "status").rows()) == [
        ("r0", "x", "", child, "deepen", 14, "ok"),
        ("r1", "y", "", child, "widen", 14, "ok"),
    ]
    assert written["id"].n_unique() == 2
    assert all(len(name) == 32 for name in written["id"])


def test_a_childs_id_hangs_on_its_parent_and_operation_and_on_nothing_else():
    one, _ = evolved(posed(2), lambda request: "list : 4 9 2 5 . what is the largest digit ?", seed=1)
    other, _ = evolved(posed(2), lambda request: "list : 4 9 2 . what is the smallest digit ?", seed=2)
    assert one["id"].to_list() == other["id"].to_list()
    widened, _ = evolved(posed(2), lambda request: "list : 4 9 2 5 . what is the largest digit ?", operations=("widen",))
    assert len(set(one["id"]) & set(widened["id"])) == 1  # r1 is widened in both


@pytest.mark.parametrize(
    ("reply", "tokens", "reason"),
    [
        (spoken("largest digit list 4 9"), 6, "no other problem"),
        (spoken(SAME), 10, "no other problem"),
        (spoken("list : 4 9 2 5 . what is the largest digit ?", finish="length"), 14, "cut off after 14 tokens"),
        (EMPTY, 1, "the reply has no text"),
        (REFUSED, 0, REFUSED.error),
    ],
    ids=["poses no problem", "same problem in other words", "cut off", "empty", "refused"],
)
def test_a_failed_evolution_gives_the_parent_back_and_counts_its_cost(reply, tokens, reason):
    rows = posed(2).with_columns(
        pl.lit("list : 4 9 2 .").alias("context"), pl.lit("what is the largest digit ?").alias("query"), pl.lit(7).alias("spent_tokens")
    )
    assert parse(PARENT).key == parse(SAME).key
    written, _ = evolved(rows, lambda request: reply)
    assert written.drop("operation", "eliminated", "spent_tokens").equals(rows.drop("spent_tokens"))
    assert sorted(written["eliminated"]) == [f"deepen: {reason}", f"widen: {reason}"]
    assert written["operation"].to_list() == ["", ""]
    assert written["spent_tokens"].to_list() == [7 + tokens, 7 + tokens]


def test_a_problem_may_evolve_from_a_text_that_poses_none():
    written, _ = evolved(posed(1, query="list 4 9"), lambda request: PARENT)
    assert written.select("parent_id", "query").row(0) == ("r0", PARENT)


def test_the_first_of_k_answers_is_the_answer_and_all_are_paid_for():
    replies = iter([Completion("9", "stop", 13, 2, -0.5), Completion("4 4", "stop", 13, 3, -0.25), Completion("2 2 2", "length", 13, 16, -1.0)])
    rows = posed(1).with_columns(pl.lit(100).alias("spent_tokens"))
    first = write_answers(rows, ANSWER, sampling(answers=3), lambda requests: [next(replies) for _ in requests]).row(0, named=True)
    assert (first["answer"], first["answers"]) == ("9", ["9", "4 4", "2 2 2"])
    assert (first["prompt_tokens"], first["answer_tokens"], first["logprob_mean"]) == (13, 2, -0.5)
    assert first["spent_tokens"] == 100 + 2 + 3 + 16
    assert (first["finish"], first["status"]) == ("stop", "ok")


@pytest.mark.parametrize("kind", sorted(FAILURES))
def test_a_row_is_as_whole_as_its_first_answer(kind):
    replies = iter([FAILURES[kind], spoken("9")])
    first = write_answers(posed(1), ANSWER, sampling(answers=2), lambda requests: [next(replies) for _ in requests]).row(0, named=True)
    assert (first["finish"], first["status"], first["detail"]) == STATES[kind]
    assert first["answers"] == [FAILURES[kind].text, "9"]


def test_the_answers_to_one_row_are_asked_one_after_the_other():
    teacher = Scripted(lambda request: "9")
    rows = posed(2).with_columns(pl.Series("query", ["q0", "q1"]))
    write_answers(rows, ANSWER, sampling(answers=3), teacher.generate)
    assert [messages[0][1] for messages in said(teacher.asked)] == ["q0", "q0", "q0", "q1", "q1", "q1"]


def run_all(seed):
    """The seeds of every request of four steps on 3 rows, 2 answers each: 3 + 3 + 3 + 6."""
    teacher = Scripted(lambda request: PARENT)
    rows = write_contexts(start_rows(plan(3)), CONTEXT, sampling(seed=seed), teacher.generate)
    rows = write_queries(rows, QUERY, sampling(seed=seed), teacher.generate, pose=TEACHER_POSES)
    rows = evolve_queries(rows, EVOLVE, ("deepen",), sampling(seed=seed), teacher.generate, world=Barren())
    write_answers(rows, ANSWER, sampling(seed=seed, answers=2), teacher.generate)
    return [request.seed for request in teacher.asked]


def test_no_two_rows_steps_samples_or_study_seeds_share_a_request_seed():
    seeds = run_all(42) + run_all(43)
    assert len(seeds) == len(set(seeds)) == 2 * 15
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_the_same_study_seed_asks_with_the_same_seeds():
    assert run_all(42) == run_all(42)


def test_asking_for_more_answers_keeps_the_seeds_of_the_first_ones():
    def seeds(answers):
        teacher = Scripted(lambda request: "9")
        write_answers(posed(2), ANSWER, sampling(answers=answers), teacher.generate)
        return [[request.seed for request in teacher.asked[place * answers :][:answers]] for place in range(2)]

    assert [some[:2] for some in seeds(4)] == seeds(2)


STEPS = {
    "context": lambda rows, ask: write_contexts(rows, CONTEXT, sampling(), ask),
    "query": lambda rows, ask: write_queries(rows, QUERY, sampling(), ask, pose=TEACHER_POSES),
    "evolve": lambda rows, ask: evolve_queries(rows, EVOLVE, ("deepen",), sampling(), ask, world=Builtin()),
    "answer": lambda rows, ask: write_answers(rows, ANSWER, sampling(answers=2), ask),
}


@pytest.mark.parametrize("step", STEPS)
def test_rows_come_out_in_the_order_of_their_ids(step):
    order = [3, 0, 7, 5, 1, 6, 2, 4]
    written = STEPS[step](posed(8)[order], Scripted(lambda request: "list : 4 9 2 5 . what is the largest digit ?").generate)
    assert written["id"].to_list() == sorted(written["id"])
    assert written.height == 8
    column = "parent_id" if step == "evolve" else "id"
    assert set(written[column]) == {f"r{i}" for i in range(8)}


@pytest.mark.parametrize("step", STEPS)
def test_a_table_without_rows_keeps_the_columns_of_one_with_rows(step):
    teacher = Scripted(lambda request: PARENT)
    some, none = STEPS[step](posed(1), teacher.generate), STEPS[step](posed(1).clear(), teacher.generate)
    assert (none.height, none.schema) == (0, some.schema)
    assert measure(none) == {"rows": 0, "spent_tokens": 0} | {f"{status}_share": 0.0 for status in ("ok", *FAILED)}


def test_the_metrics_are_shares_of_all_rows():
    rows = posed(8).with_columns(
        pl.Series("status", ["ok", "truncated", "ok", "error", "ok", "ok", "empty", "truncated"]), pl.Series("spent_tokens", [1, 2, 3, 4, 5, 6, 7, 8])
    )
    shares = {"truncated_share": 0.25, "error_share": 0.125, "unparsed_share": 0.0, "stopped_share": 0.0, "known_share": 0.0}
    assert measure(rows) == {"rows": 8, "ok_share": 0.5, "spent_tokens": 36} | shares
