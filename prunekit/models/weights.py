"""The numbers that weights are loaded in, and where: bfloat16, quantised by bitsandbytes, spread by accelerate."""

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


def loading_arguments(precision: Precision, device: str, hidden_width: int) -> dict[str, Any]:
    """The arguments of `from_pretrained` that say in which type, and on which devices, weights are loaded.

    Args:
        precision: of the weights.
        device: "auto" spreads them over all devices, main memory and disk.

    Raises:
        ConfigError: where a package or device that they need is missing.
    """
    main = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
    arguments: dict[str, Any] = {}
    if precision in ("8bit", "4bit"):
        arguments = _quantized(precision, main)
    else:
        arguments["dtype"] = best_dtype(hidden_width, main) if precision == "auto" else getattr(torch, precision)
        if arguments["dtype"] == torch.bfloat16 and torch.device(main).type == "cpu":
            # fused attention's backward pass is slow there: an update of MiniLM took 318 ms with it, 162 ms without
            arguments["attn_implementation"] = "eager"
    if device == "auto":
        if find_spec("accelerate") is None:
            raise ConfigError(f"--device-map auto: accelerate is not installed; {_EXTRA}")
        arguments |= {"device_map": "auto", "offload_folder": _offload_folder()}
    return arguments


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
    """A folder for layers that fit in no memory; deleted when the process ends."""
    folder = tempfile.TemporaryDirectory(prefix="prunekit-layers-")
    atexit.register(folder.cleanup)
    return folder.name
