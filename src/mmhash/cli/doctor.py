"""``mmhash doctor``: is this machine ready for the run that ``params.yaml`` describes?"""

import os
import platform
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import faiss
import pyarrow.parquet as pq
import torch

from mmhash.cli.estimates import (
    extraction_seconds,
    training_disk,
    training_memory,
    training_seconds,
)
from mmhash.cli.findings import Finding, estimated, show
from mmhash.cli.tower_estimates import TowerLoad
from mmhash.data.coco import image_path
from mmhash.data.raw import ensure_raw, is_folder_dataset, open_feature_dataset
from mmhash.encoders.batch import extraction_batch
from mmhash.encoders.checkpoint import load_checkpoint
from mmhash.encoders.device import choose_device, choose_precision, describe_device
from mmhash.encoders.extract import extract
from mmhash.errors import InputError
from mmhash.experiment import (
    cross_modal_config,
    loss_weights,
    model_config,
    train_settings,
)
from mmhash.files import dvc_root, read_json, read_npy, read_table
from mmhash.models.config import ModelConfig
from mmhash.models.cross_modal import CrossModalConfig
from mmhash.params import Params, load_params
from mmhash.training.batches import RESIDENT_SHARE
from mmhash.training.loop import AnyConfig
from mmhash.training.settings import TrainSettings, training_precision

GB = 1e9
# Images, val rows, captions an image, classes and widths before anything has been extracted.
EXPECTED: dict[str, dict[str, float]] = {
    "sample": {"images": 5200, "val": 600, "captions": 5.5, "classes": 80, "width": 128},
    "coco2014": {"images": 123287, "val": 5000, "captions": 5.0, "classes": 80, "width": 768},
    "wiki": {"images": 2866, "val": 217, "train": 1956, "classes": 10, "width": 128},
    "mirflickr25k": {"images": 20015, "val": 1000, "train": 5000, "classes": 24, "width": 4096},
    "nuswide": {"images": 186577, "val": 1000, "train": 5000, "classes": 10, "width": 4096},
}


def examine(timing: bool = True) -> bool:
    """Print one line a check; return False where one failed.

    ``timing`` adds the estimates of time, which run slices of the real work for some seconds.
    Raises InputError where ``params.yaml`` itself is invalid.
    """
    params = load_params()
    good = show(Finding("ok", "params.yaml", f"valid; dataset {params.run.dataset}"))
    for finding in _findings(params, timing):
        good = show(finding) and good
    return good


def _findings(params: Params, timing: bool) -> Iterator[Finding]:
    yield _python()
    found = _device(params)
    absent = isinstance(found, Finding)
    if isinstance(found, Finding):
        yield found
        device = torch.device("cpu")  # for the lines that are the same on any device
    else:
        device = found
        yield from (_torch(device), _faiss(device))
    dataset = _dataset(params)
    yield dataset
    yield _checkpoint(params)
    size = _size(params, dataset.status != "fail")
    model = _model(params, size)
    settings = train_settings(params, model)
    batch = _batch(model, settings, int(size["train"]))
    if model.name != "zeroshot":
        yield batch
        if not absent:
            yield _amp(settings, device)
    yield _towers(params, model)
    try:
        towers = _learning(params, device)
    except InputError as error:
        yield _disk(params, size, None)
        yield Finding("warn", "memory", "not known without the checkpoint", str(error))
        return
    disk = _disk(params, size, towers)
    yield disk
    if absent:
        return
    if model.name != "zeroshot":
        yield from _memory(params, device, size, towers)
    if timing and "fail" not in (dataset.status, disk.status, batch.status):
        yield estimated("training time", lambda: _training_time(params, device, size, towers))
        if not is_folder_dataset(params.run.dataset):
            yield estimated("extraction time", lambda: _extraction_time(params, device, size))


def _python() -> Finding:
    return Finding("ok", "python", f"{platform.python_version()} on {platform.machine()}")


def _device(params: Params) -> torch.device | Finding:
    try:
        return choose_device(params.profile.device)
    except InputError as error:
        return Finding("fail", "device", str(error), "-S run.hardware=auto")


