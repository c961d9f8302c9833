"""What the pages that prunekit writes may do: use their own style and script, named by their sha256, and no more."""

from __future__ import annotations

import base64
import hashlib


def policy(style: str, script: str, *more: str) -> str:
    """The content security policy of a page with one style sheet and one script inside.

    Args:
        more: what else is allowed, such as "img-src data:".
    """
    own = (f"script-src '{_hash(script)}'", f"style-src '{_hash(style)}'")
    return "; ".join(("default-src 'none'", *own, *more, "base-uri 'none'", "form-action 'none'"))


def _hash(content: str) -> str:
    digest = hashlib.sha256(content.encode()).digest()
    return f"sha256-{base64.b64encode(digest).decode()}"
