"""Every study by its id, made to fit a dataset."""

from dataclasses import replace
from typing import Any

from mmhash.ablations import cross_modal, main_method
from mmhash.ablations.study import Overrides, Study
from mmhash.errors import InputError

NAFLEX = {
    "sample": "encoders/tiny-siglip-naflex",
    "coco2014": "google/siglip2-base-patch16-naflex",
}


def studies(dataset: str) -> dict[str, Study]:
    """Return every study by its id, for a dataset of ``params.yaml``.

    Keys that name the dataset are filled in. A study that the dataset cannot serve (NaFlex needs
    pictures) keeps its place, and :func:`check` says why.
    """

    def fill(overrides: Overrides) -> dict[str, Any]:
        checkpoint = NAFLEX.get(dataset)
        return {
            key.replace("{dataset}", dataset): checkpoint if value == "{naflex}" else value
            for key, value in overrides.items()
        }

    return {
        study.id: replace(
            study,
            common=fill(study.common),
            rows=tuple(replace(row, overrides=fill(row.overrides)) for row in study.rows),
        )
        for study in (*main_method.STUDIES, *cross_modal.STUDIES)
    }


def check(study: Study, dataset: str) -> None:
    """Raise :class:`InputError` where ``dataset`` cannot serve ``study``."""
    if study.id == "B3" and dataset not in NAFLEX:
        known = " or ".join(NAFLEX)
        raise InputError(f"B3 varies the patches of a NaFlex checkpoint: use --dataset {known}")
