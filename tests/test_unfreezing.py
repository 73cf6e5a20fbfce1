"""From params.yaml to tuned towers that encode the data set."""

import shutil
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from PIL import Image
from ruamel.yaml import YAML
from safetensors.torch import load_file
from transformers import SiglipModel

from mmhash.codes import binarise, pack
from mmhash.data.coco import image_path
from mmhash.encoders.checkpoint import Towers, load_checkpoint
from mmhash.encoders.extract import extract
from mmhash.encoders.prototypes import prototypes
from mmhash.errors import InputError
from mmhash.experiment import (
    learning_towers,
    loss_weights,
    model_config,
    train_settings,
    training_inputs,
)
from mmhash.features import Dataset, features_for, load_features
from mmhash.files import read_json, write_json, write_table
from mmhash.models.weights import load_tagger
from mmhash.params import Params, parse_params
from mmhash.training.encode import encode
from mmhash.training.loop import train
from mmhash.training.settings import TrainingData
from mmhash.tuned import class_vectors, load_towers

CPU = torch.device("cpu")
TINY = "encoders/tiny-siglip"
SPLIT = ["train"] * 20 + ["val"] * 6 + ["test"] * 6


class Checkout:
    """A folder with 32 pictures, their tables and the features of the frozen tiny towers."""

    def __init__(self, folder: Path, repository: Path) -> None:
        self.repository = repository
        shutil.copytree(repository / "encoders", folder / "encoders")
        (folder / "raw/images/train2014").mkdir(parents=True)
        for kind in ("instances", "captions"):
            write_json(folder / f"raw/annotations/{kind}_train2014.json", {})
        rng = np.random.default_rng(0)
        names = [f"{number:02d}.png" for number in range(32)]
        labels = rng.integers(0, 2, (32, 2))
        labels[20:22] = labels[26:28] = np.eye(2)
        for name, (red, blue) in zip(names, labels, strict=True):
            noise = rng.integers(0, 128, (40, 50, 3)) + np.array([100 * red, 0, 100 * blue])
            Image.fromarray(noise.astype(np.uint8)).save(folder / "raw/images/train2014" / name)
        captions = [[f"a {'red' if red else 'grey'} car", "two dogs"] for red, _ in labels]
        self.images = pa.table(
            {
                "image_id": pa.array(range(100, 132), pa.int64()),
                "folder": ["train2014"] * 32,
                "file_name": names,
                "captions": captions,
                "category_ids": pa.array(
                    [[c + 1 for c in range(2) if row[c]] for row in labels], pa.list_(pa.int32())
                ),
            }
        )
        write_table("data/images.parquet", self.images)
        split = pa.table({"image_id": self.images["image_id"], "split": SPLIT})
        write_table("data/split.parquet", split)
        categories = [{"id": 1, "name": "car"}, {"id": 2, "name": "dog"}]
        write_json("data/categories.json", categories)
        write_json("data/manifest.json", {"dataset": "coco2014"})
        self.extract(load_checkpoint(TINY, None, CPU), Path("features"))

    def extract(self, towers: Towers, out: Path) -> None:
        locate = partial(image_path, Path("raw"))
        extract(self.images, locate, towers, out, out.with_suffix(".shards"), dtype="float32")

    def params(self, unfreeze: str = "last_n", workers: int = 0, **encoder) -> Params:
        values = YAML(typ="safe").load((self.repository / "params.yaml").read_text())
        values["run"]["dataset"] = "coco2014"
        values["datasets"]["coco2014"] |= {
            "root": "raw",
            "encoder": {
                "checkpoint": TINY,
                "revision": None,
                "max_num_patches": None,
                **encoder,
            },
        }
        values["hardware"]["auto"] |= {"device": "cpu", "precision": "float32"}
        values["hardware"]["auto"]["num_workers"] = workers
        values["encoder"] |= {"unfreeze": unfreeze, "last_n": 1}
        values["fusion"]["mlp_dims"] = [16]
        values["hash"]["bits"] = 16
        values["train"] |= {"num_epochs": 2, "lr": 0.01, "lr_towers": 0.001, "batch_size": 8}
        return parse_params(values)

    def train(self, out: Path, params: Params) -> Dataset:
        dataset = load_features(Path("features"), Path("data"), None)
        model = model_config(params, 128, 128, 2)
        towers = learning_towers(params, dataset, CPU)
        train(
            TrainingData(
                dataset.features, dataset.training_rows(), dataset.rows("val"), ("car", "dog")
            ),
            model,
            loss_weights(params),
            train_settings(params),
            device="cpu",
            cache=out.with_suffix(".cache"),
            out=out,
            towers=towers,
        )
        return dataset


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory, repository: Path):
    """One checkout; the tests write to models of their own."""
    folder = tmp_path_factory.mktemp("checkout")
    before = torch.get_num_threads()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.delenv("DVC_ROOT", raising=False)
        torch.set_num_threads(1)
        yield Checkout(folder, repository)
        torch.set_num_threads(before)


@pytest.fixture(scope="module")
def model(checkout: Checkout) -> Path:
    """A model whose towers' last layers learnt."""
    checkout.train(Path("model"), checkout.params())
    return Path("model")


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def codes(model: Path, features: Path) -> np.ndarray:
    dataset = load_features(features, Path("data"))
    tagger, scale = load_tagger(model)
    rows = np.arange(len(dataset.image_id))
    return encode(tagger, dataset.features, rows, scale)["h"]


