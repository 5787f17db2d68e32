"""Codes one picture with a model of the zoo: ``inference.py ARCH PICTURE CHECKPOINT``; prints a line of JSON."""

import json
import math
import sys

import numpy as np
import torch
import torch.nn.functional as F
from compressai.ops import compute_padding
from compressai.zoo import image_models, load_state_dict
from PIL import Image

arch, picture, checkpoint = sys.argv[1:]


def psnr(a, b):
    return -10 * math.log10(F.mse_loss(a, b).item())


image = Image.open(picture).convert("RGB")
x = torch.from_numpy(np.array(image)).permute(2, 0, 1).unsqueeze(0).float() / 255
h, w = x.size(2), x.size(3)
pad, unpad = compute_padding(h, w, min_div=2**6)
x_padded = F.pad(x, pad, mode="constant", value=0)

torch.manual_seed(1)
net = image_models[arch](quality=1, metric="mse", pretrained=False).eval()
print("parameters:", sum(p.numel() for p in net.parameters()), file=sys.stderr)
net.update(force=True)
torch.save({"epoch": 0, "state_dict": net.state_dict()}, checkpoint)

state_dict = load_state_dict(torch.load(checkpoint, weights_only=True)["state_dict"])
net = type(net).from_state_dict(state_dict).eval()
net.update()
net = net.to("cpu")

with torch.no_grad():
    out_net = net.forward(x_padded)
    out_enc = net.compress(x_padded)
    out_dec = net.decompress(out_enc["strings"], out_enc["shape"])

num_pixels = x.size(0) * h * w
estimated = sum(
    (torch.log(likelihoods).sum() / (-math.log(2) * num_pixels)) for likelihoods in out_net["likelihoods"].values()
).item()
actual = sum(len(s[0]) for s in out_enc["strings"]) * 8.0 / num_pixels
x_hat = F.pad(out_dec["x_hat"], unpad)

print(
    json.dumps(
        {
            "size": list(x_hat.shape),
            "N": net.N,
            "M": net.M,
            "factor": net.downsampling_factor,
            "shape": list(out_enc["shape"]),
            "strings": len(out_enc["strings"]),
            "latents": {name: list(value.shape) for name, value in sorted(out_net["likelihoods"].items())},
            "estimated bpp": estimated,
            "bpp": actual,
            "psnr": psnr(x, x_hat),
        }
    )
)
