"""The tasks of retrieval across modalities and their names."""

from mmhash.metrics.tasks import CROSSING, TASKS


def test_the_name_of_a_task_says_what_asks_and_what_answers() -> None:
    assert list(TASKS) == [f"{task.ask}_to_{task.answer}" for task in TASKS.values()]
    assert {side for task in TASKS.values() for side in task[:2]} == {"image", "text", "fused"}


def test_no_two_tasks_share_a_title() -> None:
    for field in ("title", "short"):
        assert len({getattr(task, field) for task in TASKS.values()}) == len(TASKS)


def test_those_that_cross_go_from_one_modality_to_the_other() -> None:
    assert CROSSING == ("image_to_text", "text_to_image")
