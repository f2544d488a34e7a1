import subprocess
import sys

from small_studies import BASELINE

from paribus.design.trees import lies_under, site_of


def test_the_innermost_site_at_or_above_a_path_is_found():
    assert site_of("blocks.0.mlp.up", BASELINE) == "blocks.0.mlp"
    assert site_of("blocks.0.mlp", BASELINE) == "blocks.0.mlp"
    assert site_of("embedding", BASELINE) == site_of("", BASELINE) == ""


def test_a_longer_name_does_not_lie_under_a_shorter_one():
    assert lies_under("blocks.1.mlp", "blocks.1") and lies_under("blocks.1", "blocks.1") and lies_under("head", "")
    assert not lies_under("blocks.10.mlp", "blocks.1") and not lies_under("blocks", "blocks.1")


def test_paths_and_wording_do_without_torch():
    modules = ", ".join(
        f"paribus.audits.after.{name}" for name in ("trained_parts", "pairing", "completeness", "integrity")
    )
    code = f"import sys, {modules}; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
