"""A configuration made tiny: the same architecture, two layers of width 32."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from transformers import CONFIG_MAPPING

VOCABULARY, WIDTH, LAYERS, HEADS = 512, 32, 2, 4
# ids of the tokenizer; PADDING is the model's own padding row, which is another than the tokenizer's on purpose
PAD, PADDING, BOS, EOS, UNK, CLS, SEP, MASK = range(8)

_IDS = {
    "pad_token_id": PADDING, "bos_token_id": BOS, "eos_token_id": EOS, "unk_token_id": UNK, "cls_token_id": CLS,
    "sep_token_id": SEP, "mask_token_id": MASK, "decoder_start_token_id": BOS, "forced_bos_token_id": None,
    "forced_eos_token_id": None, "pad_index": PADDING, "bos_index": BOS, "eos_index": EOS, "unk_index": UNK,
    "mask_index": MASK, "tokenizer_class": None,
}  # fmt: skip

# settings by name, for every architecture that has them
_TINY: dict[str, Any] = {
    **dict.fromkeys(("hidden_size", "d_model", "n_embd", "dim", "embedding_size", "emb_dim", "word_embed_proj_dim",
                     "model_dim", "output_hidden_size", "embedding_dim", "attention_hidden_size", "d_embed"), WIDTH),
    **dict.fromkeys(("intermediate_size", "d_ff", "n_inner", "ffn_dim", "encoder_ffn_dim", "decoder_ffn_dim",
                     "ffn_hidden_size", "feed_forward_size", "hidden_dim", "d_inner", "dim_ff",
                     "feed_forward_proj_dim", "intermediate_size_mlp", "encoder_intermediate_size"), 64),
    **dict.fromkeys(("num_hidden_layers", "n_layer", "n_layers", "num_layers", "encoder_layers", "decoder_layers",
                     "num_decoder_layers", "num_encoder_layers", "depth"), LAYERS),
    **dict.fromkeys(("num_attention_heads", "n_head", "n_heads", "num_heads", "encoder_attention_heads",
                     "decoder_attention_heads", "num_encoder_attention_heads", "num_decoder_attention_heads"), HEADS),
    **dict.fromkeys(("num_key_value_heads", "num_kv_heads", "multi_query_group_num"), 2),
    **dict.fromkeys(("head_dim", "d_kv", "kv_channels", "attention_head_size", "d_head", "global_head_dim",
                     "swa_head_dim", "attention_head_dim"), 8),
    **dict.fromkeys(("max_position_embeddings", "n_positions", "n_ctx", "max_seq_len", "max_target_positions",
                     "max_encoder_position_embeddings", "max_decoder_position_embeddings", "max_source_positions",
                     "original_max_position_embeddings", "max_sequence_length", "seq_length"), 256),
    **dict.fromkeys(("sliding_window", "local_attention", "window_size", "attention_window_size", "local_radius",
                     "sliding_window_size", "attention_chunk_size", "swa_window"), 6),
    **dict.fromkeys(("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts", "num_routed_experts"),
                    4),
    **dict.fromkeys(("num_experts_per_tok", "moe_topk", "moe_k", "num_selected_experts", "moe_top_k", "top_k_experts",
                     "num_experts_per_token"), 2),
    **dict.fromkeys(("n_group", "topk_group", "n_shared_experts", "num_shared_experts", "moe_num_shared_experts",
                     "num_expert_group"), 1),
    **dict.fromkeys(("moe_intermediate_size", "shared_expert_intermediate_size", "expert_ffn_hidden_size",
                     "moe_shared_expert_intermediate_size", "shared_intermediate_size", "expert_dim",
                     "moe_ffn_hidden_size"), 32),
    **dict.fromkeys(("state_size", "ssm_state_size", "mamba_d_state"), 8),
    **dict.fromkeys(("q_lora_rank", "kv_lora_rank", "o_lora_rank", "index_head_dim", "time_step_rank"), 16),
    **dict.fromkeys(("qk_nope_head_dim", "qk_rope_head_dim", "v_head_dim"), 8),
    **dict.fromkeys(("linear_key_head_dim", "linear_value_head_dim"), 8),
    "vocab_size": VOCABULARY, "n_vocab": VOCABULARY, "linear_num_key_heads": 2, "linear_num_heads": 4,
    "linear_head_dim": 8, "linear_num_value_heads": 4,
    "vocab_size_per_layer_input": VOCABULARY, "hidden_size_per_layer_input": 8, "index_n_heads": 16, "index_topk": 8,
    "rotary_dim": 8, "first_k_dense_replace": 1, "num_codebooks": 2, "layerdrop": 0.0, "encoder_layerdrop": 0.0,
    "decoder_layerdrop": 0.0, "use_cache": True, "laurel_rank": 8,
}  # fmt: skip
# lists that hold one entry a layer
_PER_LAYER = re.compile(r"layer|block|pattern|types|freq|window|ratio")


def tiny_config(kind: str, family: str) -> Any:
    """The configuration of a model type at a width of 32, with the ids of `build.tokenizer`."""
    config_class = CONFIG_MAPPING[kind]
    changes = _shrunk(config_class().to_dict()) | _as_family(kind, family)
    return config_class(**_merged(changes, OVERRIDES.get(kind, {})))


def _shrunk(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Every setting that is to be another, those of the parts (text, vision, audio) too."""
    layers = next((settings[name] for name in ("num_hidden_layers", "n_layer", "num_layers") if settings.get(name)), 0)
    first, last = _two_layers(settings.get("layer_types") or [0] * layers)
    changes: dict[str, Any] = {}
    for name, value in settings.items():
        if isinstance(value, Mapping) and (name.endswith("config") or "model_type" in value):
            changes[name] = _shrunk(value) | {key: value[key] for key in ("model_type",) if value.get(key)}
        elif (name in _IDS and value is not None) or name in ("pad_token_id", "bos_token_id", "eos_token_id"):
            changes[name] = _IDS[name]
        elif name == "head_dim" or _is_size(name, value):
            changes[name] = _TINY[name]
        elif isinstance(value, list) and len(value) == layers and _PER_LAYER.search(name):
            changes[name] = [value[first], value[last]]
        elif name.endswith("_token_id") or name.endswith("_token_index"):
            changes[name] = None if value is None else _beyond_text(name)
    if settings.get("kv_lora_rank") and "num_key_value_heads" in changes:
        changes["num_key_value_heads"] = HEADS  # keys and values are made of one latent vector, for every head
    if "scale_embedding" in settings:
        changes["scale_embedding"] = True  # as in every checkpoint of Marian and Pegasus; the default is not
    return changes