def _torch(device: torch.device) -> Finding:
    seen = f"torch {torch.__version__}, {describe_device(device)}"
    if device.type == "cpu":
        return Finding("ok", "torch", f"{seen}, {torch.get_num_threads()} threads")
    major, minor = torch.cuda.get_device_capability(device)
    seen = f"{seen}, compute capability {major}.{minor}"
    built = torch.cuda.get_arch_list()
    same_generation = [arch for arch in built if arch.startswith(f"sm_{major}")]
    if built and not same_generation and not any(arch.startswith("compute_") for arch in built):
        return Finding(
            "fail", "torch", f"{seen}, not in this build ({', '.join(built)})", "make install again"
        )
    return Finding("ok", "torch", seen)


def _faiss(device: torch.device) -> Finding:
    gpus = faiss.get_num_gpus() if hasattr(faiss, "get_num_gpus") else 0
    seen = f"faiss {faiss.__version__}, {gpus} GPUs"
    if device.type == "cuda" and gpus == 0:
        return Finding("warn", "faiss", seen, "search runs on the CPU; install faiss-gpu")
    return Finding("ok", "faiss", seen)


def _dataset(params: Params) -> Finding:
    root = dvc_root() / params.dataset.root
    if params.run.dataset == "sample":
        drawn = "drawn" if root.is_dir() else "will be drawn by dvc repro"
        return Finding("ok", "dataset", f"sample, {drawn} in {params.dataset.root}")
    check = open_feature_dataset if params.run.dataset == "features" else ensure_raw
    try:
        check(params.run.dataset, root)
    except InputError as error:
        return Finding("fail", "dataset", f"{params.run.dataset} is not complete", str(error))
    return Finding("ok", "dataset", f"{params.run.dataset} in {params.dataset.root}")


def _checkpoint(params: Params) -> Finding:
    source = params.dataset.encoder
    if source is None:
        return Finding("ok", "checkpoint", "none needed: the features are ready made")
    folder = Path(source.checkpoint)
    if folder.is_dir():
        if any(folder.glob("*.safetensors")):
            return Finding("ok", "checkpoint", f"folder {source.checkpoint}")
        return Finding(
            "fail", "checkpoint", f"{folder} holds no weights", "put model.safetensors there"
        )
    from huggingface_hub import try_to_load_from_cache

    cached = try_to_load_from_cache(source.checkpoint, "config.json", revision=source.revision)
    if isinstance(cached, str):
        return Finding("ok", "checkpoint", f"{source.checkpoint} in the local cache")
    key = "datasets.<name>.encoder.checkpoint"
    mend = f"it is downloaded at first use; offline: name a folder in {key}"
    return Finding("warn", "checkpoint", f"{source.checkpoint} is not in the local cache", mend)


def _size(params: Params, readable: bool) -> dict[str, float]:
    """Return how many images, val rows, captions, classes and dimensions the run has."""
    features, manifest = Path("features"), Path("data/manifest.json")
    extracted = manifest.is_file() and read_json(manifest)["dataset"] == params.run.dataset
    if extracted and (features / "meta.json").is_file():
        image = read_npy(features / "image.npy", mmap=True)
        text = read_npy(features / "text.npy", mmap=True)
        split = pq.read_table("data/split.parquet", columns=["split"])["split"].to_pylist()
        return {
            "images": len(image),
            "val": split.count("val"),
            "train": split.count("train") + split.count("restval"),
            "captions": len(text) / len(image),
            "classes": len(read_json("data/categories.json")),
            "image_width": image.shape[1],
            "text_width": text.shape[1],
        }
    if params.run.dataset == "features":
        root = dvc_root() / params.dataset.root
        if not readable:
            return _sized(EXPECTED["coco2014"])
        image, text = (read_npy(root / f"{name}.npy", mmap=True) for name in ("image", "text"))
        classes = read_npy(root / "labels.npy", mmap=True).shape[1]
        return _sized(
            {
                "images": len(image),
                "val": len(image) / 10,
                "captions": text.size / text.shape[-1] / len(image),
                "classes": classes,
                "width": image.shape[1],
            }
        ) | {"text_width": text.shape[-1]}
    return _sized(EXPECTED[params.run.dataset])


