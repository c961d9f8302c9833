"""The page to play with: small, whole without a network, and true to the run that it shows."""

import json
import re
import webbrowser
from html import unescape
from html.parser import HTMLParser
from importlib.resources import files
from itertools import pairwise

import pytest
import small
from tiny import call

import prunekit as pk
from figures import demo
from prunekit.plots.demo import page

RUN = json.loads(files("prunekit.plots.demo").joinpath("run.json").read_text())


def test_the_page_is_small_and_asks_for_nothing_outside():
    text = unescape(page.render())
    assert len(text.encode()) < 300_000
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', text)[1]
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert not re.search(r"""(src|href)=|url\(|@import|https?://(?!www\.w3\.org/2000/svg)""", text)
    assert not re.search(r"\sstyle=|\son\w+=", text)


def test_what_is_shown_is_one_pruning_whose_numbers_agree():
    rounds = RUN["rounds"]
    for before, after in pairwise(rounds):
        assert all(kept <= was for was, kept in zip(before["mask"], after["mask"], strict=True))
    for entry in rounds:
        assert entry["cells"] == entry["mask"].count("1") == pytest.approx(entry["density"] * len(entry["mask"]))
        rows = re.findall("." * RUN["pieces"], entry["mask"])
        assert (len(rows), entry["tokens"]) == (RUN["tokens"], sum("1" in row for row in rows))
    assert {len(example["answers"]) for example in RUN["examples"]} == {len(rounds)}
    assert any(len(set(example["answers"])) > 1 for example in RUN["examples"])


def test_without_scripts_a_table_says_what_the_slider_would():
    class Rows(HTMLParser):
        count = 0

        def handle_starttag(self, tag, attrs):
            self.count += tag == "tr"

    rows = Rows()
    rows.feed(page.render())
    assert rows.count == 1 + len(RUN["rounds"]) + len(RUN["baselines"])
    assert "<noscript>" in page.render()


def test_the_data_are_made_of_a_run(monkeypatch):
    """Those of another run: the one beside the notebooks."""
    settings = dict(task="testbed/alike-mood", prompt_tokens=8, pieces=4, train_examples=64, validation_examples=64)
    monkeypatch.setattr(demo, "SETTINGS", settings | {"test_examples": 64})
    run = pk.load(small.SMALL_RUN)
    facts = demo.facts(run)
    assert facts.keys() == RUN.keys()
    assert [entry["cells"] for entry in facts["rounds"]] == [32, 12, 4]
    answers = run.predictions.query("split == 'test' and seed == 0 and arm in ('dense', 'ticket')")
    right = answers.pivot(index="example", columns="round", values="right")
    assert len(facts["examples"]) == 12
    assert all((entry["answers"][0] == entry["right"]) == right.loc[entry["example"], 0] for entry in facts["examples"])


def test_it_is_opened_or_written_and_what_is_not_its_own_is_kept(tmp_path, monkeypatch, capsys):
    seen = []
    monkeypatch.setattr(webbrowser, "open", lambda url: seen.append(url) or True)
    assert call("demo", "-o", tmp_path / "page.html") == 0
    assert (tmp_path / "page.html").read_text() == page.render()
    assert seen == []
    assert call("demo", "-o", tmp_path / "page.html") == 0
    (tmp_path / "other.html").write_text("mine")
    assert call("demo", "-o", tmp_path / "other.html") == 2
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    assert call("demo") == 0
    assert seen[0].startswith("file://")
    assert capsys.readouterr().out.splitlines()[-1].endswith("demo.html")
