"""The tasks of retrieval across modalities: what is asked with, what is searched, what to call it.

``fused`` is image and text together: the code of the whole pair. Published protocols often search
the codes of whole pairs (CMFH's unified codes): easier, since a text then also meets the text of
each item.
"""

from typing import NamedTuple


class Task(NamedTuple):
    """Sides of the query and of the items (image, text, fused), and two names for people."""

    ask: str
    answer: str
    title: str
    short: str


# By the name under which figures and curves stand in files. The charts of ``dvc plots`` repeat the
# titles, since templates are plain JSON.
TASKS = {
    "image_to_text": Task("image", "text", "image to text", "I→T"),
    "text_to_image": Task("text", "image", "text to image", "T→I"),
    "image_to_fused": Task("image", "fused", "image to pair", "I→pair"),
    "text_to_fused": Task("text", "fused", "text to pair", "T→pair"),
    "fused_to_fused": Task("fused", "fused", "pair to pair", "pair→pair"),
}
# Those from one modality to the other: the ones that have a retrieval sheet.
CROSSING = tuple(name for name, task in TASKS.items() if "fused" not in (task.ask, task.answer))