def test_codes_are_the_taggers_on_vectors_of_the_tuned_towers_and_not_of_the_frozen(
    checkout: Checkout, model: Path
) -> None:
    assert features_for(model) == model / "features"
    tuned = codes(model, features_for(model))
    frozen = codes(model, Path("features"))
    assert (pack(binarise(tuned)) != pack(binarise(frozen))).any()

    # Computed directly: the checkpoint as transformers loads it, with the weights put in by hand.
    towers = load_checkpoint(TINY, None, CPU)
    plain = SiglipModel.from_pretrained(TINY, dtype=torch.float32)
    learnt = {
        name.removeprefix("towers."): tensor
        for name, tensor in load_file(model / "best.safetensors").items()
        if name.startswith("towers.")
    }
    names = dict(plain.named_parameters())
    with torch.no_grad():
        for name, tensor in learnt.items():
            assert not torch.equal(names[name], tensor) or "k_proj.bias" in name
            names[name].copy_(tensor)
    towers.model.load_state_dict(plain.state_dict())
    checkout.extract(towers, Path("direct"))
    np.testing.assert_array_equal(codes(model, Path("direct")), tuned)
    prompts = checkout.params().zeroshot.prompts
    expected = prototypes(towers.encode_texts, ["car", "dog"], prompts)
    classes = class_vectors(checkout.params(), model, ["car", "dog"], CPU)
    np.testing.assert_array_equal(classes, expected)
    before = prototypes(load_checkpoint(TINY, None, CPU).encode_texts, ["car", "dog"], prompts)
    assert np.abs(expected - before).max() > 1e-4


def test_the_tuned_features_have_the_layout_and_the_rows_of_the_frozen(model: Path) -> None:
    frozen, tuned = (contents(folder) for folder in (Path("features"), model / "features"))
    assert frozen.keys() == tuned.keys()
    same = {name for name in frozen if frozen[name] == tuned[name]}
    assert same == {"image_id.npy", "caption_offset.npy"}
    ours, theirs = (read_json(p / "meta.json") for p in (model / "features", Path("features")))
    assert ours.pop("fingerprint") != theirs.pop("fingerprint")
    assert ours == theirs


def test_the_number_of_workers_changes_no_byte(checkout: Checkout, model: Path) -> None:
    shutil.rmtree(".cache/pictures")
    checkout.train(Path("again"), checkout.params(workers=2))
    assert contents(Path("again")) == contents(model)


def test_frozen_towers_take_the_extracted_features(checkout: Checkout) -> None:
    params = checkout.params("none")
    dataset = load_features(Path("features"), Path("data"))
    assert learning_towers(params, dataset, CPU) is None
    checkout.train(Path("plain"), params)
    assert features_for(Path("plain")) == Path("features")
    assert not (Path("plain") / "features").exists()
    towers = load_towers(Path("plain"), TINY, None, CPU)
    assert towers.fingerprint == load_checkpoint(TINY, None, CPU).fingerprint


def test_the_key_of_a_training_tells_towers_apart(checkout: Checkout) -> None:
    dataset = load_features(Path("features"), Path("data"))
    paths = [Path("data/split.parquet")]
    found = [training_inputs(paths, None)]
    for which in ("last_n", "all"):
        towers = learning_towers(checkout.params(which), dataset, CPU)
        found.append(training_inputs(paths, towers))
    assert found[0].keys() == {"data/split.parquet"}
    assert found[1]["towers"] != found[2]["towers"]
    assert "data/manifest.json" in found[1]


@pytest.fixture
def other(checkout: Checkout) -> str:
    """The same architecture with other weights."""
    shutil.copytree(TINY, "other", dirs_exist_ok=True)
    changed = SiglipModel.from_pretrained(TINY)
    with torch.no_grad():
        changed.vision_model.post_layernorm.weight.mul_(2)
    changed.save_pretrained("other")
    return "other"


def test_another_checkpoint_than_the_trained_one_is_refused(model: Path, other: str) -> None:
    with pytest.raises(InputError) as caught:
        load_towers(model, other, None, CPU)
    message = str(caught.value)
    assert f"trained from checkpoint {TINY}" in message
    assert "other holds other weights" in message
    assert "\n" not in message


def test_features_of_another_checkpoint_are_refused(checkout: Checkout, other: str) -> None:
    dataset = load_features(Path("features"), Path("data"))
    with pytest.raises(InputError, match=r"features/meta\.json.*extract_features"):
        learning_towers(checkout.params(checkpoint=other), dataset, CPU)


def test_changed_captions_are_refused(
    checkout: Checkout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = load_features(Path("features"), Path("data"))
    fewer = [captions[:1] for captions in checkout.images["captions"].to_pylist()]
    images = checkout.images.set_column(3, "captions", pa.array(fewer))
    write_table(tmp_path / "images.parquet", images)
    monkeypatch.setattr(
        "mmhash.unfreezing.read_table", lambda _: pa.parquet.read_table(tmp_path / "images.parquet")
    )
    with pytest.raises(InputError, match="other captions"):
        learning_towers(checkout.params(), dataset, CPU)


def test_pictures_that_were_left_out_stay_out(checkout: Checkout) -> None:
    whole = load_features(Path("features"), Path("data"))
    keep = np.array([0, 3, 21])
    offset = np.array([0, 2, 4, 6])
    part = Dataset(
        features=type(whole.features)(
            whole.features.image[keep],
            whole.features.text[:6],
            offset,
            whole.features.labels[keep],
        ),
        image_id=whole.image_id[keep],
        split=whole.split[keep],
        categories=whole.categories,
        prototypes=None,
        meta=whole.meta,
    )
    towers = learning_towers(checkout.params(), part, CPU)
    assert towers is not None
    everything = learning_towers(checkout.params(), whole, CPU)
    assert everything is not None
    expected = everything.pictures.rows(keep)
    assert torch.equal(towers.pictures.rows(np.arange(3)).pixels, expected.pixels)
    told = [caption for row in keep for caption in checkout.images["captions"][row].as_py()]
    assert towers.captions.to_pylist() == told