def _is_size(name: str, value: Any) -> bool:
    """Whether a setting is one that every architecture gets the same of."""
    return name in _TINY and value is not None and not isinstance(value, bool | list | Mapping)


def _two_layers(types: list[Any]) -> tuple[int, int]:
    """Two layers of as different a kind as there are: the first, and the last that is no such."""
    others = [number for number, kind in enumerate(types) if kind != types[0]]
    return 0, others[-1] if others else len(types) - 1


def _beyond_text(name: str) -> int:
    """An id for a marker of an image or a sound, which no text has."""
    return VOCABULARY - 1 - sum(map(ord, name)) % 24


def _as_family(kind: str, family: str) -> dict[str, Any]:
    """What says how a model is read where its kind has other forms too, and which id its decoder begins with."""
    if family == "decoder":
        return {"is_decoder": True} if kind in BOTH_WAYS else {}
    return {"decoder_start_token_id": BOS} if family == "encoder-decoder" else {}


def _merged(changes: dict[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    """The changes with those of one architecture, part by part; `...` takes one back."""
    merged = dict(changes)
    for name, value in more.items():
        if value is ...:
            merged.pop(name, None)
        elif isinstance(value, Mapping) and isinstance(merged.get(name), Mapping):
            merged[name] = _merged(dict(merged[name]), value)
        else:
            merged[name] = value
    return merged


# encoders that `is_decoder` makes a decoder
BOTH_WAYS = {
    "bert", "bert-generation", "big_bird", "camembert", "data2vec-text", "electra", "ernie", "megatron-bert",
    "reformer", "rembert", "roberta", "roberta-prelayernorm", "roc_bert", "roformer", "xlm-roberta", "xlm-roberta-xl",
    "xmod", "xlm",
}  # fmt: skip

# what the rules above get wrong, by architecture
_ROPE = {"rope_type": "default", "rope_theta": 10000.0}
_MAMBA = {"mamba_n_heads": 8, "mamba_d_head": 8, "mamba_n_groups": 1, "mamba_chunk_size": 8, "mamba_dt_rank": 4}
_EXPERTS = {"n_routed_experts": 4, "n_shared_experts": 1, "num_experts_per_tok": 2}
_QWEN4 = {
    "indexer_n_heads": 2, "indexer_kv_heads": 1, "indexer_head_dim": 8, "indexer_budget": 8,
    "indexer_compress_ratio": 4, "hc_lowrank": 8, "ple_embed_dim": WIDTH, "ple_layer_ids": [1],
    "ngram_vocab_size_base": 97, "make_ngram_vocab_size_divisible_by": 1, "split_ngram_parts": 1, "heads_per_ngram": 2,
}  # fmt: skip
_GEMMA3N = {"num_kv_shared_layers": 0, "intermediate_size": [64, 64], "activation_sparsity_pattern": [0.5, 0.0]}
OVERRIDES: dict[str, dict[str, Any]] = {
    "bamba": _MAMBA | {"attn_layer_indices": [1]},
    "cohere_compass_text": {
        "layer_types": ["sliding_attention", "full_attention"],
        "rope_parameters": {"sliding_attention": _ROPE, "full_attention": _ROPE},
    },
    "dbrx": {"attn_config": {"kv_n_heads": 2, "rope_theta": 10000.0, "clip_qkv": 8.0}},
    "deepseek_v2": {"num_experts_per_tok": 2},
    "dots1": _EXPERTS,
    "dots3_note": {
        "text_config": {"head_dim": 16},
        "vision_config": {"adapter_in_dim": WIDTH, "adapter_out_dim": WIDTH},
        "audio_config": {"adapter_input_size": WIDTH, "adapter_out_dim": WIDTH},
    },
    "dots3_note_text": {"head_dim": 16},
    "encoder-decoder": {"decoder": {"is_decoder": True, "add_cross_attention": True}},
    "esm": {"vocab_size": VOCABULARY, "mask_token_id": MASK, "pad_token_id": PADDING},
    "esmc": {"num_key_value_heads": HEADS},
    "falcon_h1": _MAMBA | {"mamba_d_ssm": 64},
    "fsmt": {"src_vocab_size": VOCABULARY, "tgt_vocab_size": VOCABULARY},
    "funnel": {"architectures": ["FunnelModel"], "block_sizes": [1, 1], "num_decoder_layers": 1},
    "gemma3n": {"text_config": _GEMMA3N},
    "gemma3n_text": _GEMMA3N,
    "granitemoehybrid": _MAMBA | {"layer_types": ["linear_attention", "full_attention"]},
    "inkling_text": {"logits_mup_width_multiplier": 1.0},  # the others are too small for a difference to show
    "jamba": _MAMBA | {"attn_layer_period": 2, "attn_layer_offset": 1, "use_mamba_kernels": False},
    "led": {"attention_window": [6, 6]},
    "lfm2_moe": {"layer_types": ["conv", "full_attention"], "num_dense_layers": 1},
    "lilt": {"hidden_size": 48, "channel_shrink_ratio": 2},
    "longcat_flash": {"zero_expert_num": 2},
    "longformer": {"attention_window": [6, 6]},
    "mamba2": {"num_heads": 8, "n_groups": 1, "chunk_size": 8},
    "neomme": {"head_dim": 16},
    "nemo_speechlm": {"audio_config": {"diarization_config": {"head_config": {"audio_hidden_size": WIDTH}}}},
    "nemotron": {"num_key_value_heads": 2},
    "qwen4_exp": {"text_config": _QWEN4},
    "qwen4_exp_text": _QWEN4,
    "recurrent_gemma": {"lru_width": WIDTH, "block_types": ["recurrent", "attention"]},
    # its hashing draws anew at every call, but rows of at most a chunk are not hashed
    "reformer": {"axial_pos_embds": False, "attn_layers": ["local", "lsh"]},
    "rembert": {"input_embedding_size": 16, "output_embedding_size": 24},
    "roc_bert": {"shape_vocab_size": 64, "pronunciation_vocab_size": 64},
    "xlstm": {"num_blocks": LAYERS, "num_heads": 2, "hidden_size": 128, "embedding_dim": 128},
    "xmod": {"default_language": "en_XX"},
    "zamba": _MAMBA | {
        "layers_block_type": ["linear_attention", "hybrid", "hybrid"], "num_hidden_layers": 3,
        "attention_hidden_size": 64, "attention_head_dim": 16, "num_key_value_heads": HEADS, "use_mamba_kernels": False,
    },
    "zamba2": {
        "layers_block_type": ["linear_attention", "hybrid"], "hybrid_layer_ids": [1], "n_mamba_heads": 8,
        "mamba_headdim": 8, "attention_hidden_size": 64, "attention_head_dim": 16, "num_query_groups": HEADS,
        "num_key_value_heads": HEADS, "use_mamba_kernels": False,
    },
    "zaya": {"num_experts_per_tok": 1},
}  # fmt: skip
