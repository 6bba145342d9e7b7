"""Settings of the site for tabs: the test site with the HTTP API."""

from tests.settings import *  # noqa: F403

ROOT_URLCONF = "tests.live.tabs_urls"
