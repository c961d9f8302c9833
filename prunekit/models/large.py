"""Models too large for a device as they are: spread by accelerate, or quantised by bitsandbytes."""

from __future__ import annotations

import atexit
import tempfile
from functools import cache
from importlib.util import find_spec
from typing import Any, Literal

import torch

from prunekit.support.errors import ConfigError

Precision = Literal["auto", "float32", "bfloat16", "8bit", "4bit"]

# narrower models have matrices too small to gain from bfloat16
_BFLOAT16_FROM = 256
_EXTRA = "pip install accelerate bitsandbytes"


def weights(precision: Precision, device: str, hidden_width: int) -> dict[str, Any]:
    """What `from_pretrained` is told of the weights' type and place.

    Args:
        device: "auto" spreads them over all devices, main memory and disk.

    Raises:
        ConfigError: where a package or a device that they need is not there.
    """
    main = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
    told: dict[str, Any] = {}
    if precision in ("8bit", "4bit"):
        told = _quantized(precision, main)
    else:
        told["dtype"] = best_dtype(hidden_width, main) if precision == "auto" else getattr(torch, precision)
        if told["dtype"] == torch.bfloat16 and torch.device(main).type == "cpu":
            # fused attention's backward pass is slow there: an update of MiniLM took 318 ms with it, 162 ms without
            told["attn_implementation"] = "eager"
    if device == "auto":
        if find_spec("accelerate") is None:
            raise ConfigError(f"--device-map auto: accelerate is not installed; {_EXTRA}")
        told |= {"device_map": "auto", "offload_folder": _offload_folder()}
    return told


def best_dtype(hidden_width: int, device: str) -> torch.dtype:
    """bfloat16 where the device multiplies in it natively and the model is wide enough to gain, else float32."""
    if torch.device(device).type == "cuda":
        native = torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        native = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return torch.bfloat16 if native and hidden_width >= _BFLOAT16_FROM else torch.float32


def _quantized(precision: str, device: str) -> dict[str, Any]:
    """Whole numbers of 8 or 4 bits for the weights of linear layers, bfloat16 for the rest."""
    if torch.device(device).type != "cuda":
        raise ConfigError(f"--quantize {precision}: needs a CUDA device, not {device}; use --precision bfloat16 there")
    if find_spec("bitsandbytes") is None:
        raise ConfigError(f"--quantize {precision}: bitsandbytes is not installed; {_EXTRA}")
    from transformers import BitsAndBytesConfig

    settings = (
        BitsAndBytesConfig(load_in_8bit=True)
        if precision == "8bit"
        else BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=torch.bfloat16)
    )
    return {"quantization_config": settings, "dtype": torch.bfloat16, "device_map": {"": device}}


@cache
def _offload_folder() -> str:
    """Where layers lie that fit in no memory; it goes when the process ends."""
    folder = tempfile.TemporaryDirectory(prefix="prunekit-layers-")
    atexit.register(folder.cleanup)
    return folder.name
