"""Django settings of django-eventstream with storage, as its documentation shows them."""

from benchmarks import database

SECRET_KEY = "benchmarks only: signs nothing that leaves this machine"
DEBUG = False
ALLOWED_HOSTS = ["*"]
USE_TZ = True
INSTALLED_APPS = ["django.contrib.auth", "django.contrib.contenttypes", "django_eventstream"]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
DATABASES = {"default": database.entry()}
ROOT_URLCONF = "benchmarks.rivals.eventstream"
LOGGING_CONFIG = None
EVENTSTREAM_STORAGE_CLASS = "django_eventstream.storage.DjangoModelStorage"
