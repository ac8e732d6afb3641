"""Check the PyTorch adapter against PyTorch itself, in an environment that has it.

    python check_torch.py FOLDER_OF_THE_ADAPTERS

It needs the standard library, torch, numpy and safetensors, and nothing of rdv. It ends with an
error if anything differs.
"""

import importlib.util
import os
import sys
import tempfile

import torch
from safetensors.torch import save_file

TEMPLATE = """
import torch
from layers_beside import WIDTH

def build():
    torch.manual_seed(99)
    return torch.nn.Sequential(
        torch.nn.Linear(3, WIDTH), torch.nn.ReLU(), torch.nn.Dropout(0.5), torch.nn.Linear(WIDTH, 2)
    )
"""
FUNCTIONS = """
def inputs(rows):
    words = torch.tensor([len(row["text"]) for row in rows], dtype=torch.float32)
    return torch.stack([words, words * 2, words * 0], dim=1)

def outputs(result, rows):
    return [
        {"score": p, "text": row["text"]}
        for p, row in zip(torch.softmax(result, 1)[:, 1].tolist(), rows)
    ]
"""


class Net(torch.nn.Module):
    def __init__(self, width):
        super().__init__()
        self.layers = torch.nn.Sequential(
            torch.nn.Linear(3, 8), torch.nn.ReLU(), torch.nn.Linear(8, width)
        )

    def forward(self, x):
        return self.layers(x)


def adapter_in(folder):
    path = os.path.join(folder, "torch.py")
    spec = importlib.util.spec_from_file_location("rdv_adapter_torch", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def close(found, expected):
    assert len(found) == len(expected), (found, expected)
    for one, other in zip(found, expected, strict=True):
        assert abs(one - other) < 1e-5, (found, expected)


def raises(kind, words, call):
    found = None
    try:
        call()
    except kind as error:
        found = error
    assert found is not None, f"no {kind.__name__}"
    assert words in str(found), found


def exported(adapter, place):
    """Check .pt2: values, two and three classes, names of columns, any number of rows."""
    torch.manual_seed(1)
    rows = torch.randn(5, 3)
    for width in (1, 2, 3):
        net = Net(width).eval()
        expected = net(rows).detach()
        shape = {0: torch.export.Dim("rows", min=1, max=4096)}
        path = os.path.join(place, f"net{width}.pt2")
        torch.export.save(torch.export.export(net, (rows,), dynamic_shapes=(shape,)), path)
        assert adapter.recognises(path)
        model = adapter.load(path, {"threads": 1})
        found = [one["value"] for one in model.predict(rows.tolist())]
        if width == 1:
            close(found, expected[:, 0].tolist())
            (alone,) = model.predict(rows[:1].tolist())
            close([alone["value"]], expected[:1, 0].tolist())
        else:
            for one, other in zip(found, expected.tolist(), strict=True):
                close(one, other)
    named = adapter.load(path, {"columns": ["a", "b", "c"], "labels": ["x", "y", "z"]})
    objects = [dict(zip("cba", reversed(row), strict=True)) for row in rows.tolist()]
    answers = named.predict(objects)
    for answer, other in zip(answers, expected.tolist(), strict=True):
        assert answer["label"] == "xyz"[other.index(max(other))]
        close(list(answer["probabilities"].values()), other)
    assert [column["name"] for column in named.columns] == ["a", "b", "c"]
    raises(KeyError, "b", lambda: named.predict([{"a": 1.0, "c": 2.0}]))
    raises(ValueError, "is not a number", lambda: model.predict([[1.0, "2", 3.0]]))
    assert torch.get_num_threads() == 1
    broken = os.path.join(place, "broken.pt2")
    with open(path, "rb") as whole, open(broken, "wb") as file:
        file.write(whole.read()[:200])
    raises(Exception, "", lambda: adapter.load(broken, {}))


def weights(adapter, place):
    """Check .safetensors: the template beside it, its functions, and what is missing."""
    with open(os.path.join(place, "layers_beside.py"), "w") as file:
        file.write("WIDTH = 4\n")
    sys.path.insert(0, place)
    scope = {}
    exec(TEMPLATE, scope)
    sys.path.remove(place)
    net = scope["build"]()
    with torch.no_grad():
        net[0].weight.fill_(0.25)
    path = os.path.join(place, "net.safetensors")
    save_file(net.state_dict(), path)
    net.eval()
    assert adapter.recognises(path)
    raises(TypeError, "write build()", lambda: adapter.load(path, {}))
    template = os.path.join(place, "net.py")
    with open(template, "w") as file:
        file.write(TEMPLATE)
    model = adapter.load(path, {})
    assert model.files == [template], model.files
    rows = [[1.0, 2.0, 3.0], [0.5, -1.0, 2.0]]
    expected = net(torch.tensor(rows)).tolist()
    for _ in range(2):  # dropout is off: the same again
        for one, other in zip(model.predict(rows), expected, strict=True):
            close(one["value"], other)
    with open(os.path.join(place, "own.py"), "w") as file:
        file.write(TEMPLATE + FUNCTIONS)
    own = adapter.load(path, {"template": "own.py"})
    found = own.predict([{"text": "four"}, {"text": "no"}])
    assert [one["text"] for one in found] == ["four", "no"]
    given = torch.tensor([[4.0, 8.0, 0.0], [2.0, 4.0, 0.0]])
    close([one["score"] for one in found], torch.softmax(net(given), 1)[:, 1].tolist())
    with open(template, "w") as file:
        file.write(TEMPLATE.replace("Linear(3", "Linear(5"))
    raises(RuntimeError, "size mismatch", lambda: adapter.load(path, {}))


def main():
    adapter = adapter_in(sys.argv[1])
    with tempfile.TemporaryDirectory() as place:
        exported(adapter, place)
        weights(adapter, place)
    print(f"torch {torch.__version__}: .pt2 and .safetensors are as PyTorch says")


if __name__ == "__main__":
    main()
