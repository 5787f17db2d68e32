"""Trains a small model for a few steps: ``train.py DATASET CHECKPOINT``; prints a line of JSON."""

import argparse
import json
import random

import numpy as np
import torch
from compressai.datasets import ImageFolder
from compressai.losses import RateDistortionLoss
from compressai.models import MeanScaleHyperprior
from compressai.optimizers import net_aux_optimizer
from torch import optim
from torch.utils.data import DataLoader

parser = argparse.ArgumentParser()
parser.add_argument("dataset")
parser.add_argument("checkpoint")
parser.add_argument("--epochs", type=int, default=4)
parser.add_argument("--lmbda", type=float, default=0.01)
parser.add_argument("--patch-size", type=int, default=64)
parser.add_argument("--clip-max-norm", type=float, default=1.0)
args = parser.parse_args()

torch.manual_seed(1)
random.seed(1)


class AverageMeter:
    def __init__(self):
        self.sum = self.count = 0

    def update(self, value, n=1):
        self.sum += float(value) * n
        self.count += n

    @property
    def avg(self):
        return self.sum / self.count


class CustomDataParallel(torch.nn.DataParallel):
    """Gives the methods of the module inside."""

    def __getattr__(self, key):
        try:
            return super().__getattr__(key)
        except AttributeError:
            return getattr(self.module, key)


def to_tensor(image):
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).float() / 255


def random_crop(image):
    size = args.patch_size
    left, top = (random.randint(0, side - size) for side in image.size)
    return to_tensor(image.crop((left, top, left + size, top + size)))


def center_crop(image):
    left, top = ((side - args.patch_size) // 2 for side in image.size)
    return to_tensor(image.crop((left, top, left + args.patch_size, top + args.patch_size)))


def configure_optimizers(net):
    conf = {"net": {"type": "Adam", "lr": 3e-3}, "aux": {"type": "Adam", "lr": 1e-2}}
    optimizer = net_aux_optimizer(net, conf)
    return optimizer["net"], optimizer["aux"]


def train_one_epoch(net, criterion, loader, optimizer, aux_optimizer):
    net.train()
    for d in loader:
        optimizer.zero_grad()
        aux_optimizer.zero_grad()
        out_criterion = criterion(net(d), d)
        out_criterion["loss"].backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), args.clip_max_norm)
        optimizer.step()
        aux_loss = net.aux_loss()
        aux_loss.backward()
        aux_optimizer.step()


def test_epoch(net, criterion, loader):
    net.eval()
    loss, bpp_loss, mse_loss, aux_loss = (AverageMeter() for _ in range(4))
    with torch.no_grad():
        for d in loader:
            out_criterion = criterion(net(d), d)
            aux_loss.update(net.aux_loss())
            bpp_loss.update(out_criterion["bpp_loss"])
            loss.update(out_criterion["loss"])
            mse_loss.update(out_criterion["mse_loss"])
    return {"loss": loss.avg, "bpp": bpp_loss.avg, "mse": mse_loss.avg, "aux": aux_loss.avg}


train_dataset = ImageFolder(args.dataset, split="train", transform=random_crop)
test_dataset = ImageFolder(args.dataset, split="test", transform=center_crop)
train_loader = DataLoader(train_dataset, batch_size=4, shuffle=True)
test_loader = DataLoader(test_dataset, batch_size=1)

net = MeanScaleHyperprior(N=16, M=24)
optimizer, aux_optimizer = configure_optimizers(net)
lr_scheduler = optim.lr_scheduler.ReduceLROnPlateau(optimizer, "min")
criterion = RateDistortionLoss(lmbda=args.lmbda)
model = CustomDataParallel(net)

results = [test_epoch(model, criterion, test_loader)]
for epoch in range(args.epochs):
    train_one_epoch(model, criterion, train_loader, optimizer, aux_optimizer)
    results.append(test_epoch(model, criterion, test_loader))
    lr_scheduler.step(results[-1]["loss"])
    torch.save(
        {
            "epoch": epoch,
            "state_dict": model.state_dict(),
            "loss": results[-1]["loss"],
            "optimizer": optimizer.state_dict(),
            "aux_optimizer": aux_optimizer.state_dict(),
            "lr_scheduler": lr_scheduler.state_dict(),
        },
        args.checkpoint,
    )

checkpoint = torch.load(args.checkpoint, map_location="cpu", weights_only=True)
fresh = MeanScaleHyperprior(N=16, M=24)
fresh_optimizer, fresh_aux_optimizer = configure_optimizers(fresh)
fresh = CustomDataParallel(fresh)
fresh.load_state_dict(checkpoint["state_dict"])
fresh_optimizer.load_state_dict(checkpoint["optimizer"])
fresh_aux_optimizer.load_state_dict(checkpoint["aux_optimizer"])
train_one_epoch(fresh, criterion, train_loader, fresh_optimizer, fresh_aux_optimizer)

x = torch.stack([test_dataset[i] for i in range(len(test_dataset))])
model.eval()
model.update(force=True)
packed = model.compress(x)
x_hat = model.decompress(packed["strings"], packed["shape"])["x_hat"]
print(
    json.dumps(
        {
            "results": results,
            "lengths": [len(strings) for strings in packed["strings"]],
            "difference": (x_hat - model(x)["x_hat"].clamp(0, 1)).abs().max().item(),
        }
    )
)
