import subprocess
import sys

import pytest

import paribus.data


def test_the_public_names_are_sorted_and_all_there():
    assert paribus.data.__all__ == sorted(paribus.data.__all__) == dir(paribus.data)
    assert all(getattr(paribus.data, name).__name__ == name for name in paribus.data.__all__)
    with pytest.raises(AttributeError, match=r"No paribus\.data attribute Txet"):
        paribus.data.Txet  # noqa: B018


def test_preparing_data_imports_no_torch_and_no_optional_package():
    program = (
        "import sys, paribus.data as d; [getattr(d, name) for name in d.__all__]; d.Text();"
        "print(sorted({'torch', 'datasets', 'pyarrow', 'huggingface_hub'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stdout == "[]\n"
