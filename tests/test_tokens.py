import json
from itertools import groupby

import numpy as np
import pytest

from espalier.errors import CorruptInput, InputMissing, ParamsError
from espalier.tokens import CONTROLS, Document, encode_samples, load_chat, pack, pack_by_branch, save_chat, word_chat

PAD, UNKNOWN, END, SYSTEM, USER, ASSISTANT = range(6)
CHAT = word_chat(["b", "a", ".", "a"])  # ids: . 6, a 7, b 8
CONVERSATIONS = [(("user", "a b ."),), (("system", "b"), ("user", "a"), ("assistant", "."), ("user", "b b"))]
LOOKALIKES = ["<end>", "a <end> b", "<user> a <assistant> b <end>", "<pad>", "<system>", "a<end>b", "< end >", "<END>", "\n<end>\n"]


@pytest.fixture
def folder(tmp_path):
    save_chat(CHAT, tmp_path, context_tokens=64)
    return tmp_path


def test_a_word_has_one_id_whatever_the_order_it_is_given_in():
    assert [CHAT.tokenizer.token_to_id(token) for token in (*CONTROLS, ".", "a", "b")] == list(range(9))
    assert (CHAT.size, CHAT.pad_id, CHAT.end_id) == (9, PAD, END)
    assert word_chat([".", "a", "b"]).tokenizer.get_vocab() == CHAT.tokenizer.get_vocab()


def test_a_conversation_is_its_turns_between_control_tokens():
    assert CHAT.prompts(CONVERSATIONS) == [[USER, 7, 8, 6, ASSISTANT], [SYSTEM, 8, USER, 7, ASSISTANT, 6, USER, 8, 8, ASSISTANT]]
    assert CHAT.replies(["b .", "", " a\n\n  a "]) == [[8, 6, END], [END], [7, 7, END]]
    assert (CHAT.prompts([]), CHAT.replies([])) == ([], [])


def test_a_word_that_is_not_known_is_unknown():
    assert CHAT.replies(["a plum A a. b"]) == [[7, UNKNOWN, UNKNOWN, UNKNOWN, 8, END]]


@pytest.mark.parametrize("text", LOOKALIKES)
def test_text_that_looks_like_a_control_token_becomes_none(text, folder):
    for chat in (CHAT, load_chat(folder)):
        (reply,), (prompt,) = chat.replies([text]), chat.prompts([(("user", text),)])
        assert set(reply[:-1]) | set(prompt[1:-1]) <= {UNKNOWN, 6, 7, 8}
        assert (reply[-1], prompt[0], prompt[-1]) == (END, USER, ASSISTANT)


def test_a_reply_is_decoded_without_control_tokens():
    assert CHAT.decode([[7, 6, END], [8, END, PAD, PAD], [END]]) == ["a .", "b", ""]
    assert CHAT.decode(CHAT.replies(["b a ."])) == ["b a ."]


def test_a_saved_tokenizer_gives_the_same_ids(folder):
    chat = load_chat(folder)
    assert chat.prompts(CONVERSATIONS) == CHAT.prompts(CONVERSATIONS)
    assert chat.replies(["a b", "plum", *LOOKALIKES]) == CHAT.replies(["a b", "plum", *LOOKALIKES])
    assert chat.tokenizer.get_vocab() == CHAT.tokenizer.get_vocab()


def test_saving_what_was_loaded_gives_the_same_bytes(folder, tmp_path):
    save_chat(load_chat(folder), tmp_path / "again", context_tokens=64)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        assert (tmp_path / "again" / name).read_bytes() == (folder / name).read_bytes()


def test_transformers_loads_the_tokenizer_and_its_chat_template_gives_the_same_ids(folder):
    from transformers import AutoTokenizer

    loaded = AutoTokenizer.from_pretrained(folder)
    for conversation in CONVERSATIONS:
        messages = [{"role": role, "content": content} for role, content in conversation]
        ids = loaded.apply_chat_template(messages, add_generation_prompt=True, tokenize=True, return_dict=True)["input_ids"]
        assert ids == CHAT.prompts([conversation])[0]
    assert (loaded.pad_token_id, loaded.unk_token_id, loaded.eos_token_id, loaded.model_max_length) == (PAD, UNKNOWN, END, 64)
    assert loaded.decode([7, 6, END], skip_special_tokens=True) == "a ."