def _sized(known: dict[str, float]) -> dict[str, float]:
    """Fill in what follows from the number of images: about 8 % are val and test."""
    return {
        "captions": 1.0,
        "train": known["images"] - 2 * known["val"],
        **{name: value for name, value in known.items() if name != "width"},
        "image_width": known["width"],
        "text_width": known["width"],
    }


def _disk(params: Params, size: dict[str, float], towers: TowerLoad | None) -> Finding:
    itemsize = 2 if params.features.dtype == "float16" else 4
    vectors = size["images"] * (size["image_width"] + size["captions"] * size["text_width"])
    # The shards, the assembled arrays, and DVC's copy where the file system cannot share blocks.
    parts = {"features": 3 * itemsize * vectors}
    parts |= training_disk(_model(params, size), towers.learning if towers else 0)
    need, free = sum(parts.values()), shutil.disk_usage(Path.cwd()).free
    shown = ", ".join(f"{name} {value / GB:.2f}" for name, value in parts.items())
    seen = f"{free / GB:.1f} GB free, a run needs up to {need / GB:.2f} GB ({shown})"
    if free < need:
        return Finding("fail", "disk", seen, "free some space or move the checkout")
    return Finding("ok", "disk", seen)


def _batch(model: AnyConfig, settings: TrainSettings, train_rows: int) -> Finding:
    if model.name == "shallow":
        return Finding("ok", "batch", f"none, fitted to all {train_rows} training rows at once")
    size = settings.batch_size
    if isinstance(model, CrossModalConfig):
        name = f"{model.name}.batch_size"
        if train_rows < size:
            seen = f"{name} = {size} where there are {train_rows} training rows"
            return Finding("fail", "batch", seen, f"-S {name}={train_rows} or less")
        return Finding("ok", "batch", f"{size} rows a step ({name})")
    accumulated = settings.gradient_accumulation_steps
    seen = f"{size} × {accumulated} = {size * accumulated} rows a step"
    if model.hash.enabled and model.hash.batch_norm and size < 16:
        return Finding("warn", "batch", seen, "BatchNorm is noisy below 16 rows a micro batch")
    return Finding("ok", "batch", seen)


def _amp(settings: TrainSettings, device: torch.device) -> Finding:
    if not settings.amp:
        return Finding("ok", "AMP", "off, float32")
    if device.type == "cpu" and settings.amp_dtype == "float16":
        return Finding("ok", "AMP", "float16 needs CUDA; this CPU trains in float32")
    return Finding("ok", "AMP", settings.amp_dtype)


def _towers(params: Params, model: AnyConfig) -> Finding:
    if params.encoder.unfreeze != "none":
        last = f"the last {params.encoder.last_n} layers of each"
        part = "both whole" if params.encoder.unfreeze == "all" else last
        kept = "on" if params.profile.gradient_checkpointing else "off"
        rate = f"train.lr_towers {params.train.lr_towers:g}"
        return Finding("ok", "towers", f"{part} learn, {rate}, gradient checkpointing {kept}")
    aligned = isinstance(model, ModelConfig) and model.aligned
    if aligned and not params.align.projection and params.loss.cosine_weight:
        return Finding(
            "ok",
            "towers",
            "frozen; the alignment term is a constant without gradient "
            "(align.projection=true gives it one)",
        )
    return Finding("ok", "towers", "frozen")


def _learning(params: Params, device: torch.device) -> TowerLoad | None:
    """Return the towers that learn, or None with frozen ones."""
    source = params.dataset.encoder
    if params.encoder.unfreeze == "none" or source is None:
        return None
    return TowerLoad(
        load_checkpoint(source.checkpoint, source.revision, device, source.max_num_patches),
        params.encoder.unfreeze,
        params.encoder.last_n,
        params.profile.gradient_checkpointing,
        training_precision(train_settings(params), device),
    )


def _model(params: Params, size: dict[str, float]) -> AnyConfig:
    """Return the architecture of the method at hand for data of this size."""
    widths = int(size["image_width"]), int(size["text_width"]), int(size["classes"])
    return cross_modal_config(params, *widths) or model_config(params, *widths)


