"""Train a small network, and save it in both ways: with its graph, and as weights only."""

from net import build
from safetensors.torch import save_file

import torch

torch.manual_seed(7)
x = torch.rand(2000, 2) * torch.tensor([10.0, 200.0])
y = (x[:, :1] < 4).float()
net = build()
optimiser = torch.optim.Adam(net.parameters(), 0.02)
for _ in range(200):
    optimiser.zero_grad()
    torch.nn.functional.binary_cross_entropy(net(x), y).backward()
    optimiser.step()
net.eval()
save_file(net.state_dict(), "net.safetensors")
rows = {0: torch.export.Dim("rows", min=1, max=4096)}
torch.export.save(torch.export.export(net, (x[:5],), dynamic_shapes=(rows,)), "net.pt2")
