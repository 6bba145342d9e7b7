"""The settings of the live tests' site with runs."""

from tests.settings import *  # noqa: F403

ROOT_URLCONF = "tests.live.runs_urls"
