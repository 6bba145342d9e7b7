"""The Spanish and Italian catalogues: complete, compiled and used."""

from __future__ import annotations

import ast
import gettext
import os
import re
import shutil
import subprocess
import sys
from html import unescape
from pathlib import Path

import pytest
from django.contrib.auth import get_user_model
from django.test import Client, override_settings
from django.urls import reverse

import eric_sse_django
from eric_sse_django.database import DatabaseChannel
from tests.conftest import missing

PACKAGE = Path(eric_sse_django.__file__).parent
LANGUAGES = ("es", "it")
MARKS = re.compile(r"%\(\w+\)[sd]|%[sd%]|\{\w+\}|</?\w+>")
# Words that a page shows in this language.
LISTENERS = {
    "es": ("Oyentes", "cola", "propietario", "detenido", "sin conexión"),
    "it": ("Ascoltatori", "coda", "proprietario", "fermato", "offline"),
}
MONITOR = {
    "es": ("Monitor en vivo", "Flujos abiertos", "Todavía no hay mensajes."),
    "it": ("Monitor in tempo reale", "Flussi aperti", "Ancora nessun messaggio."),
}

by_language = pytest.mark.parametrize("language", LANGUAGES)


def catalogue(root: Path, language: str, kind: str = "po") -> Path:
    return root / "locale" / language / "LC_MESSAGES" / f"django.{kind}"


def read(path: Path) -> list[dict[str, str]]:
    """Return the entries of a .po file: {"msgid": …, "msgid_plural": …, "msgstr[0]": …}."""
    entries: list[dict[str, str]] = []
    key = ""
    for line in path.read_text(encoding="utf-8").splitlines():
        name, quote, text = line.partition('"')
        if not quote or line.startswith("#"):
            continue
        if name:
            key = name.strip()
            if key == "msgid":
                entries.append({})
            entries[-1][key] = ""
        entries[-1][key] += ast.literal_eval(quote + text)
    return entries


def strings(path: Path) -> list[dict[str, str]]:
    return [entry for entry in read(path) if entry["msgid"]]


def forms_of(entry: dict[str, str]) -> list[str]:
    return [text for key, text in entry.items() if key.startswith("msgstr")]


def marks(text: str) -> list[str]:
    return sorted(MARKS.findall(text))


@by_language
def test_every_string_is_translated_in_every_plural_form(language):
    header, *entries = read(catalogue(PACKAGE, language))
    plurals = int(re.search(r"nplurals=(\d)", header["msgstr"])[1])
    assert len(entries) > 200
    for entry in entries:
        forms = forms_of(entry)
        assert len(forms) == (plurals if "msgid_plural" in entry else 1), entry
        assert all(form.strip() for form in forms), entry


@by_language
def test_translations_keep_placeholders_and_tags(language):
    for entry in strings(catalogue(PACKAGE, language)):
        expected = marks(entry.get("msgid_plural", entry["msgid"]))
        for form in forms_of(entry):
            assert marks(form) == expected, entry


@by_language
def test_nothing_is_fuzzy_or_obsolete(language):
    text = catalogue(PACKAGE, language).read_text(encoding="utf-8")
    assert "fuzzy" not in text
    assert "#~" not in text
    # Dates and locations would change with each extraction.
    assert "Date" not in text
    assert "#:" not in text


@by_language
def test_the_compiled_catalogue_is_that_of_the_source(language):
    with catalogue(PACKAGE, language, "mo").open("rb") as file:
        compiled = gettext.GNUTranslations(file)._catalog
    written = {}
    for entry in read(catalogue(PACKAGE, language)):
        for number, form in enumerate(forms_of(entry)):
            plural = "msgid_plural" in entry
            written[(entry["msgid"], number) if plural else entry["msgid"]] = form
    assert compiled == written


@by_language
def test_the_catalogue_has_the_strings_of_the_code(language, tmp_path):
    if not (shutil.which("xgettext") and shutil.which("msgmerge")):
        missing("gettext's tools are not installed (on Debian: apt-get install gettext)")
    package = tmp_path / "package"
    shutil.copytree(PACKAGE, package, ignore=shutil.ignore_patterns("__pycache__", "locale"))
    (package / "locale").mkdir()
    # pytest-django sets it to settings that cannot be imported from there.
    environment = {k: v for k, v in os.environ.items() if k != "DJANGO_SETTINGS_MODULE"}
    subprocess.run(
        [sys.executable, "-m", "django", "makemessages", "-l", language, "-v", "0"],
        cwd=package,
        env=environment,
        stdin=subprocess.DEVNULL,
        timeout=60,
        check=True,
    )
    expected = {entry["msgid"] for entry in strings(catalogue(package, language))}
    assert {entry["msgid"] for entry in strings(catalogue(PACKAGE, language))} == expected


@pytest.fixture
def page(db):
    """Return a function that returns a page of the admin for a superuser, in a language."""
    channel = DatabaseChannel.create("orders")
    channel.add_listener(listener_id="till-7")
    client = Client()
    client.force_login(get_user_model().objects.create_superuser("root", password=""))

    def text(model, language):
        with override_settings(LANGUAGE_CODE=language):
            response = client.get(reverse(f"admin:eric_sse_django_{model}_changelist"))
        assert response.status_code == 200
        return unescape(response.content.decode())

    return text


@by_language
def test_the_admin_is_shown_in_the_language(page, language):
    listeners, monitor = page("listener", language), page("monitor", language)
    for word in LISTENERS[language]:
        assert word.lower() in listeners.lower()
    for word in MONITOR[language]:
        assert word in monitor
    assert "Listener" not in listeners
    assert "Open streams" not in monitor
