"""Models of point clouds, and their files."""

from __future__ import annotations

import contextlib
import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from tinify_plugins.pointcloud.blocks import Block, split
from tinify_plugins.pointcloud.clouds import Cloud, read_cloud, read_clouds, write_cloud
from tinify_plugins.pointcloud.codec import PointCodec
from tinify_plugins.pointcloud.container import MAGIC, read, write
from tinify_plugins.pointcloud.density_preserving import chosen, density, directions
from tinify_plugins.pointcloud.flow import PointSetModel
from tinify_plugins.pointcloud.models import (
    DensityPreservingReconstructionPccModel,
    PointNet2SsgReconstructionPccModel,
    PointNetReconstructionPccModel,
)
from tinify_plugins.pointcloud.training import CloudFeed, draw

import tinify
from tinify.checkpoint import save_model
from tinify.cli import main
from tinify.codec import Codec
from tinify.errors import (
    CheckpointError,
    CorruptFileError,
    DataError,
    FileError,
    InputError,
    NotTinifyFileError,
    StateDictError,
    TinifyError,
    VersionError,
    WrongModelError,
)

SPECS = {
    "sfu2023-pcc-rec-pointnet": {"points": 64, "M": 16},
    "sfu2024-pcc-rec-pointnet2-ssg": {},
    "hrtzxf2022-pcc-rec": {},
}
FACES = (
    PointNetReconstructionPccModel,
    PointNet2SsgReconstructionPccModel,
    DensityPreservingReconstructionPccModel,
)
Points = NDArray[np.float32]


