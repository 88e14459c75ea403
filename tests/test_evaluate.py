import math

import polars as pl
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from espalier.evaluate import bits_per_byte, exam_metrics, examine, gold_losses, reference_losses
from espalier.teachers.hf import HfTeacher
from tests.worlds import Scripted, tiny_model

ITEMS = [
    ("i3", "key", "foundational/digits/last", "foundational", "plain/0", 1, "list : 4 9 .", "last digit ?"),
    ("i1", "key", "foundational/digits/largest", "foundational", "plain/1", 2, "list : 4 9 2 .", "largest digit ?"),
    ("i2", "template", "knowledge/meals/of", "knowledge", "take/3", 1, "", "tavi eats plum .  meal of tavi ?"),
]
COLUMNS = ("item", "split", "leaf", "branch", "template", "level", "context", "query")
GOLD = {"i1": "9", "i2": "plum", "i3": "9"}
REPLIES = {"list : 4 9 .\n\nlast digit ?": "4", "list : 4 9 2 .\n\nlargest digit ?": "9", "tavi eats plum .  meal of tavi ?": "plum plum"}
# text -> (log-probability of the gold answer in nats, its tokens)
SCORES = {"list : 4 9 .\n\nlast digit ?": (-3.0, 2), "list : 4 9 2 .\n\nlargest digit ?": (-0.5, 2), "tavi eats plum .  meal of tavi ?": (-4.5, 3)}


class Student(Scripted):
    """Answers from REPLIES and scores from SCORES, and keeps what it scored."""

    def __init__(self, scores=SCORES):
        super().__init__(lambda request: REPLIES[request.messages[0][1]])
        self.scores, self.scored = scores, []

    def score(self, pairs):
        self.scored += pairs
        return [self.scores[messages[0][1]] for messages, _ in pairs]


def items(rows=ITEMS):
    return pl.DataFrame(rows, schema=COLUMNS, orient="row")


def gold(answers=GOLD):
    return pl.DataFrame({"item": list(answers), "answer": list(answers.values())})


def grade(item, reply):
    """The gold answer of these items is right, and nothing else; the one that poses no problem has no right answer."""
    return reply == item["answer"] and item["query"] != "posed by nobody"


def examined(student=None, **changes):
    given = {"items": items(), "gold": gold(), **changes}
    return examine(student or Student(), given["items"], given["gold"], max_tokens=7, grade=grade)


def test_an_exam_is_judged_item_by_item_in_the_order_of_the_items():
    assert examined().rows() == [
        ("i1", "key", "foundational/digits/largest", "foundational", "plain/1", 2, True, 0.25, 2, "9"),
        ("i2", "template", "knowledge/meals/of", "knowledge", "take/3", 1, False, 1.5, 3, "plum plum"),
        ("i3", "key", "foundational/digits/last", "foundational", "plain/0", 1, False, 1.5, 2, "4"),
    ]
    assert examined().columns == ["item", "split", "leaf", "branch", "template", "level", "right", "gold_loss", "gold_tokens", "reply"]


def test_a_student_is_asked_greedily_in_the_form_it_was_trained_in():
    student = Student()
    examined(student)
    asked = [(r.messages, r.temperature, r.top_p, r.max_tokens) for r in student.asked]
    assert asked == [
        ((("user", text),), 0.0, 1.0, 7) for text in ("list : 4 9 2 .\n\nlargest digit ?", "tavi eats plum .  meal of tavi ?", "list : 4 9 .\n\nlast digit ?")
    ]
    assert student.scored == [(messages, answer) for (messages, *_), answer in zip(asked, ("9", "plum", "9"), strict=True)]


def test_the_order_of_items_and_gold_does_not_matter():
    assert examined(items=items(ITEMS[::-1]), gold=gold(dict(reversed(GOLD.items())))).equals(examined())


@pytest.mark.parametrize(
    ("answers", "numbers"), [({"i1": "9", "i2": "plum"}, "(2, 3, 2)"), ({**GOLD, "i4": "9"}, "(3, 3, 4)"), ({"i1": "9", "i2": "plum", "i9": "9"}, "(2, 3, 3)")],
    ids=["an item without gold", "gold without an item", "another item's gold"],
)  # fmt: skip
def test_items_and_gold_must_match_one_to_one(answers, numbers):
    with pytest.raises(AssertionError) as caught:
        examined(gold=gold(answers))
    assert str(caught.value).splitlines()[0] == numbers


def test_two_golds_for_one_item_are_refused():
    with pytest.raises(pl.exceptions.ComputeError, match="1:1"):
        examined(gold=pl.concat([gold(), gold({"i1": "4"})]))


