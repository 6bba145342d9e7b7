"""The demo's SECRET_KEY: the environment's, else one of this checkout's own."""

from __future__ import annotations

import os
from pathlib import Path

from django.core.management.utils import get_random_secret_key


def secret_key(file: Path) -> str:
    """
    Return DEMO_SECRET_KEY, else the key in `file`, which the first call writes.

    Kept, because sessions and tickets signed with another key are worth nothing.
    """
    if "DEMO_SECRET_KEY" in os.environ:
        return os.environ["DEMO_SECRET_KEY"]
    mine = file.with_name(f"{file.name}.{os.getpid()}")
    try:
        if not file.exists():
            mine.touch(mode=0o600)
            mine.write_text(get_random_secret_key())
            # One step, and only if there is none: two processes that start agree.
            os.link(mine, file)
    except FileExistsError:
        pass
    finally:
        mine.unlink(missing_ok=True)
    return file.read_text()
