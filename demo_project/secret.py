"""The demo's SECRET_KEY: from the environment, or generated once for this checkout."""

from __future__ import annotations

import os
from pathlib import Path

from django.core.management.utils import get_random_secret_key


def secret_key(file: Path) -> str:
    """
    Return DEMO_SECRET_KEY, or else the key in `file`, which the first call writes.

    It is stored, because sessions and tickets are valid only with the key that signed them.
    """
    if "DEMO_SECRET_KEY" in os.environ:
        return os.environ["DEMO_SECRET_KEY"]
    own = file.with_name(f"{file.name}.{os.getpid()}")
    try:
        if not file.exists():
            own.touch(mode=0o600)
            own.write_text(get_random_secret_key())
            # Atomic, and fails if the file exists: two processes that start use the same key.
            os.link(own, file)
    except FileExistsError:
        pass
    finally:
        own.unlink(missing_ok=True)
    return file.read_text()
