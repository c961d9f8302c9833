"""What could silently be wrong in benchmarks/families: a fault that it does not see, an architecture left out."""

import json

import pytest
import tiny

from benchmarks.families import __main__ as command
from benchmarks.families import table
from benchmarks.families.build import NotBuiltError, build, loaded, tokenizer
from benchmarks.families.catalogue import Architecture, architectures
from benchmarks.families.isolated import TrialOptions, try_all
from benchmarks.families.measure import BAR, FAULTS, Result, measure
from benchmarks.families.shrink import BOTH_WAYS, OVERRIDES, PAD, PADDING, tiny_config

pytestmark = pytest.mark.gate

LLAMA, GPT2, GEMMA3N = (Architecture(kind, "decoder") for kind in ("llama", "gpt2", "gemma3n_text"))
BERT, ROBERTA, MODERNBERT = (Architecture(kind, "encoder") for kind in ("bert", "roberta", "modernbert"))
T5, MARIAN = (Architecture(kind, "encoder-decoder") for kind in ("t5", "marian"))
# that have been silently wrong: a pooler of two parts, a window met by a short prompt alone, a decoder that hears
ALBERT, WINDOWED = (Architecture(kind, "encoder") for kind in ("albert", "embedding_gemma2_text"))
VOXTRAL = Architecture("voxtral", "decoder")
ONCE_WRONG = (ALBERT, WINDOWED, VOXTRAL)
UNUSUAL = (GEMMA3N, MODERNBERT, MARIAN)
A_FEW = (LLAMA, GPT2, BERT, ROBERTA, T5)  # which other tests build too


def name(architecture: Architecture) -> str:
    return architecture.name


# ---- what is tried


@pytest.mark.slow  # it loads the code of all
def test_every_architecture_is_listed_once_and_there_are_over_150():
    names = [one.name for one in architectures()]
    assert len(set(names)) == len(names) > 150
    assert {one.name for one in (*ONCE_WRONG, *UNUSUAL, *A_FEW)} <= set(names)
    assert {"decoder/voxtral", "decoder/bert", "encoder/bert", "encoder-decoder/bart"} <= set(names)
    assert "encoder/gpt2" not in names and "encoder-decoder/voxtral" not in names and "encoder/vit" not in names


@pytest.mark.slow
def test_settings_of_one_architecture_are_of_one_that_there_is():
    assert set(OVERRIDES) | BOTH_WAYS <= {one.kind for one in architectures()}


def test_a_tiny_configuration_is_tiny_and_its_padding_row_is_not_the_tokenizers():
    config = tiny_config("gemma3", "decoder")
    assert (config.text_config.hidden_size, config.text_config.num_hidden_layers) == (32, 2)
    assert config.text_config.layer_types == ["sliding_attention", "full_attention"]
    assert config.text_config.sliding_window == 6
    assert config.text_config.pad_token_id == PADDING != PAD == tokenizer("decoder").pad_token_id
    assert tiny_config("marian", "encoder-decoder").scale_embedding


def test_one_that_transformers_cannot_make_says_why(tmp_path):
    with pytest.raises(NotBuiltError, match="AutoModelForCausalLM"):
        build(Architecture("emu3", "decoder"), tmp_path)


def test_a_saved_model_is_the_same_when_it_is_loaded(tmp_path):
    import torch

    build(LLAMA, tmp_path)
    ids = torch.tensor([[2, 30, 40]])
    first, second = (loaded(LLAMA, tmp_path)(input_ids=ids).logits for _ in range(2))
    assert torch.equal(first, second)
    assert first.abs().max() > 1  # large enough for a fault to show


# ---- what is found


@pytest.mark.parametrize("architecture", tiny.by_day((*ONCE_WRONG, *UNUSUAL, *A_FEW), ONCE_WRONG), ids=name)
def test_answers_are_the_plain_models(architecture):
    result = measure(architecture, verbs=False)
    assert result.outcome in ("works", "works one by one"), result
    assert max(result.differences.values()) <= BAR


@pytest.mark.slow
@pytest.mark.parametrize("architecture", [LLAMA, MODERNBERT], ids=name)
def test_every_verb_runs(architecture):
    result = measure(architecture)
    assert result.verbs and result.outcome in ("works", "works one by one"), result
    assert result.export


@pytest.mark.parametrize(("architecture", "fault"), tiny.in_turn((GPT2, BERT, ROBERTA), list(FAULTS)))
def test_a_planted_fault_exceeds_the_bar(architecture, fault):
    result = measure(architecture, fault, verbs=False)
    assert result.outcome == "WRONG", result
    assert max(result.differences.values()) > 100 * BAR


def test_a_planted_scale_is_seen_in_an_encoder_decoder():
    assert measure(T5, "scale", verbs=False).outcome == "WRONG"


def test_an_architecture_that_reads_ids_alone_is_refused_by_name():
    result = measure(Architecture("cpmant", "decoder"), verbs=False)
    assert result.outcome == "refused"
    assert result.reason.startswith("CpmAntForCausalLM: ")


@pytest.mark.slow
def test_a_limit_of_time_ends_one_architecture_and_not_the_others():
    (result,) = try_all([LLAMA], 1, TrialOptions(verbs=False, seconds=0))
    assert (result.outcome, result.reason) == ("CRASH", "not done after 0 s")


# ---- the page


@pytest.mark.slow  # it lists them all too
def test_what_the_results_hold_is_not_tried_again(tmp_path, monkeypatch, capsys):
    results = tmp_path / "results.jsonl"
    results.write_text(Result("llama", "decoder", verbs=True).line() + "\n")
    monkeypatch.setattr(
        command, "try_all", lambda missing, jobs, options: iter([Result(*missing[0].name.split("/")[::-1])])
    )
    command.main(only=["decoder/llama", "decoder/gpt2"], results=results, verbs=False)
    assert [json.loads(line)["kind"] for line in results.read_text().splitlines()] == ["llama", "gpt2"]
    assert capsys.readouterr().out.endswith("2 works\n")


def test_the_page_tells_outcome_and_reason_of_each_and_holds_no_markup_of_theirs():
    results = [
        Result("llama", "decoder", export="proved equal"),
        Result("odd", "decoder", "refused", "Odd: <class 'X'> | see https://example.org"),
        Result("bart", "encoder-decoder", "works one by one", "prompts of unequal length go one by one"),
    ]
    page = table.page(results, {"versions": "none"})
    assert "| llama | works |  | proved equal |" in page
    assert "| odd | refused | Odd: &lt;class 'X'&gt; / see https: //example.org |  |" in page
    assert page.index("## Decoders") < page.index("## Encoder-decoders")
    assert table.counted(results) == "1 works, 1 works one by one, 1 refused"


def test_the_committed_page_is_made_of_the_committed_figures():
    kept = json.loads(table.RESULTS.read_text(encoding="utf-8"))
    results = [Result(**one) for one in kept["architectures"]]
    assert table.PAGE.read_text(encoding="utf-8") == table.page(results, kept["facts"])
    assert not [one.name for one in results if one.outcome in ("WRONG", "CRASH")]
    assert len({one.name for one in results}) == len(results) > 150


@pytest.mark.slow
@pytest.mark.timeout(3 * 3600)
def test_no_architecture_is_silently_wrong():
    wrong = [one for one in try_all(architectures(), 2, TrialOptions()) if one.outcome in ("WRONG", "CRASH")]
    assert not wrong, "\n".join(f"{one.name}: {one.outcome} {one.reason}" for one in wrong)
