"""The client for browsers as a package: its types, size and files, and its static file."""

import gzip
import json
import re
import shutil
import tarfile

import pytest

import eric_sse_django
from tests import npm
from tests.conftest import LIVE_S

STATIC = npm.ROOT / "eric_sse_django" / "static" / "eric_sse_django" / "eric-sse.js"
MAX_BYTES = 6 * 1024
DOCS = (npm.ROOT / "docs" / "browser.md").read_text()

pytestmark = [pytest.mark.gate, pytest.mark.timeout(LIVE_S)]


@pytest.fixture(scope="module")
def package():
    """Return the folder of the package, whose tools are installed."""
    npm.install()
    return npm.PACKAGE


@pytest.fixture(scope="module")
def packed(package, tmp_path_factory):
    """Return the file that `npm publish` would upload."""
    folder = tmp_path_factory.mktemp("packed")
    npm.run("npm", "pack", "--pack-destination", str(folder))
    [found] = folder.iterdir()
    return found


def test_the_static_file_is_what_the_build_writes(package, tmp_path):
    npm.run("node", "build.js", "static", str(tmp_path / "built.js"))
    assert STATIC.read_text() == (tmp_path / "built.js").read_text(), (
        "run `npm run build` in js/ and commit the file"
    )


def test_the_client_is_small():
    assert len(gzip.compress(STATIC.read_bytes(), 9)) < MAX_BYTES


def test_the_package_has_the_version_of_the_app():
    assert json.loads((npm.PACKAGE / "package.json").read_text())["version"] == (
        eric_sse_django.__version__
    )


def test_the_package_has_no_dependencies_and_its_lock_names_no_host():
    described = json.loads((npm.PACKAGE / "package.json").read_text())
    assert "dependencies" not in described
    lock = (npm.ROOT / "package-lock.json").read_text()
    # Pages of authors are no hosts of packages.
    assert re.findall(r'"resolved": "https?://.*', lock) == []


def test_the_package_contains_what_its_exports_name_and_nothing_else(package, packed):
    described = json.loads((npm.PACKAGE / "package.json").read_text())
    named = {
        path.removeprefix("./")
        for target in described["exports"].values()
        for path in (target.values() if isinstance(target, dict) else [target])
    }
    with tarfile.open(packed) as archive:
        files = {name.removeprefix("package/") for name in archive.getnames()}
    types = {name for name in files if name.startswith("dist/") and name.endswith(".d.ts")}
    assert named <= files
    assert files - types - named == {"LICENSE", "README.md"}


def test_the_parser_reads_what_the_standard_describes(package):
    npm.run("node", "tests/parser.js")


def test_a_run_has_each_chunk_once(package):
    npm.run("node", "tests/run.js")


def test_the_client_neither_hammers_nor_comes_with_all_others(package):
    npm.run("node", "tests/source.js")


def test_a_users_file_compiles_against_the_types_and_wrong_uses_do_not(packed, tmp_path):
    """As installed: from the packed file, not from the checkout."""
    modules = tmp_path / "node_modules"
    modules.mkdir()
    for each in npm.MODULES.iterdir():
        if each.name != "eric-sse":
            (modules / each.name).symlink_to(each)
    with tarfile.open(packed) as archive:
        archive.extractall(tmp_path, filter="data")
    (tmp_path / "package").rename(modules / "eric-sse")
    shutil.copytree(npm.PACKAGE / "tests", tmp_path, dirs_exist_ok=True)
    blocks = re.findall(r"^```(tsx?)\n(.*?)^```", DOCS, re.M | re.S)
    for number, (language, block) in enumerate(blocks):
        (tmp_path / f"docs{number}.{language}").write_text(block)
    (tmp_path / "package.json").write_text('{"type": "module"}')
    npm.run("npx", "--no-install", "tsc", "-p", str(tmp_path))
