"""``mmhash cost``: what each stage took."""

from mmhash.cost import COST_DIR, latency_note, read_costs
from mmhash.errors import InputError


def show_costs() -> None:
    """Print a table of ``metrics/cost``; raises InputError where nothing has run."""
    costs = read_costs()
    if not costs:
        raise InputError(f"{COST_DIR}: no stage has run in this checkout; run dvc repro")
    print(f"{'stage':<26}{'seconds':>10}{'peak RAM MB':>14}{'peak VRAM MB':>14}")
    for stage, figures in costs.items():
        vram = figures.get("peak_vram_mb")
        shown = "-" if vram is None else f"{vram:.0f}"
        print(f"{stage:<26}{figures['seconds']:>10.1f}{figures['peak_ram_mb']:>14.0f}{shown:>14}")
    extra = {
        f"{stage} {name}": value
        for stage, figures in costs.items()
        for name, value in figures.items()
        if name not in ("seconds", "peak_ram_mb", "peak_vram_mb")
    }
    for name, value in extra.items():
        print(f"{name}: {value}")
    advice = latency_note(costs.get("evaluate", {}))
    if advice:
        print(f"advice: {advice}")