@pytest.mark.parametrize(("place", "command"), [("models/teacher", "dvc repro teacher"), ("data/tokens/lab", "dvc repro tokens@lab")])
def test_a_folder_without_a_tokenizer_names_the_command_that_makes_it(tmp_path, place, command):
    with pytest.raises(InputMissing) as raised:
        load_chat(tmp_path / place)
    assert str(raised.value) == f"{tmp_path / place / 'tokenizer.json'}: no such file; make it with `{command}`"


@pytest.mark.parametrize("content", ["", "{}", "not json"])
def test_a_damaged_tokenizer_is_named_with_what_to_do(folder, content):
    (folder / "tokenizer.json").write_text(content)
    with pytest.raises(CorruptInput) as raised:
        load_chat(folder)
    assert str(raised.value).startswith(f"{folder / 'tokenizer.json'}: not a tokenizer (")
    assert str(raised.value).endswith("); run the stage that made it again, or fetch the model again")


def test_a_tokenizer_without_our_chat_form_is_refused(folder):
    value = json.loads((folder / "tokenizer.json").read_text())
    value["added_tokens"] = [token for token in value["added_tokens"] if token["content"] not in ("<user>", "<end>")]
    for token in ("<user>", "<end>"):
        value["model"]["vocab"][token.replace("<", "<other ")] = value["model"]["vocab"].pop(token)
    (folder / "tokenizer.json").write_text(json.dumps(value))
    with pytest.raises(ParamsError) as raised:
        load_chat(folder)
    assert str(raised.value) == f"{folder / 'tokenizer.json'}: has no <end>, <user>; espalier's chat form needs these tokens"


def test_a_training_document_is_prompt_and_reply_and_knows_where_the_reply_begins():
    documents = encode_samples(CHAT, CONVERSATIONS, ["a", "b ."])
    assert documents == [
        Document([USER, 7, 8, 6, ASSISTANT, 7, END], 5),
        Document([SYSTEM, 8, USER, 7, ASSISTANT, 6, USER, 8, 8, ASSISTANT, 8, 6, END], 10),
    ]


# Packing


