"""What a user names by module:name: a class or an object of their own, from a file beside them or a package."""

from __future__ import annotations

import importlib
import sys
from typing import Any

from prunekit.support.errors import ConfigError


def imported(name: str, flag: str, otherwise: str) -> Any:
    """What module:name holds.

    Args:
        flag: that named it, for the error.
        otherwise: what may be named besides, such as "use tensorboard".

    Raises:
        ConfigError: where there is no such thing.
    """
    module, _, attribute = name.partition(":")
    if not attribute:
        raise ConfigError(f"{flag} {name}: {otherwise}")
    sys.path.insert(0, "")  # a file beside the user, as `python -m` would find it
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"{flag} {name}: cannot be imported ({error})") from error
    finally:
        sys.path.remove("")
