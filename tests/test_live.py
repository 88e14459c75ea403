"""Live curves: what they hold after a stop, how often, and that nothing but their files changes."""

import csv
import json
import subprocess

import pytest

from espalier.live import LivePlots

FOLDER = "runs/live/train/lab/1"


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A git and DVC repository of one commit, the working folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.setenv("DVC_STUDIO_OFFLINE", "")  # which LivePlots sets; put back at the end
    (tmp_path / ".gitignore").write_text("runs/\n")
    (tmp_path / "dvc.yaml").write_text("plots:\n- runs/live:\n    x: step\n")
    for command in ("git init -q", "dvc init -q", "git add -A", "git -c user.name=t -c user.email=t@t commit -qm one"):
        subprocess.run(command.split(), check=True)
    return tmp_path


def plots(folder, *times):
    """Plots whose clock says 0 when they are made, and then `times`, or every 20 s."""
    clock = iter([0.0, *(times or range(20, 1000, 20))])
    return LivePlots(folder / FOLDER, clock=lambda: next(clock))


def note(live, *steps, last=0):
    for step in steps:
        live(step, {"loss_nats": 1 / step, "tokens_s": 100.0 * step}, last=step == last)


def points(folder, name="loss_nats"):
    with open(folder / FOLDER / f"plots/metrics/{name}.tsv") as file:
        return [(int(row["step"]), float(row[name])) for row in csv.DictReader(file, delimiter="\t")]


def test_every_number_has_a_file_of_its_own_with_a_row_a_step(place):
    note(plots(place), 1, 2, 3)
    assert points(place) == [(1, 1.0), (2, 0.5), (3, 1 / 3)]
    assert points(place, "tokens_s") == [(1, 100.0), (2, 200.0), (3, 300.0)]


def test_dvc_plots_draws_them(place):
    note(plots(place), 1, 2)
    done = subprocess.run(["dvc", "plots", "show", "--json"], capture_output=True, text=True, check=True)
    shown = json.loads(done.stdout)
    assert "errors" not in shown
    (loss,) = shown["data"][f"{FOLDER}/plots/metrics/loss_nats.tsv"]
    assert loss["content"]["data"]["values"] == [{"step": "1", "loss_nats": "1.0", "rev": "workspace"}, {"step": "2", "loss_nats": "0.5", "rev": "workspace"}]


def test_nothing_is_made_but_the_files_of_the_plots(place):
    """No experiment, no dvc.yaml, nothing for git."""
    refs = subprocess.run(["git", "for-each-ref"], capture_output=True, text=True, check=True).stdout
    before = (place / "dvc.yaml").read_bytes()
    note(plots(place), 1, 2, 3, last=3)
    assert subprocess.run(["git", "status", "--porcelain"], capture_output=True, text=True, check=True).stdout == ""
    assert subprocess.run(["git", "for-each-ref"], capture_output=True, text=True, check=True).stdout == refs
    assert (place / "dvc.yaml").read_bytes() == before
    assert sorted(str(path.relative_to(place)) for path in (place / "runs").rglob("*") if path.is_file()) == [
        f"{FOLDER}/plots/metrics/loss_nats.tsv", f"{FOLDER}/plots/metrics/tokens_s.tsv",
    ]  # fmt: skip


def test_nothing_is_sent_to_dvc_studio_even_where_a_token_is_set(place, monkeypatch):
    sent = []
    monkeypatch.setenv("DVC_STUDIO_TOKEN", "secret")
    monkeypatch.setenv("DVC_STUDIO_REPO_URL", "https://127.0.0.1:9/one")
    monkeypatch.setattr("dvclive.studio.post_live_metrics", lambda *args, **options: sent.append(args))
    note(plots(place), 1, 2, last=2)
    assert (sent, len(points(place))) == ([], 2)


def test_a_point_is_noted_from_ten_seconds_on_at_most_every_second_and_at_the_last_step(place):
    note(plots(place, 9.9, 10.0, 10.4, 10.9, 11.0, 11.9, 11.95), 1, 2, 3, 4, 5, 6, 7, last=7)
    assert [step for step, _ in points(place)] == [2, 5, 7]


def test_a_run_of_less_than_ten_seconds_leaves_no_plots(place):
    note(plots(place, 1.0, 2.0, 9.9), 1, 2, 3, last=3)
    assert not (place / "runs").exists()


def test_a_resumed_run_goes_on_in_the_same_files_less_what_came_after_its_checkpoint(place):
    note(plots(place), 1, 2, 3, 4, 5)
    with open(place / FOLDER / "plots/metrics/tokens_s.tsv", "a") as file:
        file.write("6\t12")  # a row that a kill cut off
    note(plots(place), 4, 5, 6)
    assert points(place) == [(step, 1 / step) for step in (1, 2, 3, 4, 5, 6)]
    assert points(place, "tokens_s") == [(step, 100.0 * step) for step in (1, 2, 3, 4, 5, 6)]


def test_a_run_that_starts_over_leaves_nothing_of_the_one_before(place):
    note(plots(place), 1, 2, 3)
    note(plots(place), 1)
    assert points(place) == [(1, 1.0)]


def test_outside_of_a_dvc_repository_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    subprocess.run(["git", "init", "-q"], check=True)
    note(plots(tmp_path), 1, 2)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".git"]


def test_a_refused_write_ends_the_plots_and_not_the_run(place, capsys):
    (place / "runs").write_text("a file where a folder should be")
    note(plots(place), 1, 2)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"train: no more live plots in {place / FOLDER} (")
    assert line.endswith("); training goes on")
