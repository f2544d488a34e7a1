import os

import pytest

# One thread per process: the suite runs several processes side by side.
os.environ.setdefault("OMP_NUM_THREADS", "1")


def pytest_collection_modifyitems(items):
    """The tests with a time limit of their own, which are the longest, begin first: the last one ends alone."""
    items.sort(key=lambda item: item.get_closest_marker("timeout") is None)


@pytest.fixture(scope="session")
def home(tmp_path_factory):
    """A cache of prepared corpora that all tests of a process share."""
    folder = tmp_path_factory.mktemp("home")
    previous = os.environ.get("PARIBUS_HOME")
    os.environ["PARIBUS_HOME"] = str(folder)
    yield folder
    if previous is None:
        del os.environ["PARIBUS_HOME"]
    else:
        os.environ["PARIBUS_HOME"] = previous
