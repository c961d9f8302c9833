"""What makes a model the same model."""

import json
import shutil
from dataclasses import dataclass

import pytest
import tiny
import torch
from transformers import AutoConfig, GPT2Config, LlamaConfig, LlavaConfig, T5Config

from prunekit.models import identity as module
from prunekit.models import load, wrap
from prunekit.models.identity import NOT_COMPUTED, adapters, configuration, tokenizer_facts

EDITS = [
    ("gpt2", "n_head", 2),
    ("gpt2", "layer_norm_epsilon", 0.1),
    ("gpt2", "activation_function", "relu"),
    ("gpt2", "scale_attn_weights", False),
    ("gpt2", "scale_attn_by_inverse_layer_idx", True),
    ("llama", "rope_theta", 100.0),
    ("llama", "rms_norm_eps", 0.1),
    ("llama", "hidden_act", "relu"),
    ("t5", "relative_attention_max_distance", 4),
    ("t5", "layer_norm_epsilon", 0.1),
    ("t5", "feed_forward_proj", "gelu"),
    ("bert", "num_attention_heads", 2),
    ("bert", "layer_norm_eps", 0.1),
    ("bert", "hidden_act", "relu"),
    ("roberta", "pad_token_id", 1),
    ("neox", "use_parallel_residual", False),
    ("bart", "scale_embedding", True),
]


def edited(folder, name, value):
    """A field of a saved model's config.json is given another value; rope's own lies in a table of its own."""
    path = folder / "config.json"
    fields = json.loads(path.read_text())
    (fields["rope_parameters"] if name == "rope_theta" else fields)[name] = value
    path.write_text(json.dumps(fields))
    return folder


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A function: a copy of a saved tiny model, and the digest of the unchanged one."""
    folder, digests = tmp_path_factory.mktemp("models"), {}

    def copy(kind, target):
        if kind not in digests:
            digests[kind] = load(str(tiny.save_model(kind, folder / kind))).digest()
        return shutil.copytree(folder / kind, target / kind), digests[kind]

    return copy


@pytest.mark.parametrize(("kind", "name", "value"), tiny.by_day(EDITS, EDITS[::3]), ids=lambda part: str(part))
def test_a_field_that_decides_what_is_computed_makes_another_model(kind, name, value, saved, tmp_path):
    folder, digest = saved(kind, tmp_path)
    before = configuration(AutoConfig.from_pretrained(folder))
    edited(folder, name, value)
    after = configuration(AutoConfig.from_pretrained(folder))
    changed = {field for field in before | after if before.get(field) != after.get(field)}
    assert any(field.endswith(name) for field in changed) and len(changed) <= 3
    assert load(str(folder)).digest() != digest


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("transformers_version", "4.0.0"),
        ("_name_or_path", "/elsewhere"),
        ("dtype", "bfloat16"),
        ("torch_dtype", "float16"),
        ("architectures", ["Other"]),
        ("use_cache", False),
        ("id2label", {"0": "no", "1": "yes"}),
        ("output_hidden_states", True),
    ],
)
def test_where_a_model_lies_and_what_wrote_it_make_no_other(name, value, saved, tmp_path):
    folder, digest = saved("gpt2", tmp_path)
    edited(folder, name, value)
    assert load(str(folder)).digest() == digest


def test_a_field_that_a_later_class_adds_with_a_default_makes_no_other_model():
    config = tiny.model("llama").config
    before = configuration(config)

    class Later(LlamaConfig):
        new_switch: bool = False
        new_table: dict | None = None

        def __post_init__(self, **kwargs):
            super().__post_init__(**kwargs)
            self.new_width = self.hidden_size * 2  # follows from another field, which is not at its default here

    later = Later(**config.to_dict())
    assert later.to_dict()["new_width"] == 2 * tiny.WIDTH
    assert configuration(later) == before
    assert configuration(Later(**config.to_dict(), new_switch=True)) == before | {"new_switch": "true"}


def test_a_field_at_its_default_counts_where_the_class_would_make_another_of_it():
    whole = T5Config(feed_forward_proj="gelu")
    torn = T5Config(feed_forward_proj="gelu")
    torn.dense_act_fn = "relu"  # as a file says that was edited in one place alone
    assert T5Config().dense_act_fn == "relu"
    assert configuration(torn) == configuration(whole) | {"dense_act_fn": '"relu"'}


def test_a_field_that_neither_class_nor_code_knows_makes_no_other_model():
    """BERT's files say position_embedding_type = absolute, which its class once had as a default and has no longer."""
    old = LlamaConfig(position_embedding_type="absolute")
    assert configuration(old) == configuration(LlamaConfig())
    named = configuration(old, 'getattr(config, "position_embedding_type", None)')
    assert named["position_embedding_type"] == '"absolute"'
    assert configuration(old, "position_embedding_types") == configuration(LlamaConfig())


def test_a_field_that_only_the_code_knows_makes_another_model(saved, tmp_path):
    folder, digest = saved("llama", tmp_path)
    edited(folder, "no_code_names_me", 1)
    assert load(str(folder)).digest() == digest
    edited(folder, "sliding_window", 3)  # no field of Llama's; what all models share looks for it
    assert load(str(folder)).digest() != digest


def test_the_class_of_the_model_is_part_of_it_and_fields_of_configurations_inside_count_by_their_own():
    assert configuration(T5Config()) == {"model_type": '"t5"'}
    assert configuration(GPT2Config()) != configuration(T5Config())
    plain = LlavaConfig()
    changed = LlavaConfig(text_config={"model_type": "llama", "rms_norm_eps": 0.5})
    before, after = configuration(plain), configuration(changed)
    assert after == before | {"text_config.rms_norm_eps": "0.5"}
    assert before["text_config.model_type"] == '"llama"'
    changed.text_config.transformers_version = "1"
    changed.text_config.dtype = torch.bfloat16
    assert configuration(changed) == after