def _memory(
    params: Params, device: torch.device, size: dict[str, float], towers: TowerLoad | None
) -> Iterator[Finding]:
    model = _model(params, size)
    settings = train_settings(params, model)
    counts = int(size["images"]), round(size["captions"]), int(size["train"])
    parts = training_memory(model, settings, *counts)
    on_card = device.type == "cuda" and model.name != "shallow"  # those are fitted by NumPy
    if towers is not None:
        del parts["features"]  # nothing stored is read
        parts |= towers.memory(settings)
    elif on_card:
        card = torch.cuda.get_device_properties(device).total_memory
        if parts["features"] >= RESIDENT_SHARE * card:
            del parts["features"]  # they stay in the memory of the host
    total = sum(parts.values())
    shown = ", ".join(f"{name} {value / GB:.3f}" for name, value in parts.items())
    if on_card:
        have = torch.cuda.get_device_properties(device).total_memory
        name, mend = "GPU memory", "-S run.hardware=emergency and a smaller train.batch_size"
    else:
        have = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        name, mend = "memory", "close other programs or take a smaller model"
    if model.name == "shallow":
        mend = "close other programs or train on fewer rows"
    elif isinstance(model, CrossModalConfig):  # the profile changes nothing in their training
        mend = f"take a smaller {model.name}.batch_size or {model.name}.hidden"
    seen = f"training needs about {total / GB:.2f} of {have / GB:.1f} GB ({shown})"
    alert = params.profile.vram_alert_gb
    if total >= 0.9 * have:
        yield Finding("fail", name, seen, mend)
    elif on_card and alert is not None and total > alert * GB:
        yield Finding("warn", name, f"{seen}, over vram_alert_gb {alert:g}", mend)
    else:
        yield Finding("ok", name, seen)


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _training_time(
    params: Params, device: torch.device, size: dict[str, float], towers: TowerLoad | None
) -> Finding:
    model = _model(params, size)
    if model.name in ("shallow", "zeroshot"):
        how = "fitted at once, without epochs" if model.name == "shallow" else "no training"
        return Finding("ok", "training time", how)
    settings = train_settings(params, model)
    seconds = training_seconds(
        int(size["train"]), int(size["val"]), model, loss_weights(params), settings, device
    )
    if towers is not None:
        seconds += towers.seconds(int(size["train"]), int(size["val"]), settings)
    seen = f"about {_duration(seconds)} for {settings.num_epochs} epochs (measured on a slice)"
    if isinstance(model, ModelConfig):
        seen += "; early stopping may end sooner"
    return Finding("ok", "training time", seen)


def _extraction_time(params: Params, device: torch.device, size: dict[str, float]) -> Finding:
    table = Path("data/images.parquet")
    source, root = params.dataset.encoder, dvc_root() / params.dataset.root
    assert source is not None
    if not table.is_file() or not root.is_dir():
        return Finding("ok", "extraction time", "known once index_coco has run")
    images = read_table(table)
    names = zip(images["folder"].to_pylist(), images["file_name"].to_pylist(), strict=True)
    if not all(
        image_path(root, *name).is_file() for name, _ in zip(names, range(64), strict=False)
    ):
        return Finding("ok", "extraction time", "known once index_coco has run on these data")
    try:
        towers = load_checkpoint(
            source.checkpoint,
            source.revision,
            device,
            source.max_num_patches,
            precision=choose_precision(params.profile.precision, device),
        )
    except InputError as error:
        return Finding("warn", "extraction time", "not measured", str(error))

    batch = extraction_batch(params.profile.extract_batch, towers)

    def extract_some(count: int, folder: Path) -> None:
        extract(
            images.slice(0, count),
            partial(image_path, root),
            towers,
            folder / "out",
            folder / "shards",
            on_bad_image="skip",
            batch=batch,
            workers=params.profile.num_workers,
            pin_memory=params.profile.pin_memory,
        )

    seconds = extraction_seconds(int(size["images"]), images.num_rows, extract_some)
    seen = f"about {_duration(seconds)} for {int(size['images'])} pictures (measured on a slice)"
    return Finding("ok", "extraction time", seen)
