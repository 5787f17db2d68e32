"""Trains, saves and codes with models of one's own: ``custom_model.py CHECKPOINT``; prints a line of JSON."""

import json
import math
import sys

import torch
from compressai.entropy_models import EntropyBottleneck, GaussianConditional
from compressai.layers import GDN
from compressai.losses import RateDistortionLoss
from compressai.models import CompressionModel, ScaleHyperprior
from compressai.models.utils import conv, deconv, update_registered_buffers
from torch import nn

SCALES_MIN = 0.11
SCALES_MAX = 256
SCALES_LEVELS = 64


def get_scale_table(min=SCALES_MIN, max=SCALES_MAX, levels=SCALES_LEVELS):
    return torch.exp(torch.linspace(math.log(min), math.log(max), levels))


class Network(CompressionModel):
    """Everything written out, as before latent codecs."""

    def __init__(self, N=16):
        super().__init__()
        self.g_a = nn.Sequential(conv(3, N), GDN(N), conv(N, N), GDN(N), conv(N, N))
        self.g_s = nn.Sequential(deconv(N, N), GDN(N, inverse=True), deconv(N, N), GDN(N, inverse=True), deconv(N, 3))
        self.h_a = nn.Sequential(conv(N, N, kernel_size=3, stride=1), nn.ReLU(), conv(N, N))
        self.h_s = nn.Sequential(deconv(N, N), nn.ReLU(), conv(N, 2 * N, kernel_size=3, stride=1))
        self.entropy_bottleneck = EntropyBottleneck(N)
        self.gaussian_conditional = GaussianConditional(None)

    def forward(self, x):
        y = self.g_a(x)
        z = self.h_a(y)
        z_hat, z_likelihoods = self.entropy_bottleneck(z)
        scales_hat, means_hat = self.h_s(z_hat).chunk(2, 1)
        y_hat, y_likelihoods = self.gaussian_conditional(y, scales_hat, means=means_hat)
        return {"x_hat": self.g_s(y_hat), "likelihoods": {"y": y_likelihoods, "z": z_likelihoods}}

    def load_state_dict(self, state_dict):
        names = ["_quantized_cdf", "_offset", "_cdf_length"]
        update_registered_buffers(self.entropy_bottleneck, "entropy_bottleneck", names, state_dict)
        update_registered_buffers(
            self.gaussian_conditional, "gaussian_conditional", [*names, "scale_table"], state_dict
        )
        super().load_state_dict(state_dict)

    def update(self, scale_table=None, force=False):
        if scale_table is None:
            scale_table = get_scale_table()
        updated = self.gaussian_conditional.update_scale_table(scale_table, force=force)
        updated |= super().update(force=force)
        return updated

    def compress(self, x):
        y = self.g_a(x)
        z = self.h_a(y)
        z_strings = self.entropy_bottleneck.compress(z)
        z_hat = self.entropy_bottleneck.decompress(z_strings, z.size()[-2:])
        scales_hat, means_hat = self.h_s(z_hat).chunk(2, 1)
        indexes = self.gaussian_conditional.build_indexes(scales_hat)
        y_strings = self.gaussian_conditional.compress(y, indexes, means=means_hat)
        return {"strings": [y_strings, z_strings], "shape": z.size()[-2:]}

    def decompress(self, strings, shape):
        assert isinstance(strings, list)
        assert len(strings) == 2
        z_hat = self.entropy_bottleneck.decompress(strings[1], shape)
        scales_hat, means_hat = self.h_s(z_hat).chunk(2, 1)
        indexes = self.gaussian_conditional.build_indexes(scales_hat)
        y_hat = self.gaussian_conditional.decompress(strings[0], indexes, means=means_hat)
        return {"x_hat": self.g_s(y_hat).clamp_(0, 1)}


class Wide(ScaleHyperprior):
    """A published model with another hyper-analysis."""

    def __init__(self, N, M, **kwargs):
        super().__init__(N, M, **kwargs)
        self.h_a = nn.Sequential(
            conv(M, 2 * N, stride=1, kernel_size=3), nn.LeakyReLU(), conv(2 * N, N), nn.LeakyReLU(), conv(N, N)
        )


def run(net, fresh, path):
    parameters = {n for n, p in net.named_parameters() if not n.endswith(".quantiles") and p.requires_grad}
    aux_parameters = {n for n, p in net.named_parameters() if n.endswith(".quantiles") and p.requires_grad}
    params_dict = dict(net.named_parameters())
    optimizer = torch.optim.Adam((params_dict[n] for n in sorted(parameters)), lr=1e-3)
    aux_optimizer = torch.optim.Adam((params_dict[n] for n in sorted(aux_parameters)), lr=1e-2)
    criterion = RateDistortionLoss(lmbda=0.05)
    x = torch.rand(2, 3, 128, 64)
    losses = []
    for _ in range(5):
        optimizer.zero_grad()
        aux_optimizer.zero_grad()
        loss = criterion(net(x), x)["loss"]
        loss.backward()
        optimizer.step()
        aux_loss = net.aux_loss()
        aux_loss.backward()
        aux_optimizer.step()
        losses.append(loss.item())
    net.eval()
    first, second = net.update(force=True), net.update()
    torch.save(net.state_dict(), path)
    fresh.load_state_dict(torch.load(path, weights_only=True))
    fresh.eval()
    with torch.no_grad():
        packed = net.compress(x)
        other = fresh.compress(x)
        x_hat = fresh.decompress(packed["strings"], packed["shape"])["x_hat"]
        difference = (x_hat - net(x)["x_hat"].clamp(0, 1)).abs().max().item()
    return {
        "keys": sorted(net.state_dict()),
        "updated": [first, second],
        "losses": losses,
        "same strings": packed["strings"] == other["strings"],
        "strings": [len(strings) for strings in packed["strings"]],
        "shape": list(packed["shape"]),
        "difference": difference,
    }


torch.manual_seed(1)
print(json.dumps([run(Network(), Network(), sys.argv[1]), run(Wide(8, 12), Wide(8, 12), sys.argv[1])]))