def test_an_entry_of_a_table_is_named_alone():
    usual, other = (configuration(LlamaConfig(rope_theta=theta)) for theta in (10000, 500000.0))
    assert usual == {"model_type": '"llama"'}
    assert other == usual | {"rope_parameters.rope_theta": "500000"}
    scaled = configuration(LlamaConfig(rope_scaling={"rope_type": "linear", "factor": 2.0}))
    assert {"rope_parameters.factor", "rope_parameters.rope_type"} <= scaled.keys()


@pytest.mark.parametrize(
    ("one", "other"), [(500000, 500000.0), ((1, 2), [1, 2]), ({2, 1}, {1, 2}), ({"a": 1, "b": 2}, {"b": 2, "a": 1})]
)
def test_values_of_one_meaning_are_written_alike(one, other):
    fields = [configuration(LlamaConfig(added=value), "config.added") for value in (one, other)]
    assert fields[0] == fields[1]
    assert any(name.startswith("added") for name in fields[0])


def test_a_model_saved_and_loaded_is_the_same_whatever_its_class_makes_of_the_file(tmp_path):
    for kind in tiny.KINDS:
        tiny.model(kind).save_pretrained(tmp_path / kind)
        assert configuration(AutoConfig.from_pretrained(tmp_path / kind)) == configuration(tiny.model(kind).config)


def test_the_list_of_what_never_computes_holds_no_width_or_activation():
    computed = "hidden_size hidden_act rope_theta rope_parameters num_attention_heads tie_word_embeddings"
    assert not set(computed.split()) & NOT_COMPUTED


def test_two_precisions_of_one_model_are_known_by_their_rounded_weights():
    exact, narrow = (tiny.frozen("gpt2", dtype=kind).identity() for kind in (torch.float32, torch.bfloat16))
    assert exact.rounded == narrow.rounded
    assert exact.weights != narrow.weights
    other = wrap(tiny.model("gpt2", seed=1), tiny.tokenizer("gpt2")).identity()
    assert other.rounded != exact.rounded


def _with(change):
    """The tiny tokenizer of BERT after a change."""
    from copy import deepcopy

    made = deepcopy(tiny.tokenizer("bert"))
    change(made)
    return tokenizer_facts(made)


def _lower(tokenizer):
    from tokenizers import normalizers

    tokenizer.backend_tokenizer.normalizer = normalizers.Lowercase()


def _marked(tokenizer):
    from tokenizers import processors

    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A", special_tokens=[("[CLS]", tokenizer.convert_tokens_to_ids("[CLS]"))]
    )


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        (_lower, {"rules"}),
        (_marked, {"rules", "ids of a trial text"}),
        (lambda one: setattr(one, "pad_token", "w7"), {"special tokens", "rules", "ids of a trial text"}),
        (lambda one: one.add_tokens(["brandnew"]), {"vocabulary", "rules"}),
        (lambda one: one.add_special_tokens({"cls_token": "[CLS]"}), {"special tokens"}),
    ],
    ids=["normaliser", "marks", "pad", "added", "special"],
)
def test_a_change_of_the_tokenizer_is_known_by_its_part(change, parts):
    before, after = tokenizer_facts(tiny.tokenizer("bert")), _with(change)
    differing = {name for name in before if before[name] != after[name]}
    assert differing
    assert parts - {"rules", "ids of a trial text"} <= differing


def test_what_python_code_adds_to_the_rules_is_known_by_the_ids_of_a_trial_text(monkeypatch):
    before = tokenizer_facts(tiny.tokenizer("bert"))
    kind = type(tiny.tokenizer("bert"))
    plain = kind.__call__

    def adding(self, *arguments, **options):
        found = plain(self, *arguments, **options)
        found["input_ids"] = [3, *found["input_ids"]]
        return found

    monkeypatch.setattr(kind, "__call__", adding)
    after = tokenizer_facts(tiny.tokenizer("bert"))
    assert {name for name in before if before[name] != after[name]} == {"ids of a trial text"}


def test_settings_of_padding_and_cutting_are_no_part_of_a_tokenizer():
    def change(tokenizer):
        tokenizer.backend_tokenizer.enable_truncation(4)
        tokenizer.backend_tokenizer.enable_padding(length=9)
        tokenizer.padding_side = "left"
        tokenizer.chat_template = "{{ messages }}"
        tokenizer.model_max_length = 7

    assert _with(change) == tokenizer_facts(tiny.tokenizer("bert"))


@dataclass
class _Layer(torch.nn.Module):
    """Stands for a layer that PEFT has put into a model."""

    scaling: dict
    active_adapters: list
    disable_adapters: bool = False

    def __post_init__(self):
        super().__init__()

    __hash__ = torch.nn.Module.__hash__


def test_how_strongly_an_adapter_acts_is_part_of_the_model():
    weak, strong = (torch.nn.Sequential(_Layer({"a": scale}, ["a"])) for scale in (1.0, 2.0))
    off = torch.nn.Sequential(_Layer({"a": 1.0}, ["a"], disable_adapters=True))
    assert adapters(weak) != adapters(strong)
    assert adapters(off) == adapters(torch.nn.Sequential()) == {}


def test_a_class_that_refuses_its_own_fields_is_taken_as_it_is(monkeypatch):
    monkeypatch.setattr(module, "_remade", lambda kind, values: None)
    fields = configuration(LlamaConfig(rms_norm_eps=0.5))
    assert fields["rms_norm_eps"] == "0.5"
    assert fields["hidden_size"] == "4096"  # nothing is known of defaults, so that every field counts
