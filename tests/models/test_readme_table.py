import re
from pathlib import Path

import pytest

from fmrgb_stream.models import model_cost

README = Path(__file__).resolve().parents[2] / "README.md"
ROWS = re.findall(r"^\| `([\w/]+)` \|[^|\n]+\| ([\d.]+) \| ([\d.]+) \|$", README.read_text(), re.M)


def test_the_table_is_there():
    assert len(ROWS) > 10


@pytest.mark.parametrize(("name", "millions", "billions"), ROWS)
def test_the_readme_says_what_models_cost(name, millions, billions):
    cost = model_cost(name)

    assert (f"{cost.num_parameters / 1e6:.2f}", f"{cost.num_macs / 1e9:.2f}") == (
        millions,
        billions,
    )
