"""torch.compile sees each model as one graph: nothing in it asks Python what a tensor holds."""

import pytest
import torch

from tests.support.models import CASES, make_model, random_inputs

# torch's own LSTM is left to Python by its compiler.
WITH_LSTM = ("crnn/test_resnet", "multichannel", "seq2seq")
QUICK = ("i3d/test_resnet", "smallcnn")


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if name in QUICK else pytest.mark.slow)
        for name in CASES
        if name not in WITH_LSTM
    ],
)
def test_a_model_is_one_graph(name):
    torch.compiler.reset()  # all models share one forward(), which is compiled anew a few times only
    model = make_model(name).eval()
    inputs = random_inputs(model)
    inputs[1][0] = 2

    compiled = torch.compile(model, backend="eager", fullgraph=True)

    torch.testing.assert_close(compiled(*inputs), model(*inputs), rtol=1e-4, atol=1e-5)
