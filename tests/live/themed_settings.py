"""Settings of the test site whose admin has the theme that ERIC_SSE_TEST_THEME names."""

import os

from tests import settings
from tests.settings import *  # noqa: F403 - what a project with a theme has besides

THEME = os.environ.get("ERIC_SSE_TEST_THEME", "")
INSTALLED_APPS = [*([THEME] if THEME else []), *settings.INSTALLED_APPS]
if THEME == "unfold":
    INSTALLED_APPS.append("eric_sse_django.contrib.unfold")
ROOT_URLCONF = "tests.admin.two_sites"