def made(sizes):
    """Documents of these sizes whose ids are all different, each with a prompt of about half its size."""
    ends = np.cumsum([0, *sizes])
    return [Document(list(range(1000 + start, 1000 + end)), size // 2) for start, end, size in zip(ends, ends[1:], sizes, strict=False)]


def unpacked(packed):
    """(ids, learnt ids) of every document that stands in a packed batch, in the order of the batch."""
    found = []
    for tokens, documents, targets in zip(packed.tokens_NT.tolist(), packed.documents_NT.tolist(), packed.targets_NT.tolist(), strict=True):
        for place, run in groupby(zip(documents, tokens, targets, strict=False), key=lambda entry: entry[0]):
            if place >= 0:
                rows = list(run)
                found.append(([token for _, token, _ in rows], [token for _, token, target in rows if target]))
    return found


@pytest.mark.parametrize("sizes", [[7], [64, 64], [64, 1, 63, 2], [3, 60, 4, 61, 33, 31], list(range(1, 65))])
def test_every_document_stands_once_and_whole_in_one_sequence(sizes):
    documents = made(sizes)
    packed = pack(documents, 64, pad_id=PAD)
    assert sorted(ids for ids, _ in unpacked(packed)) == sorted(document.ids for document in documents)
    assert packed.tokens_NT.shape == packed.documents_NT.shape == packed.targets_NT.shape
    assert packed.tokens_NT.shape[1] == 64


def test_only_replies_are_to_be_learnt():
    documents = made([9, 30, 20, 2])
    assert sorted(unpacked(pack(documents, 40, pad_id=PAD))) == sorted((one.ids, one.ids[one.prompt_tokens :]) for one in documents)


def test_documents_of_a_sequence_are_numbered_and_padding_comes_last():
    packed = pack(made([3, 2, 2]), 6, pad_id=PAD)
    assert packed.documents_NT.tolist() == [[0, 0, 0, 1, 1, -1], [0, 0, -1, -1, -1, -1]]
    assert packed.tokens_NT.tolist() == [[1000, 1001, 1002, 1003, 1004, PAD], [1005, 1006, PAD, PAD, PAD, PAD]]
    assert packed.targets_NT.tolist() == [[False, True, True, False, True, False], [False, True, False, False, False, False]]


def test_a_document_goes_where_it_leaves_the_least_room():
    packed = pack(made([3, 6, 7]), 10, pad_id=PAD)  # the 3 has room beside both, and fills up the 7
    assert [[len(list(run)) for place, run in groupby(row) if place >= 0] for row in packed.documents_NT.tolist()] == [[7, 3], [6]]


def test_sequences_of_typical_documents_are_more_than_nine_tenths_full():
    sizes = np.random.default_rng(0).integers(15, 50, 1000).tolist()
    packed = pack(made(sizes), 128, pad_id=PAD)
    assert sum(sizes) / packed.tokens_NT.size > 0.9
    assert (packed.documents_NT >= 0).sum() == sum(sizes)


def test_a_document_of_the_length_of_a_sequence_fits_and_a_longer_one_is_refused():
    assert pack(made([64]), 64, pad_id=PAD).tokens_NT.shape == (1, 64)
    with pytest.raises(ParamsError) as raised:
        pack(made([3, 65, 66]), 64, pad_id=PAD)
    assert str(raised.value) == "params.yaml: tokens.context_tokens is 64, but a sample has 66 tokens; raise it"


def test_no_documents_give_no_sequences():
    for packed in (pack([], 64, pad_id=PAD), pack_by_branch([], [], 64, pad_id=PAD)):
        assert packed.tokens_NT.shape == packed.documents_NT.shape == packed.targets_NT.shape == (0, 64)


def test_packed_by_branch_no_sequence_holds_two_branches_and_no_document_is_lost():
    documents, branches = made([30, 9, 20, 2, 40, 11, 5]), [2, 0, 2, 0, 3, 0, 2]
    packed = pack_by_branch(documents, branches, 40, pad_id=PAD)
    assert packed.branches_N.tolist() == [0, 2, 2, 3]  # 9 + 2 + 11 = 22; 30 + 5, 20; 40
    assert packed.branches_N.dtype == np.int8
    assert sorted(unpacked(packed)) == sorted(unpacked(pack(documents, 40, pad_id=PAD)))
    branch_of = {document.ids[0]: branch for document, branch in zip(documents, branches, strict=True)}
    for row, branch in zip(packed.tokens_NT.tolist(), packed.branches_N.tolist(), strict=True):
        assert {branch_of[token] for token in row if token in branch_of} == {branch}


def test_of_one_branch_alone_the_sequences_are_those_of_a_mix():
    documents = made([30, 9, 20, 2])
    mixed, alone = pack(documents, 40, pad_id=PAD), pack_by_branch(documents, [1, 1, 1, 1], 40, pad_id=PAD)
    assert mixed.branches_N is None
    assert (alone.tokens_NT.tobytes(), alone.documents_NT.tobytes(), alone.targets_NT.tobytes()) == (
        mixed.tokens_NT.tobytes(), mixed.documents_NT.tobytes(), mixed.targets_NT.tobytes(),
    )  # fmt: skip


def test_the_same_documents_are_packed_the_same_way():
    sizes = np.random.default_rng(1).integers(1, 60, 300).tolist()
    one, two = pack(made(sizes), 64, pad_id=PAD), pack(made(sizes), 64, pad_id=PAD)
    assert (one.tokens_NT.tobytes(), one.documents_NT.tobytes()) == (two.tokens_NT.tobytes(), two.documents_NT.tobytes())
