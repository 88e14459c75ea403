"""What must not get out of an endpoint or into a run: the key, and another model than was pinned."""

import json
import logging
import re
import traceback
from dataclasses import replace

import pytest

from espalier.errors import EspalierError, InputMissing
from espalier.io import write_json
from espalier.teachers.engines import open_teacher
from espalier.teachers.key import Key, read_key
from espalier.teachers.pin import pin_served, teacher_fingerprint, teacher_folder
from espalier.teachers.server import ask_served
from tests.misbehaving import Answer, Misbehaving, refused_url, said
from tests.test_server import KEY, SECRET, SETTINGS, body, cached, choice, no_proxy, raised, replies, requests, teacher  # noqa: F401 (a fixture that works by being here)

ECHOES = {
    "in an error": lambda asked: said(401, f"no such key: {SECRET}"),
    "in a refusal": lambda asked: said(400, f"bad header Authorization: Bearer {SECRET}" + "x" * 300),
    "as json spells it": lambda asked: Answer(400, b'{"error": {"message": "key sk-ab\\/cd+0123456789"}}'),
    "as a url spells it": lambda asked: said(400, "see /login?key=sk-ab%2Fcd%2B0123456789"),
    "as escapes spell it": lambda asked: Answer(400, ('{"error": {"message": "' + "".join(f"\\u{ord(letter):04x}" for letter in SECRET) + '"}}').encode()),
    "where a message is cut": lambda asked: said(400, "x" * (195 - asked.seed // 2) + SECRET),
    "where a value is cut": lambda asked: Answer(body=body(choices=choice(finish_reason="x" * (55 - asked.seed) + SECRET))),
    "in plain text": lambda asked: Answer(500, f"Bearer {SECRET}".encode()),
    "in headers": lambda asked: said(500, "no", headers={"X-Key": SECRET}, reason=f"Key {SECRET}"),
    "in a reply": lambda asked: Answer(body=body(choices=choice(message={"content": f"my key is {SECRET}"}))),
    "where a field should be": lambda asked: Answer(body=body(choices=choice(finish_reason=SECRET))),
    "in a reset": lambda asked: Answer(body=f"Bearer {SECRET}".encode(), cut=10, reset=True),
}


@pytest.mark.parametrize("behave", ECHOES.values(), ids=ECHOES)
def test_a_key_that_the_server_echoes_shows_nowhere(behave, tmp_path, capfd, caplog):
    caplog.set_level(logging.DEBUG)
    seen = [repr(KEY), str(KEY)]
    with Misbehaving(behave) as server:
        engine = teacher(server.url, retries=1, error_share_stop=0.9)
        try:
            seen += map(repr, cached(engine, requests(25), tmp_path / "cache.sqlite"))
        except EspalierError as error:
            seen += traceback.TracebackException.from_exception(error, capture_locals=True).format()
    assert SECRET in server.asked[0].headers["authorization"]  # it was sent
    out, err = capfd.readouterr()
    seen += [out, err, caplog.text, *(repr(record.__dict__) for record in caplog.records), repr(vars(engine)), repr(server.url)]
    seen += [file.read_bytes().decode("latin-1") for file in tmp_path.iterdir()]
    for spelling in (SECRET, "sk-ab\\/cd", "sk-ab%2Fcd", "sk-a"):
        assert [text for text in seen if spelling in text] == []


def test_a_key_that_a_list_of_models_echoes_is_not_pinned():
    with Misbehaving(models=listing({"id": "m", "root": f"/keys/{SECRET}"})) as server:
        assert served(server.url) == {"model": "m", "id": "m", "root": "/keys/***"}


def test_a_placeholder_for_a_key_leaves_replies_alone():
    with Misbehaving(lambda asked: Answer(body=body(choices=choice(message={"content": "the box is EMPTY"})))) as server:
        assert teacher(server.url, key=Key("TEST_API_KEY", "EMPTY")).generate(requests(1))[0].text == "the box is EMPTY"


@pytest.mark.parametrize(("value", "found"), [(f" {SECRET}\n", SECRET), ("", ""), (None, "")])
def test_a_key_is_read_from_the_variable_without_the_white_space_around_it(monkeypatch, value, found):
    monkeypatch.delenv("TEST_API_KEY", raising=False)
    if value is not None:
        monkeypatch.setenv("TEST_API_KEY", value)
    assert read_key("TEST_API_KEY") == Key("TEST_API_KEY", found)


@pytest.mark.parametrize("value", ["sk-ab\ncd", "sk-ab cd", "sk-äb"])
def test_a_key_that_no_header_carries_is_refused_without_being_shown(monkeypatch, value):
    monkeypatch.setenv("TEST_API_KEY", value)
    error = raised(lambda: read_key("TEST_API_KEY"))
    assert str(error) == "$TEST_API_KEY: holds a space, a control character or a letter beyond ASCII; set it to the key alone"


def served(*urls, **changes):
    return ask_served(replace(SETTINGS, urls=urls, **changes), key=KEY)


def listing(*entries):
    return Answer(body=json.dumps({"object": "list", "data": list(entries)}).encode())


M = {"model": "m", "id": "m", "root": "org/m", "max_model_len": 4096}


def test_what_is_pinned_of_a_model_is_what_all_urls_say_and_no_time():
    with Misbehaving() as one, Misbehaving(models=listing({"id": "m", "created": 999, "root": "org/m", "max_model_len": 4096, "owned_by": "x"})) as two:
        assert served(one.url, two.url) == served(two.url) == served(refused_url(), one.url) == M


def test_an_endpoint_that_says_less_is_pinned_by_what_it_says():
    with Misbehaving(models=listing({"id": "m", "root": None})) as bare, Misbehaving(models=Answer(404)) as silent:
        assert (served(bare.url), served(silent.url)) == ({"model": "m", "id": "m"}, {"model": "m"})


def test_urls_that_serve_different_models_are_refused():
    with Misbehaving() as one, Misbehaving(models=listing({"id": "m", "root": "org/other"})) as two:
        assert "server.urls serve different models" in str(raised(lambda: served(one.url, two.url)))


def test_a_model_that_is_not_served_is_named_with_the_one_that_was_meant():
    with Misbehaving(models=listing({"id": "qwen-7b"})) as server:
        assert str(raised(lambda: served(server.url, model="qwen-7"))) == (
            f'params.yaml: server.model is "qwen-7", which {server.url} does not serve; did you mean "qwen-7b"?'
        )


def test_a_server_that_cannot_be_asked_is_named_with_the_reason():
    url = refused_url()
    assert re.fullmatch(
        rf"params.yaml: no URL of server.urls lists its models \({url}: ConnectError .*\); start the server, or mend server.urls", str(raised(lambda: served(url)))
    )
    for answer, why in ((Answer(500, b"down"), "500: down"), (Answer(body=b"{}"), "not a list of models: data is None"), (Answer(body=b"{"), "not a list of models")):
        with Misbehaving(models=answer) as server:
            assert why in str(raised(lambda url=server.url: served(url)))
    with Misbehaving(models=said(401, f"bad key {SECRET}")) as server:
        assert "answers 401: bad key ***; the endpoint wants another key" in str(raised(lambda: served(server.url)))


def test_a_pinned_endpoint_gives_the_tokenizer_folder_and_a_fingerprint_without_urls(tmp_path):
    tokenizer = tmp_path / "tokenizer"
    with pytest.raises(InputMissing, match=r"params\.yaml: teacher\.path is .*tokenizer, which holds no tokenizer\.json; an endpoint gives none"):
        pin_served(str(tokenizer), M)
    write_json(tokenizer / "tokenizer.json", {})
    pin = pin_served(str(tokenizer), M)
    write_json(tmp_path / "run" / "pin.json", pin)
    assert set(pin) == {"path", "tokenizer", "served", "fingerprint"}
    assert re.fullmatch("[0-9a-f]{32}", pin["fingerprint"])
    assert teacher_folder(tmp_path / "run") == tokenizer
    assert teacher_fingerprint(tmp_path / "run") == pin["fingerprint"] != pin_served(str(tokenizer), M | {"root": "org/other"})["fingerprint"]
    write_json(tokenizer / "tokenizer.json", {"other": 1})
    assert "the teacher has changed since it was pinned" in str(raised(lambda: teacher_folder(tmp_path / "run")))


def test_an_endpoint_that_serves_another_model_than_was_pinned_is_not_asked(tmp_path, monkeypatch):
    monkeypatch.setenv("TEST_API_KEY", SECRET)
    write_json(tmp_path / "tokenizer" / "tokenizer.json", {})
    write_json(tmp_path / "run" / "pin.json", pin_served(str(tmp_path / "tokenizer"), M))

    def opened(server):
        return open_teacher("server", tmp_path / "run", server=replace(SETTINGS, urls=(server.url,)))

    with Misbehaving() as server:
        assert opened(server).generate(requests(2)) == replies(2)
        assert server.asked[0].headers["authorization"] == f"Bearer {SECRET}"
        assert opened(server).fingerprint == teacher_fingerprint(tmp_path / "run")
    with Misbehaving(models=listing({"id": "m", "root": "org/other"})) as other:
        assert re.search(r"org/m.* is pinned, found is .*org/other.*; run `dvc repro -f teacher`", str(raised(lambda: opened(other))))
    assert other.asked == []
    assert "is pinned, found is a model in a folder; run" in str(raised(lambda: open_teacher("hf", tmp_path / "run")))
