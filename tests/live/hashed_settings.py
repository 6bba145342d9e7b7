"""Settings of the test site whose static files WhiteNoise serves, by their hashed names only."""

import os

from tests import settings
from tests.settings import *  # noqa: F403 - what a project with WhiteNoise has besides

MIDDLEWARE = ["whitenoise.middleware.WhiteNoiseMiddleware", *settings.MIDDLEWARE]
ROOT_URLCONF = "tests.live.hashed_urls"
STATIC_ROOT = os.environ.get("ERIC_SSE_TEST_STATIC")
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"},
}
WHITENOISE_KEEP_ONLY_HASHED_FILES = True
