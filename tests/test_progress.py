"""What is said while something works, with a clock of ours."""

import io
import sys
import threading

import pytest

from espalier import log
from espalier.progress import BAR_S, LINE_S, Progress, bar_of, duration


class Clock:
    """A time that only tests move."""

    def __init__(self):
        self.now_s = 100.0

    def __call__(self):
        return self.now_s


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def clock():
    return Clock()


def open_terminal(monkeypatch):
    """A terminal in the place of stderr; called in the test itself, since pytest puts its own there after the fixtures."""
    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setattr(log, "_shown", False)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    return sys.stderr


def test_a_line_has_done_rate_time_left_errors_and_cache_hits_and_the_rate_leaves_out_what_was_cached(clock, capsys):
    progress = Progress("answer@lab", 48_000, start=0, clock=clock)
    clock.now_s += 40
    progress(12_000, found=4_000, errors=30)
    # (12,000 - 4,000) / 40 s = 200/s; 36,000 / 200 = 180 s; 30 / 12,000 = 0.25 %
    assert capsys.readouterr().err == "  answer@lab: 12,000/48,000, 200/s, 3 min left, 0.2% errors, 4,000 from the cache\n"


def test_a_line_comes_when_it_is_due_and_at_least_every_30_seconds(clock, capsys):
    progress = Progress("x", 1000, start=0, clock=clock)
    for _ in range(120):
        clock.now_s += 1
        progress.beat()
    lines = capsys.readouterr().err.splitlines()
    assert lines == ["  x: 0/1,000"] * int(120 / LINE_S)
    assert LINE_S + BAR_S <= 30  # it beats every BAR_S


def test_a_slow_rate_keeps_its_digits(clock, capsys):
    progress = Progress("x", 100, start=0, clock=clock)
    clock.now_s += 40
    progress(10, errors=0)
    assert capsys.readouterr().err == "  x: 10/100, 0.25/s, 6 min left, 0.0% errors, 0 from the cache\n"


def test_all_from_the_cache_is_no_rate(clock, capsys):
    progress = Progress("x", 100, start=0, clock=clock)
    clock.now_s += 40
    progress(50, found=50, errors=0)
    assert capsys.readouterr().err == "  x: 50/100, 0.0% errors, 50 from the cache\n"


def test_a_resumed_training_counts_its_own_steps_and_has_no_errors(clock, capsys):
    progress = Progress("train@lab-1: steps", 0, clock=clock)
    clock.now_s += 10
    progress(501, "loss 2.000 nats", total=700)
    clock.now_s += 10
    progress(601, "loss 1.000 nats", total=700)
    assert capsys.readouterr().err == "  train@lab-1: steps: 601/700, 5/s, 20 s left, loss 1.000 nats\n"


def test_while_no_call_comes_it_speaks_by_itself_until_the_block_ends(clock, capsys, monkeypatch):
    monkeypatch.setattr("espalier.progress.BAR_S", 0.0)
    spoken = threading.Event()
    monkeypatch.setattr("espalier.progress.say", lambda line: spoken.set())
    before = threading.active_count()
    progress = Progress("x", 10, start=0, clock=clock)
    with progress:
        clock.now_s += 30
        assert spoken.wait(10)
        assert threading.active_count() == before + 1
    while threading.active_count() > before:
        pass


def test_a_terminal_gets_a_bar_every_second_that_the_next_line_replaces(clock, monkeypatch):
    terminal = open_terminal(monkeypatch)
    progress = Progress("x", 20, start=0, clock=clock)
    clock.now_s += 1
    progress(5)
    clock.now_s += 0.5
    progress(6)
    clock.now_s += 0.5
    progress(10)
    log.say("x: done")
    assert terminal.getvalue() == (
        "\r\x1b[K  [\x1b[32m#####\x1b[0m---------------] x: 5/20, 5/s, 3 s left"
        "\r\x1b[K  [\x1b[32m##########\x1b[0m----------] x: 10/20, 5/s, 2 s left"
        "\r\x1b[Kx: done\n"
    )  # fmt: skip


def test_a_bar_without_colour_where_no_color_is_set(clock, monkeypatch):
    terminal = open_terminal(monkeypatch)
    monkeypatch.setenv("NO_COLOR", "1")
    progress = Progress("x", 20, start=0, clock=clock)
    clock.now_s += 2
    progress(10)
    assert terminal.getvalue() == "\r\x1b[K  [##########----------] x: 10/20, 5/s, 2 s left"


def test_a_dumb_terminal_gets_lines(clock, monkeypatch):
    terminal = open_terminal(monkeypatch)
    monkeypatch.setenv("TERM", "dumb")
    progress = Progress("x", 20, start=0, clock=clock)
    clock.now_s += LINE_S
    progress(10)
    assert terminal.getvalue() == "  x: 10/20, 0.5/s, 20 s left\n"


def test_a_bar_is_cut_to_the_width_of_the_terminal(monkeypatch):
    terminal = open_terminal(monkeypatch)
    monkeypatch.setenv("COLUMNS", "10")
    log.show("123456789012345")
    assert terminal.getvalue() == "\r\x1b[K123456789"


@pytest.mark.parametrize(("done", "full"), [(0, 0), (1, 0), (2, 1), (39, 19), (40, 20)])
def test_a_bar_is_full_only_when_all_is_done(done, full):
    assert bar_of(done, 40, colour=False) == f"[{'#' * full}{'-' * (20 - full)}]"


@pytest.mark.parametrize(("seconds", "words"), [(0.4, "0 s"), (99.4, "99 s"), (100, "2 min"), (5_900, "98 min"), (6_000, "1 h 40 min"), (360_000, "100 h 0 min")])
def test_a_time_is_said_in_the_units_in_which_one_plans(seconds, words):
    assert duration(seconds) == words
