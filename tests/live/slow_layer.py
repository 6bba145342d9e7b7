"""A channel layer whose import takes as long as that of a large library on a busy machine."""

import time

from tests.live.layers import SwallowingLayer

time.sleep(1.5)


class SlowlyImportedLayer(SwallowingLayer):
    """Takes every wake, once it is there."""