def run(*words: object) -> tuple[int, str]:
    """Exit status and all that a command prints."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out), pytest.raises(SystemExit) as ended:
        main([*map(str, words)])
    return int(ended.value.code or 0), out.getvalue()


def new_model(name: str, seed: int = 0) -> PointSetModel:
    """A model whose latents are not all zero."""
    torch.manual_seed(seed)
    model: Any = tinify.create_model(name, **SPECS[name])
    if name.startswith("hrt"):
        with torch.no_grad():
            for layer in (model.embed[3], model.xyz_analysis[3]):
                layer.weight.mul_(40)
    return model.eval()  # type: ignore[no-any-return]


@pytest.fixture(scope="module", params=SPECS)
def codec(request: pytest.FixtureRequest) -> PointCodec:
    return PointCodec(new_model(request.param))


def cloud(count: int, seed: int = 0) -> Points:
    return np.random.default_rng(seed).normal(5, 3, (count, 3)).astype(np.float32)


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("sfu2023-pcc-rec-pointnet", 2_186_112),
        ("sfu2024-pcc-rec-pointnet2-ssg", 493_254),
        ("hrtzxf2022-pcc-rec", 87_662),
    ],
)
def test_sizes_are_the_published_ones(name: str, parameters: int) -> None:
    assert sum(one.numel() for one in tinify.create_model(name).parameters()) == parameters


@pytest.mark.parametrize("count", [1, 7, 64, 1024, 1500])
def test_files_of_any_number_of_points(codec: PointCodec, count: int) -> None:
    given_ = cloud(count)
    data = codec.compress(given_)
    first = codec.decompress(data)
    np.testing.assert_array_equal(first, codec.decompress(data))
    assert first.dtype == np.float32
    assert np.isfinite(first).all()
    if codec.model.exact:
        assert len(first) == count
    else:
        assert 0.8 * count <= len(first) <= count
    header, blocks = read(data)
    assert header.points == count == sum(block.points for block in blocks)


def test_what_is_decoded_is_the_models_own(codec: PointCodec) -> None:
    given_ = Block.of(cloud(codec.block)).points
    x = torch.from_numpy(given_)[None]
    packed = codec.model.compress({"pos": x})
    x_hat = codec.model.decompress(packed["strings"], packed["shape"])["x_hat"]
    with torch.no_grad():
        assert torch.equal(x_hat, codec.model(x)["x_hat"])
    again = codec.decompress(codec.compress(given_))
    place = Block.of(given_)
    expected = place.placed(x_hat[0].numpy())
    if len(again) == len(expected):
        np.testing.assert_allclose(again, expected, atol=1e-5)
    else:  # some of a few more
        assert {tuple(row) for row in again.round(5).tolist()} <= {tuple(row) for row in expected.round(5).tolist()}


def test_files_are_read_in_another_process_alike(codec: PointCodec, tmp_path: Path) -> None:
    save_model(codec.model, tmp_path / "model.safetensors")
    data = codec.compress(cloud(300))
    (tmp_path / "cloud.tfp").write_bytes(data)
    command = [sys.executable, "-m", "tinify.cli", "points", "decompress", "cloud.tfp", "back.npy"]
    subprocess.run([*command, "--model", "model.safetensors"], cwd=tmp_path, check=True, capture_output=True)
    np.testing.assert_array_equal(np.load(tmp_path / "back.npy"), codec.decompress(data))


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_damage_is_named(codec: PointCodec, data: st.DataObject) -> None:
    whole = codec.compress(cloud(100))
    if data.draw(st.booleans(), "cut"):
        broken = whole[: data.draw(st.integers(0, len(whole) - 1))]
    else:
        at = data.draw(st.integers(0, len(whole) - 1))
        broken = whole[:at] + bytes([whole[at] ^ data.draw(st.integers(1, 255))]) + whole[at + 1 :]
    with pytest.raises(FileError):
        codec.decompress(broken)


def test_files_that_lie_are_refused(codec: PointCodec) -> None:
    header, blocks = read(codec.compress(cloud(100)))
    one = blocks[0]

    def rewritten(**changes: Any) -> bytes:
        from dataclasses import replace

        return write(header, [replace(one, **changes), *blocks[1:]])

    for changes in (
        {"sizes": (one.sizes[0] + 1, *one.sizes[1:])},
        {"sizes": (2**19,) * len(one.sizes)},
        {"points": 2**19},
        {"strings": one.strings[:-1], "sizes": one.sizes[:-1]},
        {"scale": np.float32(np.nan)},
        {"scale": np.float32(0)},
        {"strings": (b"\xff" * 40,) * len(one.strings)},
    ):
        with pytest.raises(FileError):
            codec.decompress(rewritten(**changes))


def test_files_of_others() -> None:
    one, other = (PointCodec(new_model("sfu2023-pcc-rec-pointnet", seed)) for seed in (0, 1))
    data = one.compress(cloud(10))
    with pytest.raises(WrongModelError, match="sfu2023-pcc-rec-pointnet"):
        other.decompress(data)
    with pytest.raises(NotTinifyFileError):
        one.decompress(b"ply\n" + data)
    with pytest.raises(VersionError):
        one.decompress(MAGIC + bytes([9, 0]) + data[10:])
    with pytest.raises(CorruptFileError, match="added"):
        one.decompress(data + b"x")
    with pytest.raises(CheckpointError, match="point clouds"):
        PointCodec(tinify.create_model("bmshj2018-factorized", N=8, M=8))


@pytest.mark.parametrize("bad", [np.zeros((0, 3)), np.full((4, 3), np.nan), np.zeros((4, 2)), np.zeros(3)])
def test_what_is_no_cloud_is_refused(codec: PointCodec, bad: Any) -> None:
    with pytest.raises(InputError):
        codec.compress(bad)
    if bad.ndim == 2:
        with pytest.raises(InputError, match="cloud"):
            codec.model(torch.from_numpy(bad).float()[None])


def test_clouds_of_a_wrong_number_are_told_so() -> None:
    with pytest.raises(InputError, match=r"100 points: this model takes 1024.*tinify points"):
        new_model("sfu2024-pcc-rec-pointnet2-ssg")(torch.zeros(1, 100, 3))
    with pytest.raises(InputError, match=r"\(batch, 3, height, width\)"):
        tinify.create_model("bmshj2018-factorized", N=8, M=8)(torch.zeros(1, 100, 3))


def test_a_model_of_clouds_is_no_codec_of_pictures() -> None:
    with pytest.raises(TinifyError, match="point clouds"):
        Codec(new_model("sfu2023-pcc-rec-pointnet"))


@given(st.integers(1, 500), st.integers(1, 40), st.integers(0, 9))
def test_blocks_part_a_cloud(count: int, most: int, seed: int) -> None:
    points = np.random.default_rng(seed).integers(0, 4, (count, 3)).astype(np.float32)
    parts = split(points, most)
    assert sorted(np.concatenate(parts).tolist()) == list(range(count))
    sizes = [len(part) for part in parts]
    assert len(parts) == -(-count // most)
    assert min(sizes) >= 1
    assert max(sizes) <= most


@given(st.integers(0, 9), st.floats(1e-3, 1e6), st.integers(1, 30))
def test_blocks_are_put_back(seed: int, scale: float, count: int) -> None:
    points = (np.random.default_rng(seed).normal(size=(count, 3)) * scale).astype(np.float32)
    block = Block.of(points)
    assert np.linalg.norm(block.points, axis=1).max() <= 1 + 1e-5
    np.testing.assert_allclose(block.placed(block.points), points, atol=1e-6 * float(np.abs(points).max()))


def test_directions_cover_the_sphere() -> None:
    found = directions()
    assert found.shape == (43, 3)
    assert not found[0].any()
    torch.testing.assert_close(found[1:].norm(dim=1), torch.ones(42))
    torch.testing.assert_close(found.sum(0), torch.zeros(3), atol=1e-5, rtol=0)
    everywhere = torch.nn.functional.normalize(torch.randn(2000, 3, generator=torch.Generator().manual_seed(0)), dim=1)
    assert float((everywhere @ found[1:].T).amax(1).min()) > 0.93  # 21 degrees


def test_density_is_of_the_nearest() -> None:
    xyz = torch.rand(2, 3, 90, generator=torch.Generator().manual_seed(0))
    count, total = density(xyz, xyz[:, :, :10])
    gaps = (xyz[:, :, :, None] - xyz[:, :, None, :10]).square().sum(1).sqrt()
    owned = torch.nn.functional.one_hot(gaps.argmin(2), 10).bool()
    among = torch.zeros_like(owned).scatter(1, gaps.topk(16, dim=1, largest=False).indices, True)
    torch.testing.assert_close(count, (owned & among).sum(1).float())
    torch.testing.assert_close(total, (gaps * (owned & among)).sum(1), atol=1e-4, rtol=1e-4)


def test_of_proposals_as_many_stay_as_are_told() -> None:
    xyz = torch.rand(1, 3, 12, generator=torch.Generator().manual_seed(0))
    number = torch.tensor([[1.2, 3.6, 2.0]])
    allowed = [0, 4, 5, 6, 7, 8, 9]
    assert chosen(xyz, number, 7)[0].tolist() == allowed
    assert set(chosen(xyz, number, 4)[0].tolist()) < set(allowed)
    assert chosen(xyz, number, 9)[0].tolist() == [*allowed, 0, 4]


@pytest.mark.parametrize("face", FACES)
def test_faces_share_weights_with_their_specs(face: Any) -> None:
    torch.manual_seed(0)
    model = face().eval()
    again = face.from_state_dict(model.state_dict()).eval()
    assert again.state_dict().keys() == model.state_dict().keys()
    spec = tinify.create_model(face.SPEC).eval()
    spec.load_state_dict(model.spec_model().state_dict())
    x = torch.rand(1, 1024, 3)
    with torch.no_grad():
        outputs = [one({"pos": x})["x_hat"] for one in (model, again, spec)]
    assert torch.equal(outputs[0], outputs[1])
    assert torch.equal(outputs[0], outputs[2])
    packed = model.compress({"pos": x})
    assert torch.equal(model.decompress(packed["strings"], packed["shape"])["x_hat"], outputs[0])
    assert model.spec_model().to_spec().elaborate().id == spec.architecture.id
    with pytest.raises(StateDictError):
        face.from_state_dict({"strange": torch.zeros(2)})


@pytest.mark.parametrize("face", FACES)
def test_the_fields_checkpoints_are_imported(face: Any, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = face().eval()
    torch.save({"state_dict": model.state_dict()}, tmp_path / "theirs.pth.tar")
    status, said = run("import-compressai", tmp_path / "theirs.pth.tar", tmp_path / "ours.safetensors")
    assert status == 0, said
    assert face.SPEC in said
    codec = PointCodec(tinify.load_model(tmp_path / "ours.safetensors"))
    points = cloud(1024)
    np.testing.assert_array_equal(codec.decompress(codec.compress(points)), _through(model, codec, points))


def _through(model: Any, codec: PointCodec, points: Points) -> Points:
    """What a face makes of a cloud of one block."""
    block = Block.of(points)
    with torch.no_grad():
        x_hat = model({"pos": torch.from_numpy(block.points)[None]})["x_hat"][0]
    found: Points = block.placed(codec._as_many(x_hat, len(points)))
    return found


def test_a_face_of_another_size() -> None:
    channels = {"g_a": [3, 64, 64, 64, 128, 32], "g_s": [32, 256, 512, 192]}
    model = PointNetReconstructionPccModel(num_points=64, num_channels=channels)
    again = PointNetReconstructionPccModel.from_state_dict(model.state_dict())
    assert again.architecture.parameters == {"points": 64, "M": 32}
    with pytest.raises(InputError, match="write a spec"):
        PointNetReconstructionPccModel(num_channels={**channels, "g_s": [32, 8, 192]})
    with pytest.raises(InputError, match="write a spec"):
        DensityPreservingReconstructionPccModel(compress_normal=True)


def test_the_entry_points() -> None:
    from tinify.zoo import pointcloud_models

    assert sorted(pointcloud_models) == sorted(SPECS)
    for entry in pointcloud_models.values():
        with pytest.raises(InputError, match="nothing is downloaded"):
            entry(pretrained=True)
        assert isinstance(entry(), FACES)


@pytest.mark.parametrize(
    ("name", "loss"),
    [(name, "pointcloud/rate_distortion") for name in [*SPECS][:2]] + [([*SPECS][2], "pointcloud/density_preserving")],
)
def test_training_from_the_command_line(name: str, loss: str, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    (tmp_path / "data").mkdir()
    np.savez(tmp_path / "data" / "few.npz", train=random.random((3, 1200, 3)), test=random.random((2, 1200, 3)))
    write_cloud(tmp_path / "data" / "large.npy", Cloud(random.random((20000, 3), np.float32)))
    arguments = ["train", name, "--data", tmp_path / "data", "--val", tmp_path / "data" / "few.npz", "--lmbda", 10]
    arguments += ["--batch", 2, "--save-every", 2, "--validate-every", 2, "--lr", 1e-3, "-q"]
    plain, parted = tmp_path / "plain", tmp_path / "parted"
    sizes = [word for pair in SPECS[name].items() for word in ("--set", "{}={}".format(*pair))]
    runs: list[tuple[Path, int, list[Any]]] = [
        (plain, 4, [*arguments, *sizes]),
        (parted, 2, [*arguments, *sizes]),
        (parted, 4, ["train", parted / "recipe.yaml", *arguments[2:], "--resume"]),
    ]
    for folder, steps, words in runs:
        status, said = run(*words, "--steps", steps, "--out", folder)
        assert status == 0, said
    one, other = (tinify.load_model(folder / "model.safetensors") for folder in (plain, parted))
    states = [model.state_dict() for model in (one, other)]
    assert all(torch.equal(tensor, states[1][key]) for key, tensor in states[0].items())
    recipe = (plain / "recipe.yaml").read_text()
    assert loss in recipe
    assert "crop: 1024" in recipe
    rows = (plain / "log.csv").read_text().splitlines()
    assert rows[-1].split(",")[-1]


def test_large_clouds_are_drawn_as_they_are_coded() -> None:
    random = np.random.default_rng(0)
    grid = np.stack(np.meshgrid(*[np.arange(30.0)] * 3), 3).reshape(-1, 3).astype(np.float32)
    drawn = draw(grid, 64, random)
    assert drawn.shape == (64, 3)
    assert np.linalg.norm(drawn, axis=1).max() <= 1 + 1e-5
    gaps = np.linalg.norm(drawn[:, None] - drawn, axis=2)
    assert float(np.sort(gaps, 1)[:, 1].mean()) < 0.5  # neighbours, not points from everywhere
    assert draw(grid[:10], 64, random).shape == (64, 3)


def test_feeds_name_what_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is not there"):
        CloudFeed().list_files(tmp_path / "absent")
    with pytest.raises(DataError, match="no clouds"):
        CloudFeed().list_files(tmp_path)
    status, said = run("train", "hrtzxf2022-pcc-rec", "--data", tmp_path, "--out", tmp_path / "out")
    assert status == 2
    assert "no clouds" in said


def test_the_commands(tmp_path: Path) -> None:
    model = tmp_path / "model.safetensors"
    save_model(new_model("sfu2023-pcc-rec-pointnet"), model)
    points = cloud(150)
    write_cloud(tmp_path / "in.ply", Cloud(points))

    packed, back = tmp_path / "in.tfp", tmp_path / "back.ply"
    status, said = run("points", "compress", tmp_path / "in.ply", "--model", model, "--json")
    assert status == 0, said
    facts = json.loads(said)
    assert facts["bytes"] == packed.stat().st_size
    assert facts["points"] == 150
    assert run("points", "decompress", packed, back, "--model", model)[0] == 0
    np.testing.assert_array_equal(
        read_cloud(back).points,
        PointCodec(tinify.load_model(model)).decompress(packed.read_bytes()),  # type: ignore[arg-type]
    )
    told = run("points", "info", packed)[1]
    assert "150 points in 3 blocks" in told
    assert "all checksums are right" in told
    packed.write_bytes(packed.read_bytes()[:-20])
    assert "damaged" in run("points", "info", packed)[1]
    for words, message in (
        (("compress", tmp_path / "in.ply", tmp_path / "out.tfp"), "--model FILE"),
        (("compress", tmp_path / "in.ply", tmp_path / "out.zip", "--model", model), ".tfp"),
        (("compress", tmp_path / "absent.ply", tmp_path / "out.tfp", "--model", model), "absent.ply"),
        (("decompress", packed, back, "--model", model), "--force"),
        (("decompress", packed, tmp_path / "new.ply", "--model", model), "fetch it again"),
        (("decompress", packed, tmp_path / "new.ply"), "--model FILE"),
    ):
        status, said = run("points", *words)
        assert status == 2, said
        assert message in said
        assert "Traceback" not in said
    assert not (tmp_path / "new.ply").exists()


def test_arrays_of_clouds(tmp_path: Path) -> None:
    path = tmp_path / "two.npz"
    np.savez(path, train=np.ones((2, 5, 3), np.int16), test=np.zeros((1, 5, 3), np.int16), scale=0.5)
    assert [one.tolist() for one in read_clouds(path, "train")] == [[[0.5] * 3] * 5] * 2
    assert len(read_clouds(path, "test")) == 1
    single = tmp_path / "one.npy"
    np.save(single, np.ones((5, 3)))
    assert len(read_clouds(single, "train")) == 1