def test_an_exam_in_batches_with_a_cache_gives_the_replies_and_losses_of_plain_passes_item_by_item(tmp_path):
    folder = tiny_model(tmp_path / "model", words="list : 4 9 2 . last largest digit ? tavi eats plum meal of".split(), seed=35)
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    end = tokenizer.eos_token_id
    batched = examined(HfTeacher(folder, batch=2))
    assert [len(reply.split()) for reply in batched["reply"]] == [7, 2, 4]  # one of them cut off, and all different
    for item, context, query in items().sort("item").select("item", "context", "query").iter_rows():
        prompt = tokenizer.convert_tokens_to_ids(f"<user> {context} {query} <assistant>".split())
        gold_ids = [*tokenizer.convert_tokens_to_ids(GOLD[item].split()), end]
        reply: list[int] = []
        with torch.inference_mode():
            while len(reply) < 7 and (not reply or reply[-1] != end):
                reply.append(int(model(input_ids=torch.tensor([prompt + reply])).logits[0, -1].argmax()))
            logprobs = torch.log_softmax(model(input_ids=torch.tensor([prompt + gold_ids])).logits[0, len(prompt) - 1 : -1].double(), -1)
        loss = -sum(float(row[i]) for row, i in zip(logprobs, gold_ids, strict=True)) / len(gold_ids)
        found = batched.row(by_predicate=pl.col("item") == item, named=True)
        assert (found["reply"], found["gold_tokens"]) == (tokenizer.decode(reply, skip_special_tokens=True), len(gold_ids))
        assert found["gold_loss"] == pytest.approx(loss, abs=1e-5)


def results(*rows):
    """(split, leaf, right, gold_loss)"""
    return pl.DataFrame(rows, schema=("split", "leaf", "right", "gold_loss"), orient="row")


RESULTS = results(
    ("key", "a", True, 1.0), ("key", "a", True, 2.0), ("key", "a", False, 6.0), ("key", "a", True, 3.0),  # 3/4 right, 3.0 nats
    ("key", "b", False, 8.0), ("key", "b", False, 4.0),  # 0 right, 6.0 nats
    ("key", "c", True, 0.5),  # 1 right, 0.5 nats
    ("template", "a", True, 1.0), ("template", "a", False, 1.0), ("template", "b", True, 1.0),  # 1/2 and 1
    ("difficulty", "a", False, 1.0), ("difficulty", "c", True, 1.0), ("difficulty", "c", False, 1.0), ("difficulty", "c", False, 1.0),  # 0 and 1/3
)  # fmt: skip
WEIGHTS = {"a": 0.5, "b": 0.3, "c": 0.2}


def test_the_metrics_weigh_every_leaf_alike_and_by_its_natural_share():
    assert exam_metrics(RESULTS, WEIGHTS, bits=1.25) == {
        "accuracy_macro": pytest.approx((0.75 + 0 + 1) / 3),
        "accuracy_natural": pytest.approx(0.5 * 0.75 + 0.3 * 0 + 0.2 * 1),
        "gold_loss_macro_nats": pytest.approx((3 + 6 + 0.5) / 3),
        "gold_loss_natural_nats": pytest.approx(0.5 * 3 + 0.3 * 6 + 0.2 * 0.5),
        "bits_per_byte": 1.25,
        "accuracy_template": pytest.approx((1 / 2 + 1) / 2),
        "accuracy_difficulty": pytest.approx((0 + 1 / 3) / 2),
    }


def test_a_split_without_items_is_left_out_and_one_without_a_right_answer_is_zero():
    numbers = exam_metrics(results(("key", "a", False, 1.0), ("difficulty", "a", False, 1.0)), {"a": 1.0}, bits=0.0)
    assert {name: value for name, value in numbers.items() if name.startswith("accuracy")} == {
        "accuracy_macro": 0.0, "accuracy_natural": 0.0, "accuracy_difficulty": 0.0,
    }  # fmt: skip


def test_natural_shares_of_the_leaves_that_were_examined_add_up_to_one():
    some = results(("key", "a", True, 1.0), ("key", "c", False, 1.0))
    assert exam_metrics(some, WEIGHTS, bits=0.0)["accuracy_natural"] == pytest.approx(0.5 / 0.7)


REFERENCE = pl.DataFrame({"context": ["list : 4 9 .", "list : 4 9 2 ."], "query": ["last digit ?", "largest digit ?"], "answer": ["9", "žaba"]})
BITS = {"list : 4 9 .\n\nlast digit ?": (-3 * math.log(2), 2), "list : 4 9 2 .\n\nlargest digit ?": (-9 * math.log(2), 2)}


def test_the_loss_on_reference_text_is_kept_by_document_with_one_byte_for_its_end():
    student = Student(BITS)
    losses = reference_losses(student, REFERENCE)
    assert losses.select("document", "bytes").rows() == [(0, 1 + 1), (1, 5 + 1)]  # ž has two bytes
    assert losses["bits"].to_list() == pytest.approx([3, 9])
    assert losses["loss_nats"].to_list() == pytest.approx([3 * math.log(2), 9 * math.log(2)])
    assert [answer for _, answer in student.scored] == ["9", "žaba"]


def test_the_losses_alone_are_those_of_the_whole_exam_on_their_split_and_no_reply_is_asked_for():
    student = Student()
    found = gold_losses(student, items(), gold(), split="key")
    assert found.rows() == [("i1", "foundational/digits/largest", 0.25), ("i3", "foundational/digits/last", 1.5)]
    assert found.equals(examined().filter(pl.col("split") == "key").select("item", "leaf", "gold_loss"))
    assert student.asked == []


def test_bits_per_byte_are_all_bits_over_all_bytes_not_the_mean_of_the_documents():
    longer = REFERENCE.with_columns(answer=pl.Series(["9", "a frog that is green"]))
    assert bits_per_byte(reference_losses(Student(BITS), longer)) == pytest.approx((3 + 9) / (2 + 21))  # the documents' mean would be 0.96
    assert bits_per_byte(reference_losses(Student(BITS), longer)) == -sum(nats for nats, _ in BITS.values()) / math.log(2) / 23  # to the last digit
