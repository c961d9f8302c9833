"""A finished ticket in forms that need no prunekit, and adapters that others trained as tickets."""

from prunekit.export.adapters import read_adapter
from prunekit.export.embeddings import embedding_files, prompt_embeds_files
from prunekit.export.peft import adapter_files, check_exportable
from prunekit.export.prompt_vectors import flattened
from prunekit.export.side_file import TicketInfo
from prunekit.export.verify import Verified, verify

__all__ = [
    "TicketInfo",
    "Verified",
    "adapter_files",
    "check_exportable",
    "embedding_files",
    "flattened",
    "prompt_embeds_files",
    "read_adapter",
    "verify",
]
