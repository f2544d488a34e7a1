"""What an installation gets: a wheel that is built from this tree."""

import subprocess
import sys
import zipfile
from importlib.metadata import version
from pathlib import Path

import paribus

ROOT = Path(__file__).parents[1]


def test_a_wheel_has_every_file_of_the_package_and_the_version_that_the_package_says(tmp_path):
    subprocess.run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path], cwd=ROOT, check=True)
    (wheel,) = tmp_path.glob("*.whl")
    assert wheel.name == f"paribus-{paribus.__version__}-py3-none-any.whl"
    with zipfile.ZipFile(wheel) as content:
        names = set(content.namelist())
    ours = {str(file.relative_to(ROOT / "src")) for file in (ROOT / "src").rglob("*.*") if file.suffix != ".pyc"}
    assert ours <= names
    assert {"paribus/py.typed", "paribus/__init__.pyi", "paribus/reports/page.html"} <= names
    assert f"paribus-{paribus.__version__}.dist-info/licenses/LICENSE" in names


def test_the_version_that_is_printed_and_recorded_is_the_one_the_package_says():
    assert version("paribus") == paribus.__version__
