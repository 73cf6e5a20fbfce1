"""The tiny SigLIP checkpoints kept in the repository, and the script that trains them."""

import importlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from PIL import Image
from safetensors import safe_open
from sklearn.metrics import average_precision_score

from mmhash.data.sample import draw
from mmhash.errors import InputError

ROOT = Path(__file__).resolve().parents[1]
KINDS = {"fixed": "tiny-siglip", "naflex": "tiny-siglip-naflex"}
FRESH_STREAM = 4242  # neither the training stream nor the sample's


def script(name: str) -> ModuleType:
    """Import a module of scripts/, which is no package."""
    if str(ROOT / "scripts") not in sys.path:
        sys.path.insert(0, str(ROOT / "scripts"))
    return importlib.import_module(name)


pairs_script, models_script = script("tiny_encoder_pairs"), script("tiny_encoder_models")
train_script = script("train_tiny_encoder")


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    """Train as the script does; threads that wait for each other cost more than such sums."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


# --- the checkpoints ----------------------------------------------------------------------------


@pytest.fixture(scope="module", params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def folder(kind: str) -> Path:
    return ROOT / "encoders" / KINDS[kind]


@pytest.fixture(scope="module")
def model(folder: Path) -> Any:
    loaded = transformers.AutoModel.from_pretrained(
        folder, dtype=torch.float32, local_files_only=True
    )
    return loaded.eval()


@pytest.fixture(scope="module")
def tokenizer(folder: Path) -> Any:
    # AutoTokenizer replaces it by Gemma's class where the model_type is siglip2
    return transformers.PreTrainedTokenizerFast.from_pretrained(folder, local_files_only=True)


@pytest.fixture(scope="module")
def processor(folder: Path) -> Any:
    return transformers.AutoImageProcessor.from_pretrained(folder, local_files_only=True)


@pytest.fixture(scope="module")
def settings() -> Any:
    return pairs_script.read_settings(ROOT / "scripts" / "train_tiny_encoder.yaml")


@pytest.fixture(scope="module")
def fresh() -> list[tuple[Image.Image, list[str], set[str]]]:
    return list(draw.stream_pairs(FRESH_STREAM, 0, 200))


def test_both_checkpoints_together_stay_under_five_megabytes() -> None:
    files = [f for name in KINDS.values() for f in (ROOT / "encoders" / name).iterdir()]
    assert sum(file.stat().st_size for file in files) <= 5_000_000


def test_weights_are_float16_safetensors(folder: Path) -> None:
    with safe_open(folder / "model.safetensors", "pt") as stream:
        kinds = {stream.get_slice(name).get_dtype() for name in stream.keys()}  # noqa: SIM118
    assert kinds == {"F16"}


def test_class_and_widths_come_from_the_checkpoint(kind: str, model: Any) -> None:
    assert type(model).__name__ == {"fixed": "SiglipModel", "naflex": "Siglip2Model"}[kind]
    vision, text = model.config.vision_config, model.config.text_config
    assert vision.hidden_size == text.hidden_size == text.projection_size
    assert text.max_position_embeddings == 64


def test_texts_are_lower_cased_and_padded_to_64_tokens(tokenizer: Any) -> None:
    long = "two dogs and a frisbee " * 40
    ids = pairs_script.tokenise(tokenizer, ["A Photo of a DOG", "a photo of a dog", "", long], 64)
    assert ids.shape == (4, 64)
    assert torch.equal(ids[0], ids[1])
    assert (ids[0] == tokenizer.pad_token_id).sum() > 40
    assert ids[2].tolist() == [tokenizer.eos_token_id] + 63 * [tokenizer.pad_token_id]
    assert tokenizer.pad_token_id not in ids[3]
    # the tokenizer itself keeps the case: forgetting to lower-case must show
    assert tokenizer("DOG")["input_ids"] != tokenizer("dog")["input_ids"]


def test_any_text_has_tokens(tokenizer: Any) -> None:
    text = " ein überraschter 🐨 at 5 o'clock"
    ids = tokenizer(text)["input_ids"]
    assert tokenizer.decode(ids, skip_special_tokens=True) == text
    assert max(ids) < len(tokenizer)


def test_pixels_of_the_training_equal_those_of_the_saved_processor(
    kind: str, processor: Any, settings: Any, fresh: list[Any]
) -> None:
    towers = settings.towers
    for image, _, _ in fresh[:8]:
        expected = processor(images=image, return_tensors="pt")
        if kind == "fixed":
            found = pairs_script.to_float(pairs_script.fixed_pixels(image, towers.image_size))
            torch.testing.assert_close(expected["pixel_values"][0], found, rtol=0, atol=1e-5)
        else:
            patches, grid = pairs_script.naflex_patches(
                image, towers.patch_size, towers.max_num_patches
            )
            assert tuple(expected["spatial_shapes"][0].tolist()) == grid
            assert expected["pixel_values"].shape[1] == towers.max_num_patches
            found = pairs_script.to_float(patches)
            torch.testing.assert_close(
                expected["pixel_values"][0, : len(found)], found, rtol=0, atol=1e-5
            )


def embed(model: Any, processor: Any, images: list[Image.Image]) -> torch.Tensor:
    with torch.inference_mode():
        return model.get_image_features(**processor(images=images, return_tensors="pt"))[
            "pooler_output"
        ]


def test_norms_of_the_pooled_outputs_vary(
    model: Any, tokenizer: Any, processor: Any, fresh: list[Any]
) -> None:
    image = embed(model, processor, [image for image, _, _ in fresh[:64]]).norm(dim=1)
    ids = pairs_script.tokenise(tokenizer, [texts[0] for _, texts, _ in fresh[:64]], 64)
    with torch.inference_mode():
        text = model.get_text_features(input_ids=ids)["pooler_output"].norm(dim=1)
    assert image.std() / image.mean() > 0.02
    assert text.std() / text.mean() > 0.02


def test_zero_shot_on_fresh_pictures_beats_chance_but_is_imperfect(
    model: Any, tokenizer: Any, processor: Any, fresh: list[Any]
) -> None:
    names = sorted({name for _, _, found in fresh for name in found})
    labels = np.array([[name in found for name in names] for _, _, found in fresh])
    image = embed(model, processor, [image for image, _, _ in fresh])
    ids = pairs_script.tokenise(tokenizer, [f"a photo of a {name}" for name in names], 64)
    with torch.inference_mode():
        text = model.get_text_features(input_ids=ids)["pooler_output"]
    unit = torch.nn.functional.normalize
    scores = (unit(image) @ unit(text).T).numpy()
    score = average_precision_score(labels, scores, average="macro")
    assert 3 * labels.mean() < score < 0.9


def test_training_figures_lie_beside_the_checkpoints() -> None:
    report = json.loads((ROOT / "encoders" / "training.json").read_text())
    for kind in KINDS:
        assert 4 * report[kind]["chance_mAP"] < report[kind]["zero_shot_mAP"] < 0.6
        assert f"{report[kind]['zero_shot_mAP']:.3f}" in (
            ROOT / "encoders" / KINDS[kind] / "README.md"
        ).read_text(encoding="utf-8")
    # the NaFlex kind goes on from the fixed one
    assert report["naflex"]["loss"] < report["fixed"]["loss"]


# --- the script ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tiny(settings: Any) -> Any:
    """A configuration that trains in a second: 16-pixel patches of 32-pixel pictures, width 16."""
    towers = {"width": 16, "heads": 2, "mlp_width": 32, "vision_layers": 1, "text_layers": 1}
    run = {"epochs": 3, "batch": 8, "evaluate_every": 3, "learning_rate": 3e-3}
    return settings.model_copy(
        update={
            "pictures": settings.pictures.model_copy(
                update={"training": 32, "held_out": 8, "naflex": 32, "budgets": [2, 4]}
            ),
            "towers": settings.towers.model_copy(
                update=towers | {"image_size": 32, "max_num_patches": 4, "vocabulary": 300}
            ),
            "fixed": settings.fixed.model_copy(update=run),
            "naflex": settings.naflex.model_copy(update=run),
        }
    )


@pytest.fixture(scope="module")
def tiny_pairs(tiny: Any) -> Any:
    """Pictures of one colour each, named by their captions."""
    colours = {
        "red": (200, 30, 30),
        "green": (30, 200, 30),
        "blue": (30, 30, 200),
        "black": (0,) * 3,
    }
    fixed, patches, grid, names = [], [], [], []
    for row in range(40):
        name = list(colours)[row % 4]
        image = Image.new("RGB", (48, 40), colours[name])
        fixed.append(pairs_script.fixed_pixels(image, 32))
        found, shape = pairs_script.naflex_patches(image, 16, pairs_script.budget_of(row, tiny))
        patches.append(np.pad(found, ((0, 4 - len(found)), (0, 0))))
        grid.append(shape)
        names.append([name])
    return pairs_script.Pairs(
        np.stack(fixed),
        np.stack(patches),
        np.array(grid, np.uint8),
        captions=[[f"a {row[0]} sheet", f"{row[0]} paper"] for row in names],
        categories=names,
    )


@pytest.fixture(scope="module")
def tiny_tokenizer(tiny: Any, tiny_pairs: Any) -> Any:
    texts = [text for row in tiny_pairs.captions for text in row]
    return pairs_script.train_tokenizer(texts, tiny.towers)


def test_loss_is_the_sigmoid_loss_of_the_paper() -> None:
    generator = torch.Generator().manual_seed(0)
    image, text = torch.randn(2, 5, 7, generator=generator, dtype=torch.float64)
    found = train_script.sigmoid_loss(image, text, torch.tensor(1.3), torch.tensor(-2.0))
    total = 0.0
    for i in range(5):
        for j in range(5):
            x, y = image[i] / image[i].norm(), text[j] / text[j].norm()
            logit = float(torch.tensor(1.3).exp()) * float(x @ y) - 2.0
            total += np.log1p(np.exp(-logit if i == j else logit))
    assert float(found) == pytest.approx(total / 5, abs=1e-6)


def test_loss_equals_that_of_the_model_class(
    tiny: Any, tiny_pairs: Any, tiny_tokenizer: Any
) -> None:
    model = models_script.build_fixed(tiny.towers, tiny_tokenizer, seed=1)
    rows = np.arange(6)
    vision = pairs_script.fixed_inputs(tiny_pairs, rows)
    ids = pairs_script.tokenise(tiny_tokenizer, [tiny_pairs.captions[r][0] for r in rows], 64)
    with torch.inference_mode():
        expected = model(input_ids=ids, **vision, return_loss=True).loss
        found = train_script.sigmoid_loss(
            model.get_image_features(**vision).pooler_output,
            model.get_text_features(input_ids=ids).pooler_output,
            model.logit_scale,
            model.logit_bias,
        )
    torch.testing.assert_close(found, expected)


def test_naflex_kind_starts_as_the_same_function_on_squares(tiny: Any, tiny_tokenizer: Any) -> None:
    fixed = models_script.build_fixed(tiny.towers, tiny_tokenizer, seed=2)
    naflex = models_script.naflex_from_fixed(fixed)
    noise = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    image = Image.fromarray(noise)
    patches, grid = pairs_script.naflex_patches(image, 16, 4)
    assert grid == (2, 2)
    square = pairs_script.to_float(pairs_script.fixed_pixels(image, 32))[None]
    with torch.inference_mode():
        expected = fixed.vision_model(pixel_values=square).pooler_output
        found = naflex.vision_model(
            pixel_values=pairs_script.to_float(patches)[None],
            pixel_attention_mask=torch.ones(1, 4, dtype=torch.int32),
            spatial_shapes=torch.tensor([grid]),
        ).pooler_output
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind_of_run", KINDS)
def test_training_steps_decrease_the_loss(
    kind_of_run: str, tiny: Any, tiny_pairs: Any, tiny_tokenizer: Any
) -> None:
    model = models_script.build_fixed(tiny.towers, tiny_tokenizer, seed=3)
    if kind_of_run == "naflex":
        model = models_script.naflex_from_fixed(model)
    rows = np.arange(4)
    vision = train_script.INPUTS[kind_of_run](tiny_pairs, rows)
    ids = pairs_script.tokenise(tiny_tokenizer, [tiny_pairs.captions[r][0] for r in rows], 64)
    optimizer = train_script.make_optimizer(model, tiny.fixed)
    losses = [train_script.train_step(model, optimizer, vision, ids, 1.0) for _ in range(60)]
    assert losses[-1] < 0.8 * losses[0]


def test_an_interrupted_run_ends_with_the_same_weights(
    tiny: Any, tiny_pairs: Any, tiny_tokenizer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def train(name: str) -> tuple[Any, list[dict[str, float]]]:
        model = models_script.build_fixed(tiny.towers, tiny_tokenizer, seed=4)
        state = tmp_path / f"{name}.safetensors"
        history = train_script.fit("fixed", model, tiny_tokenizer, tiny_pairs, tiny, state)
        return model, history

    expected, history = train("undisturbed")
    real = train_script.save_state

    def save_and_stop(*arguments: Any) -> None:
        real(*arguments)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(train_script, "save_state", save_and_stop)
        with pytest.raises(KeyboardInterrupt):
            train("disturbed")
    found, resumed = train("disturbed")
    assert resumed == history
    for name, weight in expected.state_dict().items():
        assert torch.equal(found.state_dict()[name], weight), name


def test_naflex_batches_hold_one_budget_and_no_held_out_picture(tiny: Any) -> None:
    batches = train_script.epoch_batches("naflex", tiny, tiny.naflex, np.random.default_rng(0))
    for rows in batches:
        assert rows.min() >= tiny.pictures.held_out
        assert len({pairs_script.budget_of(int(row), tiny) for row in rows}) == 1
    assert len(np.unique(np.concatenate(batches))) == sum(map(len, batches))


def test_checkpoint_replaces_an_older_one_as_a_whole(
    tiny: Any, tiny_tokenizer: Any, tmp_path: Path
) -> None:
    folder = tmp_path / "tiny-siglip"
    folder.mkdir()
    (folder / "stale.txt").write_text("from before")
    model = models_script.build_fixed(tiny.towers, tiny_tokenizer, seed=5)
    names = ("zero_shot_mAP", "chance_mAP", "norm_variation", "loss", "pairs_seen")
    figures = dict.fromkeys(names, 0.5)
    models_script.write_checkpoint(folder, "fixed", model, tiny_tokenizer, tiny, figures)
    assert {file.name for file in folder.iterdir()} == {
        *("README.md", "config.json", "model.safetensors", "preprocessor_config.json"),
        *("tokenizer.json", "tokenizer_config.json"),
    }
    assert [path.name for path in tmp_path.iterdir()] == ["tiny-siglip"]


def test_a_misspelt_parameter_is_named(tmp_path: Path) -> None:
    text = (ROOT / "scripts" / "train_tiny_encoder.yaml").read_text()
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(text.replace("  heads:", "  haeds:"))
    with pytest.raises(InputError, match=r"towers\.heads"):
        pairs_script.read_settings(wrong)
